"""A server that answers with errors: few commands, one line, and nothing is lost."""

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
from smartworker.settings import Settings
from smartworker.store.client import connection_options
from smartworker.store.dead import DeadLetters
from smartworker.store.meter import ledger
from smartworker.testing import ManualClock, ManualHub, ManualKeeper

pytestmark = pytest.mark.every_server

QUEUE = "celery"
TEN_MINUTES = 600.0
#: Longer than the longest pause between two tries, and a poll.
SOON = 40.0


class Rig:
    """A consumer of some queues on a manual clock that polls each second."""

    def __init__(
        self, url: str, queues: tuple[str, ...], interval: float, **settings: Any
    ) -> None:
        app = Celery("rig", set_as_current=False)
        smartworker.setup(app, Settings(redis_url=url, **settings))
        self.clock = ManualClock()
        self.hub = ManualHub(self.clock, patience=0.005)
        self.connection = app.connection_for_read()
        transport = self.connection.transport
        self.poller = transport.cycle = Poller(
            transport, interval, clock=self.clock, rng=random.Random(1)
        )
        self.poller.keeper = lambda beat, _: ManualKeeper(self.hub, beat)
        self.channel = self.connection.channel()
        self.got: list[Any] = []
        declared = [Queue(name, routing_key=name) for name in queues]
        consumer = Consumer(self.channel, declared, on_message=self.got.append)
        consumer.consume()
        self.poller.attach(self.hub)
        self.settle()

    def settle(self) -> None:
        """Let the server's news arrive, and act on it."""
        self.hub.settle()
        self.hub.settle()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.hub.run(seconds)
        self.settle()

    @property
    def bodies(self) -> list[Any]:
        """What came, in order."""
        return [message.payload for message in self.got]

    def acknowledge(self) -> None:
        """All that came is done."""
        for message in self.got:
            if not message.acknowledged:
                message.ack()
        self.settle()

    def close(self) -> None:
        """End everything, even if the server refuses."""
        with suppress(redis.RedisError, OSError):
            self.connection.release()
        self.poller.close()


def left(client: Any) -> list[bytes]:
    """What lies on the server beside the lease, which ends when the worker is idle."""
    return [key for key in client.keys("*") if key != b"smartworker:leases"]


RigOf = Callable[..., Rig]
Lines = Callable[[str], list[Any]]


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """The operator's client; puts the server's limits back."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, **options) as made:
        yield made
        set_memory(made, 0)


@pytest.fixture
def rig(redis_url: str, client: Any) -> Iterator[RigOf]:
    """Makes rigs on the test's server, started; closed at the end."""
    made: list[Rig] = []

    def make(*queues: str, interval: float = 1.0, **settings: Any) -> Rig:
        made.append(Rig(redis_url, queues or (QUEUE,), interval, **settings))
        return made[-1]

    yield make
    set_memory(client, 0)
    for one in made:
        one.close()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """The logged lines of an event, as dictionaries."""
    caplog.set_level(logging.INFO)

    def named(event: str) -> list[Any]:
        found = [r.msg for r in caplog.records if isinstance(r.msg, dict)]
        return [line for line in found if line["event"] == event]

    return named


def raw(body: Any, queue: str = QUEUE, **headers: Any) -> bytes:
    """A message as kombu puts it on a queue."""
    return json.dumps(
        {
            "body": json.dumps(body),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {"task": "project.add", "id": f"id-{body}", **headers},
            "properties": {
                "delivery_mode": 2,
                "delivery_tag": "foreign",
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
            },
        }
    ).encode()


def set_memory(client: Any, limit: int) -> None:
    """A limit that is exceeded at once (1), or none (0); nothing is evicted."""
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", limit)


def inflight(one: Rig, queue: str = QUEUE) -> str:
    """The rig's in-flight list of a queue."""
    return f"smartworker:inflight:{one.poller.worker}:{queue}"


def spent(one: Rig, seconds: float) -> int:
    """The billed commands of so many seconds."""
    ledger.drain()
    one.run(seconds)
    return ledger.billed()


# -- refusals that last ------------------------------------------------------------

#: Two commands a try, 23 to 25 tries in ten minutes: 46 to 49 (measured); four a
#: try on a full server, 33 tries.
FEW = 140


def test_a_key_of_the_wrong_type(rig: RigOf, client: Any, lines: Lines) -> None:
    """`SET celery foo`: one line, pauses that grow, and all is well afterwards."""
    client.set(QUEUE, "foo")
    one = rig()
    assert spent(one, TEN_MINUTES) <= FEW
    (lost,) = lines("broker_lost")
    assert "WRONGTYPE" in lost["error"]
    client.delete(QUEUE)
    client.lpush(QUEUE, raw(1), raw(2), raw(3))
    one.run(SOON)
    assert one.bodies == [1, 2, 3]
    assert len(lines("broker_lost")) == len(lines("broker_back")) == 1
    one.acknowledge()
    one.run(SOON)
    assert one.bodies == [1, 2, 3]
    assert left(client) == []


