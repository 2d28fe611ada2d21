"""Events are told while somebody asks for them, and no longer."""

from types import SimpleNamespace
from typing import Any

import pytest

from smartworker.testing import ManualClock, ManualHub
from smartworker.worker.audience import BEAT, EXPECTED, LEASE, Audience


class _Dispatcher:
    """Where events go."""

    def __init__(self, **_options: Any) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.connection = SimpleNamespace(
            close=lambda: None, connection_errors=(), channel_errors=()
        )
        self.is_open = True

    def send(self, kind: str, **fields: Any) -> None:
        self.sent.append((kind, fields.get("freq")))

    def disable(self) -> None:
        self.is_open = False


class _Consumer:
    """The part of a worker that tells events, on a manual loop."""

    hub = None
    hostname = "celery@here"
    app = SimpleNamespace(
        events=SimpleNamespace(Dispatcher=lambda *_, **__: _Dispatcher())
    )

    def __init__(self, clock: ManualClock) -> None:
        self.loop = ManualHub(clock)
        self.timer = SimpleNamespace(
            call_after=self.loop.call_later, cancel=lambda timer: timer.cancel()
        )
        self.event_dispatcher: _Dispatcher | None = None
        self.strategies = 0

    def connection_for_write(self) -> None:
        """None is needed."""

    def update_strategies(self) -> None:
        """Each task learns whom to tell."""
        self.strategies += 1


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands."""
    return ManualClock()


@pytest.fixture
def consumer(clock: ManualClock) -> _Consumer:
    """A silent worker."""
    return _Consumer(clock)


@pytest.fixture
def audience(consumer: _Consumer, clock: ManualClock) -> Audience:
    """Its audience."""
    return Audience(consumer, clock)


def test_a_silent_worker_wakes_up(audience: Audience, consumer: _Consumer) -> None:
    """With a sign of life that lasts until the next call."""
    assert audience.listen() == "task events enabled"
    assert consumer.event_dispatcher is not None
    assert consumer.event_dispatcher.sent == [("worker-heartbeat", EXPECTED)]
    assert consumer.strategies == 1


def test_frequent_calls_cost_little(
    audience: Audience, consumer: _Consumer, clock: ManualClock
) -> None:
    """A stock monitor calls each 5 seconds: one sign of life a minute."""
    for _ in range(25):
        audience.listen()
        clock.advance(5)
    assert consumer.event_dispatcher is not None
    assert len(consumer.event_dispatcher.sent) == 125 // BEAT + 1
    assert consumer.strategies == 1


def test_it_ends_when_nobody_calls_any_more(
    audience: Audience, consumer: _Consumer
) -> None:
    """15 minutes after the last call."""
    audience.listen()
    consumer.loop.run(LEASE / 2)
    audience.listen()
    dispatcher = consumer.event_dispatcher
    assert dispatcher is not None
    consumer.loop.run(LEASE - 1)
    assert consumer.event_dispatcher is dispatcher
    consumer.loop.run(1)
    assert consumer.event_dispatcher is None
    assert not dispatcher.is_open
    assert consumer.strategies == 2


def test_it_ends_when_told_to(audience: Audience, consumer: _Consumer) -> None:
    """And can begin again."""
    assert audience.leave() == "task events already disabled"
    audience.listen()
    assert audience.leave() == "task events disabled"
    assert consumer.event_dispatcher is None
    consumer.loop.run(2 * LEASE)
    audience.beat()
    audience.listen()
    assert consumer.event_dispatcher is not None


def test_a_worker_that_was_started_to_tell_goes_on(
    audience: Audience, consumer: _Consumer
) -> None:
    """With -E, for good."""
    theirs = consumer.event_dispatcher = _Dispatcher()
    assert audience.listen() == "task events already enabled"
    assert audience.leave() == "task events already disabled"
    consumer.loop.run(2 * LEASE)
    assert consumer.event_dispatcher is theirs
    assert theirs.is_open
    audience.beat()
    assert theirs.sent == [("worker-heartbeat", EXPECTED)]
