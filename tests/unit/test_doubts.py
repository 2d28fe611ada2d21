"""When to look again for what the server may have done without our knowing."""

from smartworker.broker.doubts import LATEST, Doubts
from smartworker.testing import ManualClock


def test_without_doubts_nobody_looks() -> None:
    """Nothing is due, and no key is kept."""
    doubts = Doubts(ManualClock())
    assert doubts.left() is None
    assert doubts.keys() == set()


def test_it_looks_less_and_less_and_then_no_more() -> None:
    """Two minutes in five looks: after that nothing is on its way any more."""
    clock = ManualClock()
    doubts = Doubts(clock)
    doubts.add({"celery"})
    moments, begun = [], clock.monotonic()
    while (left := doubts.left()) is not None:
        clock.advance(left)
        moments.append(clock.monotonic() - begun)
        assert doubts.keys() == {"celery"}
        doubts.looked()
    assert moments == [5.0, 15.0, 35.0, 75.0, 115.0, LATEST]
    assert doubts.keys() == set()


def test_a_new_doubt_begins_anew() -> None:
    """The first look comes soon again, and each key has its own end."""
    clock = ManualClock()
    doubts = Doubts(clock)
    doubts.add({"celery"})
    clock.advance(100)
    doubts.looked()
    doubts.add({"mail"})
    assert doubts.left() == 5.0
    clock.advance(LATEST - 100)
    doubts.looked()
    assert doubts.keys() == {"mail"}