def test_a_full_server(rig: RigOf, client: Any, lines: Lines) -> None:
    """Nothing may be moved: what waits comes once there is room, exactly once."""
    one = rig()
    client.lpush(QUEUE, *(raw(number) for number in range(20)))
    set_memory(client, 1)
    assert spent(one, TEN_MINUTES) <= FEW
    assert one.bodies == []
    assert len(lines("broker_lost")) == 1
    set_memory(client, 0)
    one.run(SOON)
    assert one.bodies == list(range(20))
    assert len(lines("broker_lost")) == len(lines("broker_back")) == 1
    one.acknowledge()
    assert left(client) == []


def test_it_polls_on_after_a_refusal(rig: RigOf, client: Any) -> None:
    """The timer is armed again: what no bell told of is found a second later."""
    one = rig()
    set_memory(client, 1)
    client.config_set("notify-keyspace-events", "")
    set_memory(client, 0)
    client.lpush(QUEUE, raw(1))
    set_memory(client, 1)
    one.run(10)
    set_memory(client, 0)
    one.run(SOON)
    assert one.bodies == [1]
    assert one.poller.state == "connected"
    assert 9 <= spent(one, 10) <= 11


def test_bells_during_a_refusal_do_not_spin(rig: RigOf, client: Any) -> None:
    """The doorbell is read while the poller pauses: left alone it wakes the loop."""
    client.set("broken", "foo")
    one = rig("broken", "good")
    one.run(60)
    assert one.poller.state == "refused"
    client.lpush("good", raw(1, "good"))
    one.settle()  # raises where the loop never comes to rest
    assert one.poller.state == "refused"
    one.run(SOON)
    assert one.bodies == [1]


def test_a_push_ends_a_refusal(rig: RigOf, client: Any) -> None:
    """Whoever can push shows that the server takes messages again."""
    one = rig()
    client.lpush(QUEUE, raw(1))
    set_memory(client, 1)
    one.run(60)
    assert one.poller.state == "full"
    set_memory(client, 0)
    client.lpush(QUEUE, raw(2))
    one.run(1)
    assert one.bodies == [1, 2]


def test_a_replica_is_asked_with_one_acknowledgement(rig: RigOf, client: Any) -> None:
    """It refuses them all: those that wait are not sent again each time."""
    one = rig()
    client.lpush(QUEUE, *(raw(number) for number in range(20)))
    one.settle()
    client.replicaof("127.0.0.1", 1)
    try:
        one.acknowledge()
        ledger.drain()
        one.run(60)
        refused = ledger.by_command()["lrem"]
    finally:
        client.replicaof("NO", "ONE")
    one.run(SOON)
    assert refused <= 10
    assert left(client) == []


def test_a_dead_doorbell_during_a_refusal_does_not_spin(
    rig: RigOf, client: Any, lines: Lines
) -> None:
    """Hung up while the poller pauses: renewed with the next try."""
    client.set("broken", "foo")
    one = rig("broken", "good")
    one.run(60)
    client.client_kill_filter(_type="pubsub")
    one.settle()
    client.delete("broken")
    one.run(SOON)
    assert one.poller.state == "connected"
    client.lpush("good", raw(1, "good"))
    one.settle()
    assert one.bodies == [1]
    assert len(lines("broker_lost")) == 1


def test_a_good_queue_beside_a_broken_one(rig: RigOf, client: Any) -> None:
    """Its messages come with the next try, and each of them once."""
    client.set("broken", "foo")
    one = rig("broken", "good")
    for number in range(5):
        client.lpush("good", raw(number, "good"))
        one.run(SOON)
        assert one.bodies == list(range(number + 1))
        one.acknowledge()
    one.run(SOON)
    assert left(client) == [b"broken"]


# -- messages that go back ---------------------------------------------------------


def test_a_requeue_waits_for_the_server(rig: RigOf, client: Any) -> None:
    """Rejected on a full server: it goes back, and comes again, once there is room."""
    one = rig()
    client.lpush(QUEUE, raw(1))
    one.settle()
    set_memory(client, 1)
    one.got[0].requeue()
    one.run(60)
    assert client.lrange(inflight(one), 0, -1) == [raw(1)]
    assert client.llen(QUEUE) == 0
    set_memory(client, 0)
    one.run(SOON)
    assert one.bodies == [1, 1]
    one.acknowledge()
    assert left(client) == []


def test_a_requeue_over_a_dead_link(rig: RigOf, client: Any) -> None:
    """All connections are gone: renewed, and the message comes again, once."""
    one = rig(interval=1800.0)
    client.lpush(QUEUE, raw(1))
    one.settle()
    for kind in ("normal", "pubsub"):
        client.client_kill_filter(_type=kind, skipme=True)
    one.got[0].requeue()
    one.run(SOON)
    assert one.bodies == [1, 1]
    one.acknowledge()
    assert left(client) == []


