"""When the next poll is due: spread at first, exact afterwards."""

import random
from statistics import mean

import pytest

from smartworker.broker.pace import (
    ALERT_FOR,
    ALERT_INTERVAL,
    DEFAULT_INTERVAL,
    Pace,
)
from smartworker.testing import ManualClock


def make(interval: float | None = 30.0, seed: int = 1) -> tuple[Pace, ManualClock]:
    """A pace on a clock that stands still."""
    clock = ManualClock()
    return Pace(interval, clock, random.Random(seed)), clock


def poll(pace: Pace, clock: ManualClock, late: float = 0.0, deaf: bool = False) -> None:
    """Wait for the next poll, come late, and make it."""
    clock.advance(pace.left() + late)
    pace.polled(deaf=deaf)


def polls_within(
    pace: Pace, clock: ManualClock, seconds: float, deaf: bool = False
) -> int:
    """The number of polls in so many seconds."""
    end = clock.monotonic() + seconds
    count = 0
    while clock.monotonic() + pace.left() < end:
        poll(pace, clock, deaf=deaf)
        count += 1
    clock.advance(end - clock.monotonic())
    return count


def test_the_first_poll_is_due_at_once() -> None:
    """A new pace waits for nothing."""
    pace, clock = make()
    assert pace.left() == 0
    assert pace.last is None
    pace.polled(deaf=False)
    assert pace.last == clock.monotonic()


@pytest.mark.parametrize("interval", [None, 0.0])
def test_without_an_interval_there_is_a_default(interval: float | None) -> None:
    """Nobody said how often: every 30 s."""
    assert make(interval)[0].interval == DEFAULT_INTERVAL == 30.0


def test_first_gaps_are_spread_over_one_interval() -> None:
    """2,000 workers: gaps of 0.5 to 1.5 intervals, evenly, one on the average."""
    gaps = []
    for seed in range(2000):
        pace, _ = make(30.0, seed)
        pace.polled(deaf=False)
        gaps.append(pace.left() / 30.0)
    assert 0.5 <= min(gaps) < 0.51
    assert 1.49 < max(gaps) <= 1.5
    assert mean(gaps) == pytest.approx(1.0, abs=0.02)
    quarters = [sum(q <= 4 * (gap - 0.5) < q + 1 for gap in gaps) for q in range(4)]
    assert min(quarters) > 430, quarters


def test_gaps_after_the_first_are_one_interval() -> None:
    """The spread is drawn once; later gaps are exact."""
    pace, clock = make(30.0)
    poll(pace, clock)
    poll(pace, clock)
    for _ in range(10):
        assert pace.left() == pytest.approx(30.0)
        poll(pace, clock)


@pytest.mark.parametrize("seed", range(20))
def test_sixty_polls_a_minute(seed: int) -> None:
    """1 s polls: 60 in 60 s, give or take one, whatever the spread."""
    pace, clock = make(1.0, seed)
    pace.polled(deaf=False)
    assert polls_within(pace, clock, 60.0) in (59, 60, 61)


def test_late_polls_do_not_drift() -> None:
    """Each poll up to 0.2 s late: still 3,600 in an hour."""
    pace, clock = make(1.0)
    rng = random.Random(7)
    poll(pace, clock)
    end, count = clock.monotonic() + 3600, 0
    while clock.monotonic() + pace.left() < end:
        poll(pace, clock, late=rng.uniform(0, 0.2))
        count += 1
    assert abs(count - 3600) <= 1


def test_a_long_sleep_is_not_made_up_for() -> None:
    """A machine that slept for an hour polls once, not 120 times."""
    pace, clock = make(30.0)
    poll(pace, clock)
    poll(pace, clock, late=3600)
    assert pace.left() == pytest.approx(15.0)
    assert polls_within(pace, clock, 300.0) <= 11


def test_another_interval_holds_at_once() -> None:
    """The poll is due now, the next gap is spread anew."""
    pace, clock = make(1800.0)
    poll(pace, clock)
    assert pace.left() > 899
    pace.set_interval(30.0)
    assert pace.interval == 30.0
    assert pace.left() == 0
    gaps = set()
    for _ in range(50):
        pace.set_interval(30.0)
        pace.polled(deaf=False)
        gaps.add(pace.left())
    assert len(gaps) == 50
    assert min(gaps) >= 15.0
    assert max(gaps) <= 45.0


def test_work_makes_no_difference_where_a_bell_rings() -> None:
    """With a doorbell the interval holds after work too."""
    pace, clock = make(1800.0)
    poll(pace, clock)
    pace.alert()
    poll(pace, clock)
    assert pace.left() == pytest.approx(1800.0)


def test_deaf_and_alert_polls_fast_for_three_minutes() -> None:
    """Without a doorbell: each 5 s for 180 s after work, then as before."""
    pace, clock = make(1800.0)
    pace.alert()
    pace.polled(deaf=True)
    assert pace.left() == ALERT_INTERVAL == 5.0
    assert abs(polls_within(pace, clock, ALERT_FOR, deaf=True) - 36) <= 1
    poll(pace, clock, deaf=True)
    assert pace.left() >= 900.0


def test_deaf_and_alert_never_polls_slower() -> None:
    """An interval shorter than the alert's stays."""
    pace, clock = make(1.0)
    poll(pace, clock, deaf=True)
    pace.alert()
    poll(pace, clock, deaf=True)
    assert pace.left() == pytest.approx(1.0)


def test_deaf_without_work_keeps_the_interval() -> None:
    """No work, no hurry: 48 half hours in a day."""
    pace, clock = make(1800.0)
    pace.polled(deaf=True)
    assert abs(polls_within(pace, clock, 86_400.0, deaf=True) - 48) <= 1


def test_polls_out_of_turn_do_not_add_up() -> None:
    """A hundred reconnects within an interval: the next poll is one interval away."""
    pace, clock = make(1800.0)
    poll(pace, clock)
    for _ in range(100):
        clock.advance(0.1)
        pace.polled(deaf=False)
    assert pace.left() == pytest.approx(1800.0)
