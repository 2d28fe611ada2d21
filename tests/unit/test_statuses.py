"""What a stored state tells, and when it is worth to ask again."""

from datetime import UTC, datetime
from typing import Any

import pytest

from smartworker.settings import Settings
from smartworker.testing import ManualClock
from smartworker.web.statuses import (
    LEAST,
    MOST_BYTES,
    REMEMBERED,
    Remembered,
    describe,
    retry_after,
)

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


class Unspeakable(Exception):
    """One whose message needs what Celery does not store."""

    def __str__(self) -> str:
        raise AttributeError("response")


def test_an_error_without_a_message_is_told() -> None:
    """By its name: whoever asks for it gets no 500."""
    meta = {"status": "FAILURE", "result": Unspeakable("x")}
    assert describe("id", meta)["error"] == "Unspeakable: its message cannot be told"


@pytest.mark.parametrize(
    ("told", "doorbell", "seconds"),
    [
        ({"state": "SUCCESS"}, "auto", None),
        ({"state": "MISSED"}, "auto", None),
        ({"state": "STARTED"}, "auto", "2"),
        ({"state": "QUEUED", "expected_start_by": "2026-11-22T02:10:00Z"}, "auto", "2"),
        (
            {"state": "QUEUED", "expected_start_by": "2026-11-22T02:10:00Z"},
            "off",
            "600",
        ),
        ({"state": "RETRY", "retry_at": "2026-11-22T02:00:30Z"}, "auto", "30"),
        ({"state": "RETRY", "retry_at": "2026-11-22T01:00:00Z"}, "auto", "2"),
        ({"state": "RETRY", "retry_at": "2027-11-22T01:00:00Z"}, "auto", "3600"),
        ({"state": "RETRY", "retry_at": "soon"}, "auto", "2"),
        ({"state": "RETRY", "retry_at": "2026-11-22T02:00:30"}, "auto", "2"),
        ({"state": "RETRY"}, "off", "2"),
    ],
)
def test_when_to_ask_again(
    told: dict[str, Any], doorbell: Any, seconds: str | None
) -> None:
    """Within bounds, whatever the record says."""
    assert retry_after(told, Settings(doorbell=doorbell), NOW) == seconds


@pytest.mark.parametrize("run", [None, "nightly", [], {"job": 1, "slot": None}])
def test_a_strange_run_is_left_out(run: Any) -> None:
    """Somebody else may have written the record."""
    told = describe("an-id", {"status": "STARTED", "run": run})
    assert told == {"task_id": "an-id", "state": "STARTED"}


def test_an_error_is_short_and_without_secrets() -> None:
    """Its last words may be long, and hold a URL."""
    error = ValueError("redis://user:secret@host/ " + "x" * 5000)
    text = describe("an-id", {"status": "FAILURE", "result": error})["error"]
    assert len(text) <= 2000
    assert "secret" not in text


def test_only_last_states_are_remembered_and_not_for_long() -> None:
    """A dead letter may be queued again."""
    clock = ManualClock()
    remembered = Remembered(clock)
    remembered.keep({"task_id": "a", "state": "STARTED"})
    remembered.keep({"task_id": "b", "state": "SUCCESS", "result": 1})
    assert remembered.get("a") is None
    assert remembered.get("b") is not None
    clock.advance(REMEMBERED + 1)
    assert remembered.get("b") is None


def test_memory_is_bounded() -> None:
    """In number and in bytes: the oldest make room."""
    remembered = Remembered(ManualClock())
    small, large = MOST_BYTES // LEAST + 10, 50
    for number in range(small):
        remembered.keep({"task_id": f"small-{number}", "state": "SUCCESS"})
    kept = [remembered.get(f"small-{number}") for number in range(small)]
    assert sum(status is not None for status in kept) == MOST_BYTES // LEAST
    for number in range(large):
        told = {"state": "SUCCESS", "result": "x" * 200_000}
        remembered.keep({"task_id": f"large-{number}", **told})
    found = [remembered.get(f"large-{number}") for number in range(large)]
    assert sum(status is not None for status in found) == MOST_BYTES // 200_100
