"""kombu on our transport against real servers; time moves only when told to."""

import json
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Consumer, Exchange, Producer, Queue

import smartworker
from smartworker.broker.poller import Poller
from smartworker.settings import Settings
from smartworker.store.client import connection_options
from smartworker.store.dead import DeadLetters
from smartworker.store.meter import is_billed, ledger
from smartworker.store.server import EmbeddedServer
from smartworker.testing import ManualClock, ManualHub, ManualKeeper, commandstats

STEPS = (0, 3, 6, 9)
QUEUE = "celery"
OBSERVING = {"info", "config|resetstat"}


class Rig:
    """A connection of a Celery app whose poller runs on a clock of its own."""

    def __init__(
        self,
        url: str,
        queues: tuple[str, ...] = (QUEUE,),
        *,
        interval: float = 30.0,
        prefetch: int = 0,
        seed: int = 1,
        clock: ManualClock | None = None,
        priorities: dict[str, int] | None = None,
        **settings: Any,
    ) -> None:
        app = Celery("rig", set_as_current=False)
        app.conf.broker_transport_options = {"queue_priorities": priorities}
        smartworker.setup(app, Settings(redis_url=url, **settings))
        self.connection = app.connection_for_read()
        self.clock = clock or ManualClock()
        self.hub = ManualHub(self.clock, patience=0.005)
        transport = self.connection.transport
        self.poller = transport.cycle = Poller(
            transport, interval, clock=self.clock, rng=random.Random(seed)
        )
        self.poller.keeper = lambda beat, _: ManualKeeper(self.hub, beat)
        self.channel = self.connection.channel()
        self.got: list[Any] = []
        self.acknowledge = False
        self.consumer = Consumer(
            self.channel,
            [self.queue(name) for name in queues],
            on_message=self.on_message,
        )
        if prefetch:
            self.consumer.qos(prefetch_count=prefetch)
        self.consumer.consume()

    @staticmethod
    def queue(name: str) -> Queue:
        """A queue as Celery declares it."""
        return Queue(name, routing_key=name)

    def start(self) -> "Rig":
        """Attach to the loop; ready when the doorbell is confirmed."""
        self.poller.attach(self.hub)
        self.settle()
        return self

    def settle(self) -> None:
        """Let the server's news arrive, and act on it."""
        self.hub.settle()
        self.hub.settle()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.hub.run(seconds)

    def until(self, count: int) -> None:
        """Run the loop until so many messages came, or for a long silence."""
        for _ in range(200):
            if len(self.got) >= count:
                break
            self.hub.settle()
        self.settle()

    def on_message(self, message: Any) -> None:
        """A message came."""
        self.got.append(message)
        if self.acknowledge:
            message.ack()

    @property
    def bodies(self) -> list[Any]:
        """What came, in order."""
        return [message.payload for message in self.got]

    def close(self) -> None:
        """End everything, even if the server is gone."""
        with suppress(redis.RedisError, OSError):
            self.connection.release()
        self.poller.close()


class Observer:
    """A foreign client that counts what the server saw of the others."""

    def __init__(self, url: str, older: bool) -> None:
        options: dict[str, Any] = connection_options()
        self.client = redis.Redis.from_url(url, **options)
        self.sent: Counter[str] = Counter()
        # Such a server counts the commands of CONFIG and CLIENT together.
        self.uncounted = ("config|", "client|") if older else ()

    def reset(self) -> None:
        """Count from nothing, on both sides."""
        self.client.config_resetstat()
        self.sent.clear()
        ledger.drain()

    def push(self, *messages: str | bytes, queue: str = QUEUE) -> None:
        """One LPUSH by somebody who knows nothing of us."""
        self.client.lpush(queue, *messages)
        self.sent["lpush"] += 1

    def seen(self) -> dict[str, int]:
        """{command: calls} of the others, equal to what the ledger says."""
        counts = commandstats(self.client)
        calls = Counter({n: c for n, c in counts.items() if n not in OBSERVING})
        found = dict(calls - self.sent)
        booked = ledger.by_command().items()
        assert found == {n: c for n, c in booked if not n.startswith(self.uncounted)}
        return found

    def billed(self) -> dict[str, int]:
        """The same without what costs nothing."""
        return {name: n for name, n in self.seen().items() if is_billed(name)}

    def connections(self) -> set[str]:
        """The connections of all the others, by their id."""
        self.sent["client|list"] += 1
        self.sent["client|id"] += 1
        mine = str(self.client.client_id())
        return {row["id"] for row in self.client.client_list()} - {mine}


