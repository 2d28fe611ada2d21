"""The rows of processes: written, read, and added up."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from smartworker import rows
from smartworker.rows import Row, fold, read_rows

NOW = datetime(2026, 11, 14, 12, 0, tzinfo=UTC)


def row(name: str = "a", **changes: object) -> Row:
    """A row of a worker that was written just now."""
    facts = {
        "id": name,
        "kind": "worker",
        "name": f"celery@{name}",
        "started": "2026-11-01T00:00:00+00:00",
        "written": NOW.isoformat(),
        "month": "2026-11",
        "commands": {"poll": 10, "take": 2},
        "messages": {"done": 2, "published": 1},
        "runs": {"auto-book": {"succeeded": 3, "failed": 1}},
        "before": {"2026-10": 400},
    }
    return Row(**{**facts, **changes})  # type: ignore[arg-type]


def test_a_row_comes_back_as_it_was_written() -> None:
    """JSON in a hash, bytes or text, is the same row again."""
    mine = row(active=[{"task": "t", "task_id": "i", "job": None, "since": "s"}])
    assert read_rows({b"a": mine.as_json().encode()}) == [mine]
    assert read_rows({"a": mine.as_json()}) == [mine]


@pytest.mark.parametrize(
    "change",
    [
        {"commands": {"poll": "many"}},
        {"commands": [1]},
        {"written": "yesterday"},
        {"written": "2026-11-14T12:00:00"},
        {"month": "November"},
        {"active": ["task"]},
        {"runs": {"job": {"succeeded": "x"}}},
        {"tasks": {"t": 1}},
        {"kind": None},
        {"queues": "celery"},
    ],
)
def test_what_cannot_be_read_is_left_out(change: dict[str, object]) -> None:
    """A row of the wrong shape breaks no sum."""
    broken = json.loads(row().as_json()) | change
    found = {"a": row().as_json(), "b": json.dumps(broken)}
    assert [each.id for each in read_rows(found)] == ["a"]


@pytest.mark.parametrize("value", [b"\xff", "", "[]", "{}", "null", "[" * 100_000])
def test_rubbish_is_left_out(value: bytes | str) -> None:
    """Whatever stands in the hash, reading it raises nothing."""
    assert read_rows({"a": value}) == []


def test_fields_of_a_later_release_are_left_out() -> None:
    """An older process reads what it knows."""
    later = json.loads(row().as_json()) | {"mood": "fine"}
    assert read_rows({"a": json.dumps(later)}) == [row()]


def test_sums_are_of_one_month() -> None:
    """A row of October adds nothing to November, and is what October cost."""
    old = row("b", month="2026-10", commands={"poll": 7}, before={"2026-09": 5})
    both = [row(), row("c"), old]
    assert rows.spent(both, "2026-11") == {"poll": 20, "take": 4}
    assert rows.runs_of(both, "2026-11") == {"auto-book": {"succeeded": 6, "failed": 2}}
    assert rows.messages_of(both, "2026-11") == {"done": 4, "published": 2}
    assert rows.total_before(both, "2026-10") == 807


def test_folding_loses_no_sum() -> None:
    """The folded row is worth what the rows were, of this month and the last."""
    old = row("b", month="2026-10", commands={"poll": 7}, before={})
    web = row("w", kind="web")
    mine = [row(), old, web]
    folded = [fold(mine, kind, NOW) for kind in ("worker", "web")]
    assert all(each.is_folded for each in folded)
    assert rows.spent(folded, "2026-11") == rows.spent(mine, "2026-11")
    assert rows.runs_of(folded, "2026-11") == rows.runs_of(mine, "2026-11")
    assert rows.messages_of(folded, "2026-11") == rows.messages_of(mine, "2026-11")
    assert rows.total_before(folded, "2026-10") == rows.total_before(mine, "2026-10")
    assert read_rows({"x": folded[0].as_json()}) == [folded[0]]


def test_who_is_gone() -> None:
    """Stopped, or silent for more than two days."""
    assert not row().is_gone(NOW + timedelta(days=2))
    assert row().is_gone(NOW + timedelta(days=2, seconds=1))
    assert row(stopped=True).is_gone(NOW)


@pytest.mark.parametrize(
    ("until", "count"),
    [
        ("2026-11-14T11:29:59+00:00", 0),
        ("2026-11-14T11:30:00+00:00", 1),
        ("2026-11-14T20:00:00-05:00", 1),
        ("2026-11-14T10:00:00", 1),
        ("soon", 1),
        (7, 1),
        (None, 1),
    ],
)
def test_who_was_killed_counts_until_its_next_edge(until: object, count: int) -> None:
    """There it would have written; nobody knows where there are no windows."""
    killed = row(until=until, written="2026-11-14T03:00:00+00:00")
    assert rows.workers_of([killed], NOW) == count
    others = [row("web", kind="web"), row("old", stopped=True), row("here")]
    assert rows.workers_of([killed, *others], NOW) == count + 1


def test_months_are_of_utc() -> None:
    """The month ends at midnight UTC, wherever the operator lives."""
    late = datetime.fromisoformat("2026-10-31T21:00:00-04:00")
    assert rows.month_of(late) == "2026-11"
    assert rows.month_start("2026-12") == datetime(2026, 12, 1, tzinfo=UTC)
    assert rows.month_end("2026-12") == datetime(2027, 1, 1, tzinfo=UTC)
    assert rows.month_before("2026-01") == "2025-12"
