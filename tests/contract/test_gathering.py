"""What ends within a round trip is acknowledged together, and nothing waits longer."""

from typing import Any

import pytest

from smartworker.broker.courier import LONGEST_WAIT, SHORTEST_WAIT
from smartworker.broker.hearing import HEAD_START, LEAST_SPREAD, MOST_SPREAD
from smartworker.testing import ManualClock
from tests.contract.test_poller import Observer, RigOf, observer, raw, rig

__all__ = ["observer", "rig"]

ROUND_TRIP = 0.02


class SlowClock(ManualClock):
    """Each look at it takes a while."""

    step = 0.0

    def monotonic(self) -> float:
        """Seconds; later with each look."""
        self.advance(self.step)
        return super().monotonic()


def work(made: Any, begun: int) -> list[Any]:
    """The messages of a rig, all in the pool, which runs so many of them."""
    tags = [message.delivery_tag for message in made.got]
    for tag in tags:
        made.channel.begin(tag)
    for tag in tags[:begun]:
        made.channel.accept(tag)
    made.poller.courier.patience = ROUND_TRIP
    return list(made.got)


def acknowledged(observer: Observer) -> int:
    """Messages that are done on the server."""
    return observer.billed().get("lrem", 0)


def test_what_ends_soon_travels_along(rig: RigOf, observer: Observer) -> None:
    """One round for all that end within a round trip of the first."""
    made = rig(prefetch=4)
    observer.push(*map(raw, [1, 2, 3, 4]))
    made.until(4)
    first, second, third, _ = work(made, begun=2)
    observer.reset()
    first.ack()
    made.settle()
    assert acknowledged(observer) == 0
    made.channel.accept(third.delivery_tag)
    second.ack()
    made.settle()
    assert acknowledged(observer) == 0
    made.run(ROUND_TRIP)
    assert acknowledged(observer) == 2


def test_nothing_waits_once_the_pool_has_no_more(
    rig: RigOf, observer: Observer
) -> None:
    """The last ones of a stretch are sent at once, with those before them."""
    made = rig(prefetch=3)
    observer.push(*map(raw, [1, 2, 3]))
    made.until(3)
    first, second, third = work(made, begun=2)
    observer.reset()
    first.ack()
    made.channel.accept(third.delivery_tag)
    second.ack()
    made.settle()
    assert acknowledged(observer) == 2
    third.ack()
    made.settle()
    assert acknowledged(observer) == 3


def test_a_bell_waits_for_the_round_that_is_due(rig: RigOf, observer: Observer) -> None:
    """The pool has work; what rang comes with the next round, a moment later."""
    made = rig(prefetch=3)
    observer.push(*map(raw, [1, 2, 3]))
    made.until(3)
    first, *_ = work(made, begun=1)
    observer.reset()
    first.ack()
    observer.push(raw(4))
    made.settle()
    assert observer.billed() == {}
    made.run(ROUND_TRIP)
    assert len(made.got) == 4
    assert observer.billed() == {"lrem": 1, "lmove": 1}


def test_a_worker_that_stops_sends_what_waits(rig: RigOf, observer: Observer) -> None:
    """An acknowledgement is never left behind."""
    made = rig(prefetch=2)
    observer.push(*map(raw, [1, 2]))
    made.until(2)
    first, _ = work(made, begun=1)
    first.ack()
    made.poller.return_not_begun("accepted")
    assert observer.client.keys("smartworker:inflight:*") == []
    assert observer.client.lrange("celery", 0, -1) == [raw(2).encode()]


def test_a_worker_that_stops_sends_it_though_nothing_goes_back(
    rig: RigOf, observer: Observer
) -> None:
    """A task runs on for long; the one beside it has ended, and is told at once."""
    made = rig(prefetch=3)
    observer.push(*map(raw, [1, 2, 3]))
    made.until(3)
    first, *_ = work(made, begun=2)
    first.ack()
    made.poller.return_not_begun()
    (key,) = observer.client.keys("smartworker:inflight:*")
    assert observer.client.lrange(key, 0, -1) == [raw(3).encode(), raw(2).encode()]


def test_a_full_pool_leaves_bells_to_others(rig: RigOf, observer: Observer) -> None:
    """It comes last, though it took the last message; what nobody wants it takes."""
    made = rig(prefetch=4)
    made.poller.timing.places = lambda: 1
    observer.push(raw(1))
    made.until(1)
    work(made, begun=1)
    observer.reset()
    observer.push(raw(2))
    made.settle()
    made.run(HEAD_START + LEAST_SPREAD - 0.001)
    assert observer.billed() == {}
    made.run(MOST_SPREAD + 0.001)
    made.settle()
    assert len(made.got) == 2


def test_what_others_took_is_not_asked_for(rig: RigOf, observer: Observer) -> None:
    """The attempt that was put off is dropped; the next bell has its own pause."""
    made = rig(prefetch=4)
    made.poller.hearing.came_too_late()
    observer.reset()
    observer.push(raw(1))
    observer.client.lmove("celery", "elsewhere", "RIGHT", "LEFT")
    observer.sent["lmove"] += 1
    made.settle()
    made.run(1)
    assert observer.billed() == {}


@pytest.mark.parametrize(
    ("step", "found"), [(0.0, SHORTEST_WAIT), (0.03, 0.03), (3.0, LONGEST_WAIT)]
)
def test_how_long_a_round_takes(
    rig: RigOf, observer: Observer, step: float, found: float
) -> None:
    """Others may end for as long; a server that hangs delays nothing by as much."""
    clock = SlowClock()
    made = rig(clock=clock)
    clock.step = step
    observer.push(raw(1))
    made.until(1)
    assert made.poller.courier.patience == pytest.approx(found, abs=1e-9)


def test_who_has_to_wait_does_not_ask_with_an_acknowledgement(
    rig: RigOf, observer: Observer
) -> None:
    """Others have a try at a few messages first; a long queue is for all."""
    made = rig(prefetch=4)
    observer.push(raw(1))
    made.until(1)
    (first,) = work(made, begun=1)
    made.poller.hearing.came_too_late()
    observer.reset()
    observer.push(raw(2))
    made.settle()
    first.ack()
    made.settle()
    assert observer.billed() == {"lrem": 1}
    made.run(HEAD_START + LEAST_SPREAD + 0.001)
    assert len(made.got) == 2
