"""When the facility is asked again, and how the release is waited for."""

import random
import threading
from datetime import UTC, date, datetime, timedelta

import pytest

from smartworker.examples.swim.booking import Preference, Slot, first_wish
from smartworker.examples.swim.moods import Limit
from smartworker.examples.swim.release import (
    StartSignal,
    local_text,
    usual_release,
    wait_until,
    warm_times,
)
from smartworker.examples.swim.retrying import Answer, Patience, retry_after
from smartworker.testing import ManualClock

RELEASE = datetime(2026, 11, 22, 2, tzinfo=UTC)
SUNDAY = date(2026, 11, 22)
EARLY = Answer(409, {"error": "not_released"})


def patience(deadline: float = 100.0, eager_from: float | None = None) -> Patience:
    """One whose pauses are always the same."""
    return Patience(deadline, eager_from, random.Random(1))


@pytest.mark.parametrize("status", [0, 408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_asked_again(status: int) -> None:
    """After growing pauses, the longest 5 s."""
    asked = patience()
    pauses = [asked.pause(Answer(status), 0.0) for _ in range(8)]
    assert all(pause is not None for pause in pauses)
    assert 0.08 <= (pauses[0] or 0) <= 0.1
    assert 4 <= (pauses[-1] or 0) <= 5


@pytest.mark.parametrize("status", [200, 201, 302, 400, 401, 403, 404, 409, 422])
def test_what_is_final_is_not(status: int) -> None:
    """A refusal stays one."""
    assert patience().pause(Answer(status), 0.0) is None


def test_the_facility_says_how_long() -> None:
    """Retry-After takes the place of our own pause, for 503 as for 429."""
    for status in (429, 503):
        assert patience().pause(Answer(status, None, 7.0), 0.0) == 7.0


def test_no_attempt_begins_after_the_deadline() -> None:
    """Neither after our pause nor after the one that the facility asks for."""
    assert patience(deadline=10).pause(Answer(429, None, 4.0), 5.0) == 4.0
    assert patience(deadline=10).pause(Answer(429, None, 5.0), 5.0) is None
    assert patience(deadline=10).pause(Answer(503), 9.99) is None
    assert patience(deadline=10).pause(Answer(503), 11.0) is None


def test_not_released_yet_is_asked_again_at_once_for_a_second() -> None:
    """From our release on; then with growing pauses, and ahead of it not at all."""
    assert patience().pause(EARLY, 0.0) is None
    asked = patience(eager_from=50.0)
    assert asked.pause(EARLY, 50.0) == asked.pause(EARLY, 50.99) == 0.02
    later = asked.pause(EARLY, 51.0)
    assert later is not None
    assert later > 0.02
    assert patience(50.01, eager_from=50.0).pause(EARLY, 50.0) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        (" 120 ", 120.0),
        ("Sun, 22 Nov 2026 02:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 01:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2026 01:00:00", None),
        ("99999999999999999999", 999999999.0),
        ("-3", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(
    header: str | None, seconds: float | None
) -> None:
    """Anything else is as if it were not there."""
    assert retry_after(header, RELEASE) == seconds


def test_an_answer_says_what_it_is() -> None:
    """For the sentence that ends in the task's result."""
    assert str(Answer(0, trouble="TimeoutError: late")) == "TimeoutError: late"
    assert str(Answer(503)) == "status 503"
    assert Answer(409, ["full"]).error == ""


def test_the_wait_ends_at_the_moment_and_not_before() -> None:
    """In long steps first, in short ones at the end."""
    clock = ManualClock(RELEASE - timedelta(minutes=5))
    assert not wait_until(RELEASE, clock, threading.Event())
    assert timedelta(0) <= clock.now() - RELEASE <= timedelta(milliseconds=1)
    assert not wait_until(RELEASE - timedelta(seconds=1), clock, threading.Event())


def test_a_wall_clock_that_is_set_moves_the_end() -> None:
    """NTP puts the clock ahead by ten seconds while we wait: the wait is shorter."""

    class Jumping(ManualClock):
        def wait(self, event: threading.Event, seconds: float) -> bool:
            first = self.monotonic() == 1000.0
            super().wait(event, seconds)
            if first:
                self._now += timedelta(seconds=10)
            return event.is_set()

    clock = Jumping(RELEASE - timedelta(seconds=30))
    wait_until(RELEASE, clock, threading.Event())
    assert clock.monotonic() == pytest.approx(1020.0, abs=0.01)


def test_the_start_is_given_once() -> None:
    """After it nothing can be called off."""
    clock = ManualClock(RELEASE)
    start = StartSignal()
    start.give(RELEASE, clock)
    start.call_off()
    assert start.event.is_set()
    assert not start.called_off


def test_members_warm_their_connections_at_different_times() -> None:
    """Each 4 s in the last half minute, not in the last 2 s, and never in the past."""
    first, second = (
        warm_times(RELEASE, number, RELEASE - timedelta(minutes=5)) for number in (0, 1)
    )
    assert len(first) == len(second) == 7
    assert not set(first) & set(second)
    assert first == sorted(first)
    for number in range(100):
        times = warm_times(RELEASE, number, RELEASE - timedelta(seconds=10))
        assert all(
            timedelta(seconds=2) <= RELEASE - each < timedelta(seconds=10)
            for each in times
        )
    assert warm_times(RELEASE, 0, RELEASE) == []


@pytest.mark.parametrize(
    ("day", "hour"), [(date(2026, 3, 8), 2), (date(2026, 3, 9), 1), (SUNDAY, 2)]
)
def test_the_usual_release_is_nine_in_eastern_time(day: date, hour: int) -> None:
    """On the evening before, whatever the clocks did."""
    assert usual_release(day) == datetime(
        day.year, day.month, day.day, hour, tzinfo=UTC
    )
    assert "T21:00:00-0" in local_text(usual_release(day))


def test_the_first_wish_needs_no_list_of_what_is_free() -> None:
    """The best preference that the timetable has; who takes any lane is spread."""
    slots = [Slot(f"lane-{lane}", "Main", lane, "06:00", 2) for lane in (2, 1, 3)]
    anywhere = [Preference("Sauna", None, "06:00"), Preference("Main", None, "06:00")]
    found = [first_wish(anywhere, slots, SUNDAY, turn) for turn in range(4)]
    assert [slot and slot.lane for slot in found] == [1, 2, 3, 1]
    exact = [Preference("Main", 3, "06:00"), *anywhere]
    assert first_wish(exact, slots, SUNDAY, 5) == slots[2]
    assert first_wish(anywhere[:1], slots, SUNDAY, 0) is None


def test_a_limit_counts_each_account() -> None:
    """Two a second: the third is told how long to stay away, another account is not."""
    limit = Limit(2)
    assert [limit.exceeded("a", at) for at in (0.0, 0.5, 0.75)] == [None, None, 0.25]
    assert limit.exceeded("b", 0.75) is None
    assert limit.exceeded("a", 1.0) is None
    assert Limit().exceeded("a", 0.0) is None
