"""The clocks of a lease: how much time has passed, and whether they can be believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartworker.broker.lease import JUMP, Moment

START = Moment(1000.0, 1_764_000_000.0)


def later(monotonic: float, wall: float) -> Moment:
    """So many seconds after the start, by either clock."""
    return Moment(START.monotonic + monotonic, START.wall + wall)


@pytest.mark.parametrize(
    ("monotonic", "wall", "passed", "jumped"),
    [
        (0.0, 0.0, 0.0, False),
        (100.0, 100.0, 100.0, False),
        (100.0, 100.5, 100.5, False),
        (100.0, 99.5, 100.0, False),
        # The machine slept: only the wall clock knows of it.
        (1.0, 400.0, 400.0, True),
        # Somebody set the clock, forward or back.
        (100.0, 3700.0, 3700.0, True),
        (100.0, -3500.0, 100.0, True),
    ],
)
def test_time_passes_as_our_peers_see_it(
    monotonic: float, wall: float, passed: float, jumped: bool
) -> None:
    """The larger of the two counts: a lease ends too early rather than too late."""
    moment = later(monotonic, wall)
    assert moment.since(START) == pytest.approx(passed)
    assert moment.jumped(START) is jumped


seconds = st.floats(0, 1e6)


@given(seconds, seconds, seconds)
def test_a_jump_is_never_missed(ran: float, slept: float, before: float) -> None:
    """Whatever ran before and after, a sleep of more than a second shows."""
    start = later(before, before)
    moment = later(before + ran, before + ran + slept)
    assert moment.jumped(start) is (slept > JUMP) or abs(slept - JUMP) < 1e-3
    assert moment.since(start) >= ran - 1e-3