RigOf = Callable[..., Rig]


@pytest.fixture
def observer(redis_url: str, older_server: bool) -> Iterator[Observer]:
    """Sees everything; closed at the end."""
    made = Observer(redis_url, older_server)
    yield made
    made.client.close()


@pytest.fixture
def rig(redis_url: str) -> Iterator[RigOf]:
    """Makes rigs on the test's server, started; closed at the end."""
    made: list[Rig] = []

    def make(*args: Any, url: str = redis_url, **kwargs: Any) -> Rig:
        made.append(Rig(url, *args, **kwargs))
        return made[-1].start()

    yield make
    for one in made:
        one.close()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[..., list[Any]]:
    """The logged lines of an event, as dictionaries."""
    caplog.set_level(logging.INFO)

    def named(event: str) -> list[Any]:
        found = [r.msg for r in caplog.records if isinstance(r.msg, dict)]
        return [line for line in found if line["event"] == event]

    return named


def raw(body: Any, queue: str = QUEUE) -> str:
    """A message as kombu puts it on a queue."""
    return json.dumps(
        {
            "body": json.dumps(body),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {},
            "properties": {
                "delivery_mode": 2,
                "delivery_tag": "foreign",
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
            },
        }
    )


def inflight(rig: Rig, queue: str = QUEUE) -> str:
    """The rig's in-flight list of a queue."""
    return f"smartworker:inflight:{rig.poller.worker}:{queue}"


#: What the first message of a busy stretch costs beside its own commands.
LEASE = {"time": 1, "zadd": 1}


def left(client: Any) -> list[bytes]:
    """What lies on the server beside the lease, which ends when the worker is idle."""
    return [key for key in client.keys("*") if key != b"smartworker:leases"]


def lose_reply(rig: Rig) -> None:
    """The next exchange is carried out by the server, and its answer gets lost."""
    queues: Any = rig.poller.courier.queues
    exchange = queues.exchange

    def once(*args: Any) -> Any:
        queues.exchange = exchange
        exchange(*args)
        raise redis.ConnectionError("Connection reset by peer")

    queues.exchange = once


# -- cost --------------------------------------------------------------------------

pytestmark = pytest.mark.every_server


def test_a_start_costs_little(rig: RigOf, observer: Observer) -> None:
    """Seven queues with four steps each: one SUBSCRIBE, one EXISTS."""
    observer.reset()
    rig(tuple(f"queue{n}" for n in range(7)))
    assert observer.billed() == {"exists": 1, "subscribe": 1}


def test_an_idle_minute_is_sixty_polls(rig: RigOf, observer: Observer) -> None:
    """1 s polls, 28 keys: 60 EXISTS, give or take one, and no other billed command."""
    one = rig(tuple(f"queue{n}" for n in range(7)), interval=1.0)
    observer.reset()
    one.run(60)
    billed = observer.billed()
    assert set(billed) == {"exists"}
    assert abs(billed["exists"] - 60) <= 1
    assert set(observer.seen()) <= {"exists", "ping"}


