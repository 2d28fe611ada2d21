"""Runs that take far too long are reported once, and no command is sent for it."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery

import smartworker
from smartworker.cron.registry import Jobs
from smartworker.cron.runs import HEADER
from smartworker.settings import Settings
from smartworker.store.meter import ledger
from smartworker.worker import limits
from smartworker.worker.watchman import tell_stuck

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
APP = smartworker.setup(
    Celery("stuck"), Settings(redis_url="redis://127.0.0.1:1/0"), Jobs()
)


@APP.task(name="own", time_limit=100, shared=False)  # type: ignore[untyped-decorator]
def own() -> None:
    """A task with a limit of its own."""


@dataclass
class Request:
    """What is read of a request that runs."""

    id: str
    limit: Any = 60
    time_start: float | None = NOW.timestamp()
    type: str = "task"
    job: Any = "book"
    app: Any = APP
    request_dict: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        """The header of its message."""
        header = {"job": self.job, "slot": "then", "limit": self.limit}
        self.request_dict = {HEADER: header}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """What was said since the last look."""
    caplog.set_level(logging.INFO)

    def found() -> list[Any]:
        said = [r.msg for r in caplog.records if isinstance(r.msg, dict)]
        caplog.clear()
        return said

    return found


def after(seconds: float) -> datetime:
    """So many seconds after the run began."""
    return NOW + timedelta(seconds=seconds)


def test_twice_the_limit_is_stuck(lines: Any) -> None:
    """Said once, with how long it takes; not before."""
    ledger.drain()
    run = Request("a")
    assert tell_stuck([run], after(120), set()) == set()
    assert lines() == []
    told = tell_stuck([run], after(121), set())
    (line,) = lines()
    assert line["event"] == "run_stuck"
    assert (line["job"], line["slot"], line["task_id"]) == ("book", "then", "a")
    assert (line["seconds"], line["allowed_seconds"]) == (121, 120)
    assert told == {"a"}
    assert tell_stuck([run], after(1000), told) == told
    assert lines() == []
    assert tell_stuck([], after(1000), told) == set()
    assert ledger.by_cause() == {}


@pytest.mark.parametrize(
    ("task", "limit", "allowed"),
    [
        ("task", None, 3600),
        ("own", None, 200),
        ("own", 30, 60),
        ("task", "much", 3600),
        ("task", 0, 3600),
    ],
)
def test_without_a_limit_of_the_job_that_of_the_task_counts(
    lines: Any, task: str, limit: Any, allowed: float
) -> None:
    """Or Celery's for all tasks."""
    run = Request("a", limit=limit, type=task)
    assert tell_stuck([run], after(allowed), set()) == set()
    assert tell_stuck([run], after(allowed + 1), set()) == {"a"}


@pytest.mark.parametrize(
    "run",
    [
        Request("a", time_start=None),
        Request("a", job=None),
        Request("a", job=["x"]),
    ],
)
def test_what_has_not_begun_or_is_no_run_is_never_stuck(run: Request) -> None:
    """Whatever its message carries."""
    assert tell_stuck([run], after(10_000), set()) == set()


def test_a_lease_outlives_the_run_that_has_it() -> None:
    """Also where nobody knows the task: a web process."""
    assert limits.trigger_lease(APP, None) == 1800 + 1800 + 60
    assert limits.trigger_lease(APP, timedelta(hours=2)) == 1800 + 7200 + 60
    assert limits.trigger_lease(APP, 60) == 1800 + 1800 + 60
    assert limits.run_lease(APP, "task", None) == 1860
    assert limits.run_lease(APP, "task", 7200) == 7260
    assert limits.run_lease(APP, "own", None) == 300
