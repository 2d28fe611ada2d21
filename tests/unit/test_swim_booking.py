"""Which slot a member gets, what is stored, and how it is summed up."""

import sqlite3
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from threading import Event

import pytest

from smartworker.cron.registry import Jobs
from smartworker.cron.slots import slot_of
from smartworker.examples.swim.auto_book import Outcome, summary
from smartworker.examples.swim.booking import Preference, Slot, best, choices
from smartworker.examples.swim.database import SEEDS, Booking, Database
from smartworker.examples.swim.jobs import declare
from smartworker.examples.swim.lanes import Lanes, Refusal, Rules
from smartworker.examples.swim.release import next_day, usual_release

SATURDAY = date(2026, 11, 21)
SUNDAY = date(2026, 11, 22)
EARLY_4 = Slot("main-4-06:00", "Main", 4, "06:00", 1)
EARLY_5 = Slot("main-5-06:00", "Main", 5, "06:00", 2)
LATE = Slot("main-1-19:00", "Main", 1, "19:00", 1)
FULL = Slot("main-3-06:00", "Main", 3, "06:00", 0)
ALL = [FULL, LATE, EARLY_4, EARLY_5]
NOON = datetime(2026, 11, 21, 17, tzinfo=UTC)


def test_the_first_preference_that_fits_wins() -> None:
    """Rank counts, not the order of the slots."""
    wants = [Preference("Main", 4, "06:00"), Preference("Main", None, "19:00")]
    assert best(wants, ALL, SATURDAY) == EARLY_4
    assert list(choices(wants, ALL, SATURDAY)) == [EARLY_4, LATE]


def test_any_lane_takes_the_emptiest() -> None:
    """Without a wish for a lane the freest one comes first; full ones never."""
    wants = [Preference("Main", None, "06:00")]
    assert list(choices(wants, ALL, SATURDAY)) == [EARLY_5, EARLY_4]


def test_a_slot_is_offered_once() -> None:
    """Two preferences that fit one slot do not try it twice."""
    wants = [Preference("Main", 4, "06:00"), Preference("Main", None, "06:00")]
    assert list(choices(wants, ALL, SATURDAY)) == [EARLY_4, EARLY_5]


def test_a_weekday_limits_a_preference() -> None:
    """Saturday is weekday 5."""
    wants = [Preference("Main", None, "19:00", weekday=5)]
    assert best(wants, ALL, SATURDAY) == LATE
    assert best(wants, ALL, SUNDAY) is None


def test_nothing_fits() -> None:
    """No preference or no slot gives no slot."""
    assert best([], ALL, SATURDAY) is None
    assert best([Preference("Main", 3, "06:00")], ALL, SATURDAY) is None


def test_the_next_day_is_tomorrow_in_eastern_time() -> None:
    """At 9 PM Eastern it is the next day in UTC already."""
    assert next_day(datetime(2026, 11, 22, 2, tzinfo=UTC)) == SUNDAY


def test_the_summary_has_the_form_that_callers_read() -> None:
    """Message and numbers follow from the outcomes."""
    booking = Booking("alice", SUNDAY, "main-4-06:00", "c1")
    result = summary([Outcome("alice", booking, "ok"), Outcome("ben", None, "full")])
    assert result == {
        "status": "SUCCESS",
        "message": "Auto-booking process completed: 1 successful, 1 failed",
        "results": [
            {
                "member": "alice",
                "status": "successful",
                "slot": "main-4-06:00",
                "confirmation": "c1",
                "reason": "ok",
            },
            {
                "member": "ben",
                "status": "failed",
                "slot": None,
                "confirmation": None,
                "reason": "full",
            },
        ],
        "summary": {"total_processed": 2, "successful": 1, "failed": 1},
    }


def test_the_database_is_seeded_once(tmp_path: Path) -> None:
    """The first use makes members; a second one adds none."""
    url = f"sqlite:///{tmp_path / 'swim.sqlite3'}"
    assert Database.from_url(url).members() == list(SEEDS)
    assert Database.from_url(url).members() == list(SEEDS)


def test_a_member_has_one_booking_a_date(tmp_path: Path) -> None:
    """The first booking stays; the row is unique in the file itself."""
    path = tmp_path / "swim.sqlite3"
    database = Database(path)
    first = Booking("alice", SUNDAY, "one", "c1")
    database.keep(first)
    database.keep(Booking("alice", SUNDAY, "two", "c2"))
    assert database.booking("alice", SUNDAY) == first
    assert database.booking("ben", SUNDAY) is None
    rows = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError):
        rows.execute("INSERT INTO bookings VALUES ('alice', '2026-11-22', 'x', 'y')")
    rows.close()


@pytest.mark.parametrize("day", [date(2026, 3, 8), date(2026, 11, 1), SUNDAY])
def test_slots_are_released_at_nine_in_eastern_time(day: date) -> None:
    """Nine by the wall clock, on the days around a DST change too."""
    released_at = Rules().released_at(day)
    assert released_at is not None
    assert released_at.time() == time(21)
    assert released_at.date() == day - timedelta(days=1)
    before, after = released_at - timedelta(seconds=1), released_at
    lanes = Lanes({}, Rules())
    with pytest.raises(Refusal, match="released at"):
        lanes.slots(day, before)
    assert lanes.slots(day, after)["slots"]


def test_a_lane_takes_as_many_as_fit() -> None:
    """The third of two is turned away, a repeat of the first is not."""
    lanes = Lanes({}, Rules(release=None, capacity=2))
    first = lanes.book("a", "main-1-06:00", SUNDAY, "k", NOON)
    lanes.book("b", "main-1-06:00", SUNDAY, "k", NOON)
    assert lanes.book("a", "main-2-06:00", SUNDAY, "k", NOON) == first
    with pytest.raises(Refusal, match="full"):
        lanes.book("c", "main-1-06:00", SUNDAY, "k", NOON)
    assert lanes.bookings(SUNDAY) == [("a", "main-1-06:00"), ("b", "main-1-06:00")]


class _Ticking:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, event: Event, seconds: float) -> bool:
        self.seconds += seconds
        return event.is_set()


def test_the_example_declares_its_job() -> None:
    """The name of the job is its address."""
    jobs = Jobs()
    declare(jobs)
    assert jobs.get("schedule-swim-lanes").task == "swim.auto_book"


@pytest.mark.parametrize("day", [date(2026, 3, 7), date(2026, 3, 8), date(2026, 11, 1)])
@pytest.mark.parametrize("minutes", [0, 2, 5, 6, 14])
def test_a_call_at_nine_counts_for_this_evening(day: date, minutes: int) -> None:
    """The slot is at 20:55 by the wall clock; its grace reaches beyond the release."""
    jobs = Jobs()
    declare(jobs)
    job = jobs.get("schedule-swim-lanes")
    release = usual_release(day + timedelta(days=1))
    due = release - timedelta(minutes=5)
    slot = slot_of(job, due + timedelta(minutes=minutes))
    assert slot is not None
    assert slot.scheduled
    assert slot.time == due
    late = slot_of(job, release + timedelta(minutes=11))
    assert late is not None
    assert not late.scheduled
    assert job.limit == timedelta(minutes=30)