def test_a_slow_link_is_no_outage(
    rig: RigOf, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1 s polls over a slow link: a PING just sent is not one unanswered for 5 s."""
    one = rig(interval=1.0)
    one.run(3)
    before = observer.connections()
    doorbell, queues = one.poller._doorbell, one.poller.courier.queues
    waiting, ping = queues.waiting, doorbell.ping

    def slowly(keys: Any) -> int:
        one.clock.advance(0.02)
        return waiting(keys)

    pings: list[float] = []

    def held_up() -> bool:
        pings.append(one.clock.monotonic())
        if len(pings) == 8:
            # This one answer comes 100 ms late, in real time; the check of the PING
            # of 5 s ago is due by then, and that one was answered long since.
            observer.client.client_pause(100)
        return ping()

    monkeypatch.setattr(queues, "waiting", slowly)
    monkeypatch.setattr(doorbell, "ping", held_up)
    one.run(12)
    assert len(pings) >= 10
    assert observer.connections() == before, "the connection was given up and renewed"


def test_a_message_is_two_commands(rig: RigOf, observer: Observer) -> None:
    """Of a foreign producer: LMOVE and LREM, no poll in between."""
    one = rig(interval=1800.0)
    one.acknowledge = True
    observer.reset()
    for number in range(5):
        observer.push(raw(number))
        one.until(number + 1)
    assert observer.seen() == {"lmove": 5, "lrem": 5, **LEASE}
    assert one.bodies == [0, 1, 2, 3, 4]
    assert left(observer.client) == []


def test_a_burst_is_two_commands_each(rig: RigOf, observer: Observer) -> None:
    """50 messages pushed one by one before the loop turns: 100 commands."""
    one = rig(interval=1800.0)
    one.acknowledge = True
    observer.reset()
    for number in range(50):
        observer.push(raw(number))
    one.until(50)
    assert one.bodies == list(range(50))
    assert observer.seen() == {"lmove": 50, "lrem": 50, **LEASE}


def test_a_variadic_push_is_taken_at_once(rig: RigOf, observer: Observer) -> None:
    """100 messages ring once: all taken without a poll, hardly a command in vain."""
    one = rig(interval=1800.0)
    one.acknowledge = True
    observer.reset()
    observer.push(*(raw(number) for number in range(100)))
    one.until(100)
    assert one.bodies == list(range(100))
    seen = observer.seen()
    assert seen.pop("lmove") <= 100 + 64
    assert seen == {"lrem": 100, **LEASE}


def test_our_producer_is_one_command(rig: RigOf, observer: Observer) -> None:
    """kombu's Producer: one LPUSH; with `batch()` one LPUSH for all."""
    one = rig(interval=1800.0)
    one.acknowledge = True
    producer = Producer(one.channel, serializer="json", routing_key=QUEUE)
    observer.reset()
    producer.publish(0)
    assert observer.seen() == {"lpush": 1}
    with producer.batch():
        for number in range(1, 20):
            producer.publish(number)
    assert observer.seen() == {"lpush": 2}
    one.until(20)
    assert one.bodies == list(range(20))


# -- order and limits --------------------------------------------------------------


def test_the_prefetch_limit_is_kept(rig: RigOf, observer: Observer) -> None:
    """Two at a time; the bell is remembered and served after an acknowledgement."""
    one = rig(interval=1800.0, prefetch=2)
    observer.reset()
    for number in range(5):
        observer.push(raw(number))
    one.until(2)
    assert one.bodies == [0, 1]
    assert observer.client.llen(QUEUE) == 3
    observer.sent["llen"] += 1
    one.got[0].ack()
    one.until(3)
    assert one.bodies == [0, 1, 2]
    for message in one.got[1:]:
        message.ack()
    one.until(5)
    assert one.bodies == [0, 1, 2, 3, 4]
    for message in one.got[3:]:
        message.ack()
    one.settle()
    assert observer.seen() == {"lmove": 5, "lrem": 5, **LEASE}


def step_key(step: int) -> str:
    """The queue key of a priority step."""
    return QUEUE if step == 0 else f"{QUEUE}\x06\x16{step}"


def push_each_step_twice(observer: Observer) -> list[list[int]]:
    """Two messages at every step, the least urgent first; the order to expect."""
    for step in reversed(STEPS):
        for number in (1, 2):
            observer.push(raw([step, number]), queue=step_key(step))
    return [[step, number] for step in STEPS for number in (1, 2)]


def test_the_urgent_come_first_when_the_bell_rings(
    rig: RigOf, observer: Observer
) -> None:
    """Steps 0, 3, 6, 9: the lower one first, whatever was pushed first."""
    one = rig(interval=1800.0)
    expected = push_each_step_twice(observer)
    one.until(8)
    assert one.bodies == expected


def test_the_urgent_come_first_in_a_backlog(rig: RigOf, observer: Observer) -> None:
    """What waited before the start is taken in the same order."""
    expected = push_each_step_twice(observer)
    one = rig(interval=1800.0)
    one.until(8)
    assert one.bodies == expected


def work_off(one: Rig, count: int) -> None:
    """Acknowledge so many messages, one after the other."""
    for number in range(count):
        one.until(number + 1)
        one.got[number].ack()


PRIORITIES = {"bookings": 7, "email": 5, "letters": 5, "upkeep": 1, "never": -1}


@pytest.mark.parametrize("seed", range(3))
def test_queues_are_emptied_by_their_priority(
    rig: RigOf, observer: Observer, seed: int
) -> None:
    """Strictly, the higher number first; equals share; no command more for it."""
    queues = random.Random(seed).sample([*PRIORITIES, QUEUE], 6)
    for queue in queues:
        observer.push(*(raw([queue, number]) for number in range(20)), queue=queue)
    observer.reset()
    one = rig(
        tuple(queues), interval=1800.0, prefetch=1, priorities=PRIORITIES, seed=seed
    )
    work_off(one, 120)
    order = [queue for queue, _ in one.bodies]
    assert order[:20] == ["bookings"] * 20
    # Taken in turns: neither is more than two ahead of the other.
    for end in range(21, 60):
        equals = Counter(order[20:end])
        assert abs(equals["email"] - equals["letters"]) <= 2
    assert order[60:] == ["upkeep"] * 20 + [QUEUE] * 20 + ["never"] * 20
    for queue in queues:
        assert [n for name, n in one.bodies if name == queue] == list(range(20))
    # Each step of each queue is found empty once, as without priorities.
    assert observer.billed()["lmove"] <= 120 + len(STEPS) * len(queues)


def test_a_late_message_of_an_urgent_queue_overtakes(
    rig: RigOf, observer: Observer
) -> None:
    """What was taken before it rang runs first, and nothing else."""
    one = rig(("upkeep", "bookings"), prefetch=2, priorities=PRIORITIES)
    for number in range(5):
        observer.push(raw(["upkeep", number]), queue="upkeep")
    one.until(2)
    observer.push(raw(["bookings", 0]), queue="bookings")
    one.settle()
    work_off(one, 6)
    assert [queue for queue, _ in one.bodies] == [
        "upkeep",
        "upkeep",
        "bookings",
        *(["upkeep"] * 3),
    ]


def test_a_queue_s_priority_comes_before_a_message_s(
    rig: RigOf, observer: Observer
) -> None:
    """The least urgent step of the urgent queue is taken ahead of any other queue."""
    observer.push(raw("other"), queue="upkeep")
    observer.push(raw("urgent, step 9"), queue="bookings\x06\x169")
    observer.push(raw("urgent, step 0"), queue="bookings")
    one = rig(("upkeep", "bookings"), prefetch=1, priorities=PRIORITIES)
    work_off(one, 3)
    assert one.bodies == ["urgent, step 0", "urgent, step 9", "other"]


def test_a_backlog_at_the_start_is_taken(rig: RigOf, observer: Observer) -> None:
    """No bell rang for it: the first look finds it, and says so in few commands."""
    observer.push(*(raw(number) for number in range(200)))
    observer.reset()
    one = rig(interval=1800.0)
    one.until(200)
    assert one.bodies == list(range(200))
    assert observer.billed()["lmove"] <= 200 + 64 + 4


# -- the pace ----------------------------------------------------------------------


def test_another_interval_holds_at_once(rig: RigOf, observer: Observer) -> None:
    """From half-hourly to each second and back: a poll at once, the same sockets."""
    one = rig(interval=1800.0)
    before = observer.connections()
    observer.reset()
    one.run(60)
    assert observer.billed() == {}
    one.poller.set_interval(1.0)
    one.run(0.01)
    assert observer.billed() == {"exists": 1}
    one.run(59.99)
    assert abs(observer.billed()["exists"] - 60) <= 2
    one.poller.set_interval(1800.0)
    one.run(0.01)
    observer.reset()
    one.run(600)
    assert observer.billed() == {}
    assert observer.connections() == before


def test_without_a_doorbell_work_makes_it_poll_fast(
    rig: RigOf, observer: Observer
) -> None:
    """Off: after work found by a poll the next one comes within 5 s, not 30 min."""
    one = rig(interval=1800.0, doorbell="off")
    one.acknowledge = True
    observer.push(raw(1))
    one.run(2700)
    assert one.bodies == [1]
    one.poller.set_interval(1800.0)
    observer.push(raw(2))
    one.run(1)
    assert one.bodies == [1, 2]
    observer.push(raw(3))
    one.run(10)
    assert one.bodies == [1, 2, 3]


def test_published_bells_wake_too(rig: RigOf, observer: Observer) -> None:
    """`publish`: our producer rings by itself, one command more for a push."""
    one = rig(interval=1800.0, doorbell="publish")
    one.acknowledge = True
    producer = Producer(one.channel, serializer="json", routing_key=QUEUE)
    observer.reset()
    producer.publish(0)
    with producer.batch():
        for number in range(1, 10):
            producer.publish(number)
    one.until(10)
    assert one.bodies == list(range(10))
    assert observer.seen() == {
        "lpush": 2,
        "publish": 2,
        "lmove": 10,
        "lrem": 10,
        **LEASE,
    }


def test_queues_come_and_go_while_it_runs(rig: RigOf, observer: Observer) -> None:
    """The subscription follows, a new queue's message is heard, an old one's not."""
    one = rig(interval=1800.0)

    def heard() -> set[str]:
        found: Any = observer.client.pubsub_channels("__keyspace@0__:*")
        return {name.decode().partition(":")[2] for name in found}

    assert heard() == {step_key(step) for step in STEPS}
    one.consumer.add_queue(one.queue("mail"))
    one.consumer.consume()
    one.settle()
    assert {"mail", "celery"} <= heard()
    assert len(heard()) == 8
    observer.push(raw("new", "mail"), queue="mail")
    one.until(1)
    one.consumer.cancel_by_queue(QUEUE)
    one.settle()
    assert QUEUE not in heard()
    assert len(heard()) == 4
    observer.push(raw("old"))
    one.settle()
    assert one.bodies == ["new"]
    assert observer.client.llen(QUEUE) == 1


# -- several workers ---------------------------------------------------------------


def test_of_two_pollers_the_loser_gives_up(rig: RigOf, observer: Observer) -> None:
    """One message: one LMOVE brings it, at most one is in vain."""
    rigs = [rig(interval=1800.0, seed=n) for n in range(2)]
    for one in rigs:
        one.acknowledge = True
    observer.reset()
    observer.push(raw(1))
    for _ in range(20):
        for one in rigs:
            one.run(0.01)
            one.settle()
    assert sum(len(one.got) for one in rigs) == 1
    seen = observer.seen()
    assert seen.pop("lmove") <= 2
    # Each takes a lease before it tries.
    assert seen in ({"lrem": 1, **LEASE}, {"lrem": 1, "time": 2, "zadd": 2})


@pytest.mark.parametrize("kind", ["normal", "pubsub", "both"])
def test_killed_connections_heal(
    rig: RigOf, observer: Observer, lines: Any, kind: str
) -> None:
    """At most 5 billed commands, nothing lost, nothing doubled, nothing said."""
    one = rig(interval=30.0)
    observer.push(raw(1), raw(2))
    one.until(2)
    observer.reset()
    for victim in ("normal", "pubsub") if kind == "both" else (kind,):
        observer.client.client_kill_filter(_type=victim, skipme=True)
        observer.sent["client|kill"] += 1
    one.run(46)
    billed = Counter(observer.billed())
    assert billed["exists"] <= 4
    billed["exists"] -= 2  # polls of 46 s
    assert sum(billed.values()) <= 5, billed
    observer.push(raw(3))
    one.until(3)
    assert one.bodies == [1, 2, 3]
    for message in one.got:
        message.ack()
    one.settle()
    assert left(observer.client) == []
    assert lines("broker_lost") == []


def test_a_server_that_goes_and_comes_back(
    monkeypatch: pytest.MonkeyPatch, lines: Any, server_kind: str, redis_servers: Any
) -> None:
    """One line when it is lost, one when it is back, and pauses that grow."""
    server = EmbeddedServer(binary=redis_servers(server_kind)._binary)
    server.start()
    monkeypatch.setattr("smartworker.store.server.free_port", lambda: server.port)
    one = Rig(server.url, interval=1.0).start()
    try:
        server.stop()
        waits: list[float] = []
        later = one.hub.call_later

        def noted(seconds: float, act: Callable[[], None]) -> Any:
            waits.append(seconds)
            return later(seconds, act)

        monkeypatch.setattr(one.hub, "call_later", noted)
        one.run(100)
        assert one.poller.state == "lost"
        assert len(lines("broker_lost")) == 1
        assert 6 <= len(waits) <= 9
        assert [wait for wait in waits[:5] if wait > 1.3] == waits[1:5]
        assert waits[1] < waits[2] < waits[3] < waits[4] <= 36
        server.start()
        one.run(40)
        assert one.poller.state == "connected"
        (back,) = lines("broker_back")
        assert back["attempts"] == len(waits) or 6 <= back["attempts"] <= 9
        assert 100 <= back["away_seconds"] <= 137
        assert len(lines("broker_lost")) == 1
        with redis.Redis.from_url(server.url) as client:
            client.lpush(QUEUE, raw("after"))
            one.until(1)
        assert one.bodies == ["after"]
    finally:
        one.close()
        server.stop()


def test_a_take_whose_reply_is_lost_is_read_back(
    rig: RigOf, observer: Observer, lines: Any
) -> None:
    """Moved by the server and never seen: found in flight, delivered once."""
    one = rig(interval=1800.0)
    observer.push(raw("held"))
    one.until(1)
    lose_reply(one)
    observer.reset()
    observer.push(raw("lost"))
    one.until(2)
    assert one.bodies == ["held", "lost"]
    assert sum(observer.billed().values()) <= 1 + 5
    assert observer.client.lrange(inflight(one), 0, -1) == [
        raw("lost").encode(),
        raw("held").encode(),
    ]
    assert [line["read_back"] for line in lines("broker_back")] == [1]
    for message in one.got:
        message.ack()
    one.settle()
    assert left(observer.client) == []


def test_a_take_that_is_carried_out_late(rig: RigOf, observer: Observer) -> None:
    """Given up, and moved by the server after we had looked: found all the same."""
    one = rig(interval=1800.0)
    lose_reply(one)
    observer.push(raw("lost"))
    one.until(1)
    observer.client.lpush(inflight(one), raw("late"))
    observer.reset()
    one.run(10)
    assert one.bodies == ["lost", "late"]
    one.run(300)
    assert observer.billed()["lrange"] <= 6
    for message in one.got:
        message.ack()
    one.settle()
    assert left(observer.client) == []


def test_a_ring_that_is_heard_with_an_answer(rig: RigOf, observer: Observer) -> None:
    """Read while the answer to a PING is looked for: its message comes at once."""
    one = rig(interval=1800.0)
    observer.push(raw("rung"))
    assert one.poller._doorbell._connection.can_read(timeout=5)
    one.poller._check_answer(0)
    assert one.bodies == ["rung"]


def test_an_acknowledgement_whose_reply_is_lost(
    rig: RigOf, observer: Observer, lines: Any
) -> None:
    """Sent again after healing; nothing is doubled, and nothing is called lost."""
    one = rig(interval=1800.0)
    observer.push(raw(1))
    one.until(1)
    lose_reply(one)
    one.got[0].ack()
    one.settle()
    assert left(observer.client) == []
    assert one.bodies == [1]
    assert lines("delivery_lost") == []


def test_a_basic_get_whose_reply_is_lost(rig: RigOf, observer: Observer) -> None:
    """The message moved in flight comes back by the next healing."""
    one = rig(interval=1800.0)
    one.consumer.cancel()
    one.settle()
    observer.push(raw(1))
    lose_reply(one)
    with pytest.raises(redis.ConnectionError):
        one.channel.basic_get(QUEUE)
    one.consumer.consume()
    observer.client.client_kill_filter(_type="pubsub")
    one.until(1)
    assert one.bodies == [1]


def test_giving_back_over_a_dead_link_loses_nothing(
    rig: RigOf, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reject that cannot be sent: afterwards the message still comes, once."""
    one = rig(interval=30.0)
    observer.push(raw(1))
    one.until(1)
    queues = one.poller.courier.queues
    give_back = queues.give_back

    def fail(*args: Any, **kwargs: Any) -> int:
        monkeypatch.setattr(queues, "give_back", give_back)
        raise redis.ConnectionError("Connection reset by peer")

    monkeypatch.setattr(queues, "give_back", fail)
    with suppress(redis.ConnectionError):
        one.got[0].requeue()
    observer.client.client_kill_filter(_type="pubsub")
    one.run(60)
    held = one.poller.held()
    waiting = observer.client.lrange(QUEUE, 0, -1)
    assert len(one.got) == 2 or len(held) + len(waiting) == 1


# -- bad messages ------------------------------------------------------------------

BAD = [
    b"not json",
    b"{}",
    b"[]",
    b"null",
    b'{"properties": null}',
    b"\xff\xfe\x00",
    b"",
    b"[" * 100_000,
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad[:40].decode("latin-1"))
def test_bad_messages_stop_nobody(
    rig: RigOf, observer: Observer, lines: Any, bad: bytes
) -> None:
    """Among the dead letters exactly once, and the good message behind it comes."""
    one = rig(interval=1800.0)
    observer.push(bad, raw("good"))
    one.until(1)
    assert one.bodies == ["good"]
    assert observer.client.lrange(inflight(one), 0, -1) == [raw("good").encode()]
    (line,) = lines("message_dead")
    assert (line["queue"], line["reason"]) == (QUEUE, "unreadable")
    observer.client.client_kill_filter(_type="pubsub")
    one.run(10)
    (letter,) = DeadLetters(observer.client).all()
    assert letter.raw == bad
    assert letter.facts.queue == QUEUE
    assert len(lines("message_dead")) == 1
    assert one.bodies == ["good"]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad[:40].decode("latin-1"))
def test_bad_broadcasts_stop_nobody(
    redis_url: str, observer: Observer, bad: bytes
) -> None:
    """Remote control gets nonsense: the queue is served on."""
    one = Rig(redis_url, interval=1800.0)
    try:
        exchange = Exchange("celery.pidbox", type="fanout")
        control = Queue("w.celery.pidbox", exchange, auto_delete=True)
        heard: list[Any] = []
        broadcasts = Consumer(one.channel, [control], on_message=heard.append)
        broadcasts.consume()
        one.start()
        assert observer.client.publish("/0.celery.pidbox", bad) == 1
        assert observer.client.publish("/0.celery.pidbox", raw("good")) == 1
        observer.push(raw(1))
        one.until(1)
        assert one.bodies == [1]
        assert [message.payload for message in heard][-1:] == ["good"]
    finally:
        one.close()


# -- the end -----------------------------------------------------------------------


def test_closing_gives_back_in_order(rig: RigOf, observer: Observer) -> None:
    """Taken and not started: back where they were, before what waits."""
    one = rig(interval=1800.0, prefetch=3)
    before = [raw(number).encode() for number in range(5)]
    observer.push(*before)
    one.until(3)
    assert one.bodies == [0, 1, 2]
    one.channel.close()
    assert observer.client.lrange(QUEUE, 0, -1) == before[::-1]
    assert observer.client.exists(inflight(one)) == 0


def test_closing_sends_what_is_finished_first(rig: RigOf, observer: Observer) -> None:
    """Acknowledged and not yet sent: done, not given back."""
    one = rig(interval=1800.0)
    observer.push(raw(1), raw(2))
    one.until(2)
    one.got[0].ack()
    one.channel.close()
    assert observer.client.lrange(QUEUE, 0, -1) == [raw(2).encode()]
    assert observer.client.exists(inflight(one)) == 0


def test_reject_and_requeue(rig: RigOf, observer: Observer) -> None:
    """Rejected is gone; requeued goes behind all that wait and comes again."""
    one = rig(interval=1800.0, prefetch=1)
    observer.push(raw(1), raw(2), raw(3))
    one.until(1)
    one.got[0].requeue()
    one.until(2)
    one.got[1].reject()
    one.until(3)
    one.got[2].ack()
    one.until(4)
    assert one.bodies == [1, 2, 3, 1]


def test_basic_get(rig: RigOf, observer: Observer) -> None:
    """One message or None, the urgent step first, one command for each step."""
    one = rig(("other",), interval=1800.0)
    observer.push(raw("later"), queue=step_key(3))
    observer.push(raw("first"))
    observer.reset()
    message = one.channel.basic_get(QUEUE)
    assert message is not None
    assert message.payload == "first"
    assert observer.seen() == {"lmove": 1, **LEASE}
    message.ack()
    one.settle()
    later = one.channel.basic_get(QUEUE, no_ack=True)
    assert later is not None
    assert later.payload == "later"
    assert one.channel.basic_get(QUEUE) is None
    seen = observer.seen()
    assert seen.pop("lmove") in (5, 6)
    # Each step has an in-flight list of its own, and so a lease.
    assert seen == {"lrem": 1, "rpop": 2, "time": 1, "zadd": 4}
    assert left(observer.client) == []


def test_without_a_loop_messages_come_too(redis_url: str, observer: Observer) -> None:
    """kombu's `drain_events`, as scripts use it: delivered and finished."""
    one = Rig(redis_url)
    try:
        one.acknowledge = True
        observer.push(raw(1))
        one.connection.drain_events(timeout=5)
        observer.push(raw(2))
        one.connection.drain_events(timeout=5)
        assert one.bodies == [1, 2]
        with pytest.raises(TimeoutError):
            one.connection.drain_events(timeout=0.01)
        assert left(observer.client) == []
    finally:
        one.close()
