"""Strangers in a real poller: held for a while, given back, and never met twice."""

import json
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Consumer, Queue

import smartworker
from smartworker.broker.poller import Poller
from smartworker.broker.returns import STRANGER_PAUSES
from smartworker.broker.strangers import OTHERS_FIRST
from smartworker.settings import Settings
from smartworker.store.client import connection_options
from smartworker.store.dead import DeadLetters
from smartworker.testing import ManualClock, ManualHub, ManualKeeper

pytestmark = pytest.mark.every_server

QUEUE = "celery"
HALF_AN_HOUR = 1800.0


class Rig:
    """A consumer on a manual clock that knows the task `known` alone."""

    def __init__(self, url: str) -> None:
        app = Celery("rig", set_as_current=False)
        smartworker.setup(app, Settings(redis_url=url))
        self.connection = app.connection_for_read()
        self.clock = ManualClock()
        self.hub = ManualHub(self.clock, patience=0.005)
        transport = self.connection.transport
        self.poller = transport.cycle = Poller(
            transport, HALF_AN_HOUR, clock=self.clock, rng=random.Random(1)
        )
        self.poller.keeper = lambda beat, _: ManualKeeper(self.hub, beat)
        self.channel = self.connection.channel()
        self.met: list[str] = []
        queue = Queue(QUEUE, routing_key=QUEUE)
        consumer = Consumer(self.channel, [queue], on_message=self.receive)
        consumer.consume()
        self.poller.attach(self.hub)
        self.settle()

    def receive(self, message: Any) -> None:
        """As Celery does it: what is not known goes back to others."""
        self.met.append(message.headers["id"])
        if message.headers["task"] == "known":
            message.ack()
        else:
            self.channel.hold_back(message.delivery_tag)

    def settle(self) -> None:
        """Let the server's news arrive, and act on it."""
        self.hub.settle()
        self.hub.settle()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.hub.run(seconds)
        self.settle()

    def lose_a_reply(self) -> None:
        """The next exchange is carried out by the server, and its answer gets lost."""
        queues: Any = self.poller.courier.queues
        exchange = queues.exchange

        def once(*arguments: Any) -> Any:
            queues.exchange = exchange
            exchange(*arguments)
            raise redis.ConnectionError("Connection reset by peer")

        queues.exchange = once

    def close(self) -> None:
        """End everything."""
        with suppress(redis.RedisError, OSError):
            self.connection.release()
        self.poller.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """Sends messages, and sees what is left."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, **options) as made:
        yield made


@pytest.fixture
def rig_of(redis_url: str) -> Iterator[Callable[[], Rig]]:
    """Makes workers; closed at the end."""
    made: list[Rig] = []

    def make() -> Rig:
        made.append(Rig(redis_url))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[Any]]:
    """The logged lines of an event, as dictionaries."""
    caplog.set_level(logging.INFO)

    def named(event: str) -> list[Any]:
        found = [r.msg for r in caplog.records if isinstance(r.msg, dict)]
        return [line for line in found if line["event"] == event]

    return named


def raw(name: str, task: str = "unknown") -> bytes:
    """A message of a task."""
    headers = {"task": task, "id": name}
    body = {"body": "W10=", "headers": headers, "properties": {}}
    return json.dumps({**body, "content-type": "application/json"}).encode()


def test_a_lost_reply_brings_no_stranger_twice(
    rig_of: Callable[[], Rig], client: Any, lines: Callable[[str], list[Any]]
) -> None:
    """What waits here is held: what is read back after healing is the rest."""
    rig = rig_of()
    client.lpush(QUEUE, raw("stranger"))
    rig.settle()
    rig.lose_a_reply()
    client.lpush(QUEUE, raw("friend", "known"))
    rig.settle()
    assert rig.met == ["stranger", "friend"]
    rig.run(STRANGER_PAUSES[0] + 1)
    assert client.llen(QUEUE) == 1
    assert lines("delivery_lost") == []


def test_another_worker_gets_it(
    rig_of: Callable[[], Rig], client: Any, lines: Callable[[str], list[Any]]
) -> None:
    """After a second it goes back; our own bell is left to those who may know it."""
    rig = rig_of()
    client.lpush(QUEUE, raw("stranger"))
    rig.settle()
    assert client.llen(QUEUE) == 0
    other = rig_of()
    rig.run(STRANGER_PAUSES[0] + 1)
    assert rig.met == ["stranger"]
    other.settle()
    assert other.met == ["stranger"]
    rig.run(OTHERS_FIRST)
    assert rig.met == ["stranger"], "the first one looks, and finds nothing"
    assert rig.poller.courier.misled == 0
    assert [line["times"] for line in lines("message_held_back")] == [1, 2]


def test_nobody_knows_it(
    rig_of: Callable[[], Rig], client: Any, lines: Callable[[str], list[Any]]
) -> None:
    """Met six times by a lone worker: a dead letter long before its next poll."""
    rig = rig_of()
    client.lpush(QUEUE, raw("stranger"))
    polled = rig.poller.pace.last
    rig.run(sum(STRANGER_PAUSES) + len(STRANGER_PAUSES) * OTHERS_FIRST + 1)
    assert rig.poller.pace.last == polled
    assert rig.met == ["stranger"] * 6
    assert rig.poller.custody.strangers.left() is None
    rig.run(24 * 3600)
    assert len(rig.met) == 6
    assert [line["seconds"] for line in lines("message_held_back")] == [
        *STRANGER_PAUSES
    ]
    (letter,) = DeadLetters(client).all()
    assert (letter.facts.reason, letter.facts.task) == ("unknown_task", "unknown")
    assert client.keys() == [b"smartworker:dead"]


def test_a_worker_that_stops_gives_them_back(
    rig_of: Callable[[], Rig], client: Any
) -> None:
    """At once, whatever time they had left; no lease is left either."""
    rig = rig_of()
    client.lpush(QUEUE, raw("stranger"))
    rig.settle()
    rig.close()
    assert client.keys() == [QUEUE.encode()]
    (left,) = client.lrange(QUEUE, 0, -1)
    assert json.loads(left)["headers"]["id"] == "stranger"
