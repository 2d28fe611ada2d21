"""docs/cron.md: its commands and snippets are run, its tables hold."""

import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from smartworker.budget import run_commands
from smartworker.cron.registry import Job
from smartworker.cron.standing import State
from smartworker.deploy.callers import CALLERS
from smartworker.durations import format_duration
from smartworker.events import EVENTS
from tests.commands import environment, run_command

PAGE = (Path(__file__).parents[2] / "docs" / "cron.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ smartworker (.+)$", PAGE, re.MULTILINE)
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SHOP = """
from celery import Celery
from celery.schedules import crontab

app = Celery("shop")
app.conf.beat_schedule = {
    "report": {"task": "shop.report", "schedule": crontab(minute=0, hour=6)}
}
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command(redis_url: str, tmp_path: Path, command: str) -> None:
    """Each of them prints something and ends with exit status 0."""
    (tmp_path / "shop.py").write_text(SHOP)
    words = shlex.split(command.partition(" > ")[0])
    done = run_command(redis_url, *words, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert done.stdout
    assert done.stderr == "" or "render" in words


def test_every_snippet(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run in their order, and the web half is where they say."""
    for name, value in environment(redis_url, SMARTWORKER_CRON_TOKENS="t" * 40).items():
        monkeypatch.setenv(name, value)
    scope: dict[str, Any] = {}
    for snippet in SNIPPETS:
        exec(compile(snippet, "docs/cron.md", "exec"), scope)  # noqa: S102 - our page
    assert [job.name for job in scope["jobs"]] == ["nightly-report", "day-report"]
    assert "/worker" in {route.path for route in scope["site"].routes}
    with scope["flask_site"].test_client() as client:
        assert client.get("/worker/livez").get_json() == {"status": "ok"}
    scope["app"].close()


def options() -> dict[str, str]:
    """The options of the table, with their defaults."""
    rows = re.findall(r"^\| (`[a-z_`, ]+) \| ([^|]*) \|", PAGE, re.MULTILINE)
    found = {}
    for names, defaults in rows:
        each = re.findall(r"`([a-z_]+)`", names)
        values = re.findall(r"`([^`]*)`", defaults) or [defaults] * len(each)
        found.update(zip(each, values, strict=len(each) > 1 and len(values) > 1))
    return found


def test_every_option_stands_in_the_table() -> None:
    """With the default that it has."""
    known = {each.name: each for each in fields(Job)}
    table = {name: default for name, default in options().items() if name in known}
    assert set(table) == set(known) - {"name", "task"}
    plain = Job(name="a", task="t")
    for name in (
        "zone",
        "only_when_due",
        "overlap",
        "catch_up",
        "catch_up_cap",
        "sync",
    ):
        assert table[name].strip('"') == str(getattr(plain, name)), name
    for name in ("grace", "catch_up_within", "retention"):
        assert table[name] == format_duration(getattr(plain, name))


def test_every_caller_and_every_state() -> None:
    """Each is explained."""
    for name in CALLERS:
        assert re.search(rf"^\| `{name}` \|", PAGE, re.MULTILINE), name
        assert f"$ smartworker cron render {name} " in PAGE
    for state in State.__args__:  # type: ignore[attr-defined]
        assert f"`{state}`" in PAGE, state


def test_the_events_exist() -> None:
    """What the log says stands in the table of events."""
    for name in re.findall(r"`(run_\w+)`", PAGE):
        assert name in EVENTS


def test_the_costs() -> None:
    """The table says what the budget says."""
    costs = run_commands(overlap=True, looks=1)
    for what, commands in costs.items():
        shown = " ".join(f"`{each}`" for each in commands)
        if what == "hold":
            shown = "`ZADD` `ZREM`, and `TIME`"
        assert shown in PAGE, what
