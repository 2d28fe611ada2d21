"""How a job stands, in one word."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smartworker.budget import run_commands
from smartworker.cron.registry import Job
from smartworker.cron.schedule import Schedule
from smartworker.cron.standing import Facts, last_slot, state_of
from smartworker.store.runs import RunRecord
from smartworker.windows import Windows

SLOT = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
LONG_AGO = SLOT - timedelta(days=30)
NINE = {"schedule": Schedule("0 9 * * *", "UTC"), "zone": "UTC"}


def job(**options: Any) -> Job:
    """A job that is due at nine, with a grace of 15 minutes and a deadline of 30."""
    fixed = {"name": "report", "task": "t", "deadline": timedelta(minutes=30)}
    return Job(**{**fixed, **NINE, **options})


def ran(state: str, slot: datetime = SLOT, task_id: str = "run-1") -> RunRecord:
    """A finished run."""
    return RunRecord(
        job="report",
        slot=slot.strftime("%Y-%m-%dT%H:%M:%SZ"),
        task_id=task_id,
        trigger="http",
        state=state,
        started=slot.isoformat(),
    )


def record(status: str, task_id: str = "run-1") -> dict[str, Any]:
    """The record of the last slot."""
    run = {"slot": "2026-11-21T09:00:00Z"}
    return {"status": status, "task_id": task_id, "run": run}


def state(minutes: int = 5, due: Job | None = None, **facts: Any) -> str:
    """The state so many minutes after nine, of a job that a worker knows."""
    known = {"since": LONG_AGO, **facts}
    return state_of(due or job(), Facts(**known), SLOT + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [(0, "due"), (15, "due"), (16, "late"), (30, "late"), (31, "missed")],
)
def test_nobody_has_called(minutes: int, expected: str) -> None:
    """Due within the grace, late until the deadline, then missed."""
    assert state(minutes) == expected
    yesterday = ran("SUCCESS", SLOT - timedelta(days=1))
    assert state(minutes, last=yesterday) == expected


@pytest.mark.parametrize("since", [None, SLOT, SLOT + timedelta(minutes=1)])
def test_before_a_worker_knew_of_it(since: datetime | None) -> None:
    """Nobody has missed anything then."""
    assert state(31, since=since) == "never ran"
    assert state(31, since=since, last=ran("SUCCESS", LONG_AGO)) == "ok"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("QUEUED", "queued"),
        ("STARTED", "running"),
        ("PROGRESS", "running"),
        ("RETRY", "running"),
        ("SUCCESS", "ok"),
        ("FAILURE", "failed"),
        ("REVOKED", "revoked"),
        ("MISSED", "missed"),
    ],
)
def test_the_record_of_the_last_slot(status: str, expected: str) -> None:
    """It tells what became of it, before the history has it."""
    assert state(31, record=record(status)) == expected
    before = ran("FAILURE", SLOT - timedelta(days=1), "run-0")
    assert state(31, record=record(status), last=before) == expected


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        ("SUCCESS", "ok"),
        ("FAILURE", "failed"),
        ("REVOKED", "revoked"),
        ("MISSED", "missed"),
        ("ANOTHER", "failed"),
    ],
)
def test_the_last_run(ended: str, expected: str) -> None:
    """The history tells how it ended, also when the record says queued for ever."""
    assert state(31, last=ran(ended)) == expected
    assert state(31, last=ran(ended), record=record("QUEUED")) == expected
    assert state(31, job(schedule=None), last=ran(ended)) == expected


def test_a_run_by_hand_after_the_slot() -> None:
    """What ran last counts, not what the slot's record says."""
    by_hand = ran("FAILURE", SLOT + timedelta(minutes=10), "run-2")
    assert state(31, last=by_hand, record=record("SUCCESS")) == "failed"


def test_a_record_that_says_queued_for_ever() -> None:
    """A key gave the run of the slot another id: once a later run has ended, it has."""
    queued = record("QUEUED", "run-of-a-key")
    same_slot = ran("FAILURE", SLOT, "run-2")
    later = ran("SUCCESS", SLOT + timedelta(minutes=10), "run-3")
    before = ran("SUCCESS", SLOT - timedelta(minutes=10), "run-0")
    assert state(31, record=queued, last=same_slot) == "failed"
    assert state(31, record=queued, last=later) == "ok"
    assert state(31, record=queued, last=before) == "queued"
    assert state(31, record=queued, last=later, owner="run-of-a-key") == "running"


def test_the_lease() -> None:
    """Whoever has it runs; one whose run has ended is about to be freed."""
    assert state(5, owner="run-2") == "running"
    assert state(5, owner="run-2", last=ran("SUCCESS")) == "running"
    assert state(5, owner="run-1", last=ran("SUCCESS")) == "ok"
    ended = {"last": ran("SUCCESS"), "record": record("SUCCESS")}
    assert state(5, owner="run-2", **ended) == "running"
    assert state(5, owner="run-1", record=record("QUEUED")) == "queued"


def test_paused() -> None:
    """Nothing else matters then."""
    assert state(31, paused="2026-11-20T00:00:00Z", owner="run-2") == "paused"


def test_a_job_without_a_schedule() -> None:
    """It is never due."""
    assert state(31, job(schedule=None)) == "never ran"


def test_a_slot_outside_of_the_windows() -> None:
    """Nobody may call then, so nothing is missed."""
    schedule = Schedule("0 9,11 * * *", "UTC")
    closed = job(schedule=schedule, windows=Windows.hours("10:00-12:00", "UTC"))
    assert last_slot(closed, SLOT) is None
    assert state(31, closed) == "never ran"


def test_what_a_run_costs() -> None:
    """The table of the budget, by what each command is for."""
    assert run_commands() == {
        "trigger": ("EVAL", "SET", "LPUSH"),
        "run": ("LMOVE", "LREM", "SET"),
        "hold": ("ZADD", "ZREM", "TIME"),
        "history": ("XADD",),
    }
    dear = run_commands(overlap=True, looks=3, history=False, hourly=True)
    assert dear == {
        "trigger": ("EVAL", "SET", "LPUSH"),
        "run": ("LMOVE", "LREM", "SET"),
        "hold": ("ZADD", "ZREM"),
        "overlap": ("SET", "EVAL", "GET", "DEL"),
        "looks": ("EXISTS", "EXISTS", "EXISTS"),
    }
