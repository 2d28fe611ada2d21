"""Strangers: messages that nobody here knows wait their time, and leave in order."""

from smartworker.broker.returns import Verdict
from smartworker.broker.strangers import OTHERS_FIRST, Strangers
from smartworker.store.moves import Move
from smartworker.store.queues import Delivery
from smartworker.testing import ManualClock


def pair(name: bytes) -> tuple[Delivery, Verdict]:
    """A message and where it goes."""
    return Delivery("celery", name), Verdict(Move(name, "back", name))


def room(*waits: tuple[bytes, float]) -> tuple[Strangers, ManualClock]:
    """A waiting room with messages and their seconds in it, and its clock."""
    clock = ManualClock()
    strangers = Strangers(clock)
    for name, seconds in waits:
        strangers.hold(*pair(name), seconds)
    return strangers, clock


def test_nobody_waits() -> None:
    """Nothing is due, nothing is held, and there is nothing to come."""
    strangers, _ = room()
    assert (strangers.left(), strangers.held()) == (None, [])
    assert list(strangers.leave(all_of_them=True)) == []


def test_each_waits_its_own_time() -> None:
    """The first to come need not be the first to go; none goes early, none twice."""
    strangers, clock = room((b"slow", 30), (b"quick", 1), (b"slower", 120))
    assert strangers.left() == 1
    clock.advance(0.5)
    assert list(strangers.leave()) == []
    clock.advance(0.5)
    assert strangers.left() == 0
    assert list(strangers.leave()) == [pair(b"quick")]
    assert list(strangers.leave()) == []
    assert strangers.left() == 29
    assert [delivery.raw for delivery in strangers.held()] == [b"slow", b"slower"]


def test_late_is_not_negative() -> None:
    """The loop was busy: all whose time is over go at once."""
    strangers, clock = room((b"a", 1), (b"b", 5), (b"c", 600))
    clock.advance(60)
    assert strangers.left() == 0
    assert list(strangers.leave()) == [pair(b"a"), pair(b"b")]


def test_without_a_pause_it_goes_at_once() -> None:
    """A message that dies waits for nothing."""
    strangers, _ = room((b"a", 0))
    assert strangers.left() == 0
    assert list(strangers.leave()) == [pair(b"a")]


def test_all_leave_when_the_worker_ends() -> None:
    """Whatever time they had left."""
    strangers, _ = room((b"a", 600), (b"b", 1))
    assert list(strangers.leave(all_of_them=True)) == [pair(b"a"), pair(b"b")]
    assert strangers.left() is None


def test_one_may_come_while_others_leave() -> None:
    """What is met in the meantime waits its full time."""
    strangers, clock = room((b"a", 1), (b"b", 1))
    clock.advance(1)
    for delivery, verdict in strangers.leave():
        strangers.hold(delivery, verdict, 5)
    assert [delivery.raw for delivery in strangers.held()] == [b"a", b"b"]
    assert strangers.left() == 5


def test_others_have_a_while_for_what_was_given_back() -> None:
    """Then its queue is looked into, once."""
    strangers, clock = room()
    strangers.offer("celery")
    assert strangers.left() == OTHERS_FIRST
    assert strangers.unwanted() == set()
    clock.advance(OTHERS_FIRST)
    assert strangers.left() == 0
    assert strangers.unwanted() == {"celery"}
    assert strangers.unwanted() == set()
    assert strangers.left() is None