def test_an_acknowledgement_passes_a_requeue_that_cannot(
    rig: RigOf, client: Any
) -> None:
    """A full server refuses the one and takes the other: done is done."""
    one = rig()
    client.lpush(QUEUE, raw(1), raw(2))
    one.settle()
    set_memory(client, 1)
    one.got[0].requeue()
    one.got[1].ack()
    one.run(SOON)
    assert client.lrange(inflight(one), 0, -1) == [raw(1)]


def test_attempts_are_counted_and_end(rig: RigOf, client: Any, lines: Lines) -> None:
    """Marked as redelivered with its count; the last one makes it a dead letter."""
    one = rig(max_deliveries=3)
    client.lpush(QUEUE, raw(1), raw(2))
    one.settle()
    one.got[1].ack()
    one.got[0].requeue()
    one.settle()
    one.got[2].requeue()
    one.settle()
    assert one.bodies == [1, 2, 1, 1]
    first, _, *again = one.got
    assert "smartworker_attempts" not in first.headers
    assert [message.headers["smartworker_attempts"] for message in again] == [1, 2]
    assert all(message.headers["redelivered"] for message in again)
    assert all(message.delivery_info["redelivered"] for message in again)
    assert all(message.headers["task"] == "project.add" for message in again)
    again[-1].requeue()
    one.run(60)
    client.client_kill_filter(_type="pubsub")
    one.run(60)
    assert len(one.got) == 4
    (died,) = lines("message_dead")
    assert (died["attempts"], died["reason"]) == (3, "max_deliveries")
    assert (died["task"], died["task_id"]) == ("project.add", "id-1")
    assert died["queue"] == QUEUE
    assert left(client) == [b"smartworker:dead"]
    (letter,) = DeadLetters(client).all()
    assert json.loads(letter.raw)["headers"]["smartworker_attempts"] == 2
    assert letter.facts.attempts == 3


# -- the server changes ------------------------------------------------------------


def test_flags_taken_away_are_noticed(rig: RigOf, client: Any, lines: Lines) -> None:
    """A poll that finds what no bell told of sets the flags again."""
    one = rig(interval=30.0)
    client.config_set("notify-keyspace-events", "")
    client.lpush(QUEUE, raw(1))
    one.settle()
    assert one.bodies == []
    one.run(46)
    assert one.bodies == [1]
    flags = client.config_get("notify-keyspace-events")["notify-keyspace-events"]
    assert set("Kl$g") <= set(flags.replace("A", "l$g"))
    client.lpush(QUEUE, raw(2))
    one.settle()
    assert one.bodies == [1, 2]
    assert len(lines("doorbell_ready")) == 2
    assert lines("broker_lost") == []


def test_closing_on_a_full_server(rig: RigOf, client: Any, lines: Lines) -> None:
    """What cannot go back stays in flight, what is done is gone: nothing is lost."""
    one = rig()
    client.lpush(QUEUE, *(raw(number) for number in range(4)))
    one.settle()
    assert one.bodies == [0, 1, 2, 3]
    set_memory(client, 1)
    one.got[0].ack()
    one.channel.close()
    set_memory(client, 0)
    kept = client.lrange(inflight(one), 0, -1) + client.lrange(QUEUE, 0, -1)
    assert sorted(kept) == [raw(1), raw(2), raw(3)]
    assert len(lines("give_back_failed")) == 1


def test_closing_on_a_full_server_with_a_requeue(rig: RigOf, client: Any) -> None:
    """The same where a rejected message still waits to go back."""
    one = rig()
    client.lpush(QUEUE, *(raw(number) for number in range(3)))
    one.settle()
    set_memory(client, 1)
    one.got[0].requeue()
    one.channel.close()
    set_memory(client, 0)
    kept = client.lrange(inflight(one), 0, -1) + client.lrange(QUEUE, 0, -1)
    assert sorted(kept) == [raw(0), raw(1), raw(2)]


# -- the end of a channel ----------------------------------------------------------


def test_what_a_full_server_does_not_take_back_stays_under_its_lease(
    rig: RigOf, client: Any
) -> None:
    """A channel closes while nothing may be pushed: held on record, and back later."""
    one = rig(interval=10.0)
    client.lpush(QUEUE, raw(1))
    one.settle()
    other = one.connection.channel()
    declared = [Queue("other", routing_key="other")]
    Consumer(other, declared, on_message=one.got.append).consume()
    one.settle()
    set_memory(client, 1)
    one.channel.close()
    one.run(400)
    assert client.zrange("smartworker:leases", 0, -1) == [inflight(one).encode()]
    set_memory(client, 0)
    one.run(60)
    assert client.lrange(QUEUE, 0, -1) == [raw(1)]
    assert client.exists(inflight(one)) == 0
