"""docs/tasks.md: its snippet, its tables and its commands."""

import re
from pathlib import Path
from typing import Any

import celery
import pytest

import smartworker
from smartworker.worker.configuration import check_priorities
from smartworker.worker.task import PERMANENT
from tests.commands import run_command

PAGE = (Path(__file__).parents[2] / "docs/tasks.md").read_text(encoding="utf-8")
(SNIPPET,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^\$ smartworker (.+)$", PAGE, re.MULTILINE)
OPTIONS = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|", PAGE, re.MULTILINE)


@pytest.fixture
def shop(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the snippet makes."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    scope: dict[str, Any] = {"__name__": "shop"}
    exec(SNIPPET, scope)  # noqa: S102 - our own page
    return scope


def test_the_snippet_makes_such_tasks(shop: Any) -> None:
    """Both are base tasks, the second with values of its own."""
    assert isinstance(shop["send_receipt"], smartworker.Task)
    dear = shop["tell_the_warehouse"]
    assert (dear.max_retries, dear.retry_backoff, dear.retry_backoff_max) == (8, 5, 300)
    check_priorities(shop["app"])


@pytest.mark.parametrize(("name", "ours", "celerys"), OPTIONS)
def test_the_table_tells_the_defaults(name: str, ours: str, celerys: str) -> None:
    """Of our class, and of Celery's."""
    value = getattr(smartworker.Task, name)
    if name == "dont_autoretry_for":
        assert value == PERMANENT
    elif name == "autoretry_for":
        assert [each.__name__ for each in value] == ["Exception"]
    else:
        assert repr(value) == ours.strip("`")
    if celerys.startswith("`") and hasattr(celery.Task, name):
        stock = getattr(celery.Task, name)
        assert repr(stock) == celerys.strip("`") or stock is None


def test_the_page_names_each_permanent_error() -> None:
    """None is missing."""
    assert [
        each.__name__ for each in PERMANENT if f"`{each.__name__}`" not in PAGE
    ] == []


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_are_there(line: str, redis_url: str, tmp_path: Path) -> None:
    """The budget is printed; a status without a worker says so."""
    (tmp_path / "shop.py").write_text(SNIPPET)
    done = run_command(redis_url, *line.split(), cwd=tmp_path)
    if line == "status -A shop":
        assert "No worker answered" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert "idle polls" in done.stdout
