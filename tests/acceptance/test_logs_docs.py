"""docs/logs.md: its snippets are run by a worker, its tables are those of the code."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import sentry_sdk

from smartworker.worker.crons import SLUG
from tests.commands import run_command
from tests.processes import WorkerProcess

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "logs.md").read_text(encoding="utf-8")
SHOP, SENTRY, SPANS = re.findall(
    r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
)


def written() -> Any:
    """The script that writes the tables."""
    spec = importlib.util.spec_from_file_location("logs_table", DOCS / "logs_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_code() -> None:
    """Every event and every field; `python docs/logs_table.py` writes them anew."""
    assert written().renewed(PAGE) == PAGE


def test_the_page_is_followed_by_a_worker(redis_url: str, tmp_path: Path) -> None:
    """All snippets in one module: both lines of the task carry the call's names."""
    (tmp_path / "shop.py").write_text("\n".join((SHOP, SENTRY, SPANS)))
    worker = WorkerProcess(tmp_path, redis_url, "-c", "1", app="shop")
    try:
        worker.wait_for("worker_ready")
        path = {"PYTHONPATH": str(tmp_path)}
        words = ("trigger", "book-lanes", "--app", "shop", "--json")
        done = run_command(redis_url, *words, **path)
        told = json.loads(done.stdout)
        worker.wait_for("task_finished")
    finally:
        worker.kill()
    for name in ("task_started", "lane_booked", "the water is warm", "task_finished"):
        (line,) = worker.events(name)
        assert line["trigger_id"] == told["trigger_id"]
        assert line["job"] == "book-lanes"
    assert worker.events("lane_booked")[0]["lane"] == 3


def test_the_slug_is_what_sentry_looks_for() -> None:
    """The installed integration reads this very header."""
    beat = Path(str(sentry_sdk.__file__)).parent / "integrations/celery/beat.py"
    assert f'headers["{SLUG}"]' in beat.read_text(encoding="utf-8")
