"""Which slot a call counts for, and what its run is called."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from smartworker.cron.registry import Job, Jobs
from smartworker.cron.runs import Names, Run
from smartworker.cron.slots import minute_of, slot_of, stamp

NAMES = Names(b"a secret")


def job(**options: Any) -> Job:
    """A job at nine in the evening, Eastern."""
    return Jobs().declare("nightly", "t", **{"schedule": "0 21 * * *", **options})


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("call", "slot", "scheduled"),
    [
        ("2026-07-02 01:00:00", "2026-07-02T01:00:00Z", True),
        ("2026-07-02 01:14:59", "2026-07-02T01:00:00Z", True),
        ("2026-07-02 01:15:00", "2026-07-02T01:00:00Z", True),
        ("2026-07-02 01:15:01", "2026-07-02T01:15:00Z", False),
        ("2026-07-02 00:59:56", "2026-07-02T01:00:00Z", True),
        ("2026-07-02 00:59:54", "2026-07-02T00:59:00Z", False),
        ("2026-07-02 13:37:59", "2026-07-02T13:37:00Z", False),
    ],
)
def test_a_call_counts_for_its_slot_within_the_grace(
    call: str, slot: str, scheduled: bool
) -> None:
    """Any other call is a run of its own, named by its minute."""
    found = slot_of(job(), at(call))
    assert found is not None
    assert (str(found), found.scheduled) == (slot, scheduled)


def test_a_call_counts_until_the_deadline() -> None:
    """Late is not missed: a run of its own would be made up for once more."""
    found = slot_of(job(deadline="2h"), at("2026-07-02 02:30:00"))
    assert found is not None
    assert found.scheduled


@pytest.mark.parametrize("first_day", ["2026-03-01", "2026-10-25"])
def test_a_utc_caller_with_both_hours_runs_once_a_day(first_day: str) -> None:
    """Across both clock changes, called at 01:00 and 02:00 UTC each day."""
    gated = job(only_when_due=True)
    start = at(f"{first_day} 00:00:00")
    for day in range(15):
        calls = [start + timedelta(days=day, hours=hour) for hour in (1, 2)]
        slots = [slot_of(gated, call) for call in calls]
        assert sum(slot is not None for slot in slots) == 1


def test_a_gated_job_is_not_due_after_its_grace() -> None:
    """Even if its deadline is later: it may be the other hour of a UTC caller."""
    gated = job(only_when_due=True, deadline="3h")
    assert slot_of(gated, at("2026-07-02 02:00:00")) is None


def test_a_job_without_a_schedule_runs_when_it_is_called() -> None:
    """Its slot is the minute; in the repeated hour both passes differ."""
    free = Jobs().declare("free", "t")
    summer, winter = timezone(timedelta(hours=-4)), timezone(timedelta(hours=-5))
    first = slot_of(free, datetime(2026, 11, 1, 1, 30, 59, tzinfo=summer))
    second = slot_of(free, datetime(2026, 11, 1, 1, 30, tzinfo=winter))
    assert (str(first), str(second)) == (
        "2026-11-01T05:30:00Z",
        "2026-11-01T06:30:00Z",
    )


def test_a_stamp_is_utc_to_the_second() -> None:
    """As it stands in answers."""
    summer = timezone(timedelta(hours=-4))
    moment = datetime(2026, 11, 1, 1, 30, 59, 5, tzinfo=summer)
    assert stamp(moment) == "2026-11-01T05:30:59Z"


def test_the_same_slot_has_the_same_id() -> None:
    """In every process that knows the secret, and nowhere else."""
    nightly, slot = job(), slot_of(job(), at("2026-07-02 01:00:00"))
    assert slot is not None
    ours = Names(b"a secret").of_slot(nightly, slot)
    assert ours == NAMES.of_slot(nightly, slot)
    assert ours != Names(b"another").of_slot(nightly, slot)
    assert str(UUID(ours)) == ours
    assert UUID(ours).version == 5


def test_what_differs_has_another_id() -> None:
    """Another job, slot, key or set of parameters; also a minute of the same time."""
    nightly = job()
    slot = slot_of(nightly, at("2026-07-02 01:00:00"))
    assert slot is not None
    ids = [
        NAMES.of_slot(nightly, slot),
        NAMES.of_slot(Jobs().declare("other", "t"), slot),
        NAMES.of_slot(nightly, minute_of(slot.time)),
        NAMES.of_slot(nightly, minute_of(slot.time + timedelta(minutes=1))),
        NAMES.of_slot(nightly, slot, {"shop": 1}),
        NAMES.of_slot(nightly, slot, {"shop": 2}),
        NAMES.of_key(nightly, "a"),
        NAMES.of_key(nightly, "b"),
    ]
    assert len(set(ids)) == len(ids)
    assert NAMES.of_slot(nightly, slot, {}) == ids[0]
    assert NAMES.of_slot(nightly, slot, {"b": 1, "a": 2}) == NAMES.of_slot(
        nightly, slot, {"a": 2, "b": 1}
    )


def test_the_secret_is_not_shown() -> None:
    """Neither are objects that hold it."""
    assert "a secret" not in repr(NAMES)


def test_the_digest_tells_parameters_apart() -> None:
    """The order in which they came is no difference."""
    slot = minute_of(at("2026-07-02 01:00:00"))

    def digest(**parameters: Any) -> str:
        run = Run(job=job(), slot=slot, task_id="i", parameters=parameters)
        return run.digest

    assert digest(a=1, b=2) == digest(b=2, a=1)
    assert digest(a=1) != digest(a=2)
