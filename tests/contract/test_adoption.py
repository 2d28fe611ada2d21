"""Adoption: what dead stock workers held comes back, as kombu 5.7 left it behind."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import kombu
import pytest
import redis
from celery import Celery

import smartworker
from smartworker.broker import adoption
from smartworker.broker.adoption import Adopter
from smartworker.broker.envelope import ATTEMPTS
from smartworker.settings import Settings
from smartworker.store.client import connect, connection_options
from smartworker.store.dead import DeadLetter, DeadLetters, Facts
from smartworker.store.meter import ledger
from smartworker.testing import commandstats

pytestmark = pytest.mark.every_server

QUEUE = "celery"
INDEX, HELD = "unacked_index", "unacked"
#: kombu's default, in seconds.
TIMEOUT = 3600
#: What the observer itself sends.
OBSERVING = {"info", "config|resetstat"}


class Stock:
    """A worker that has never heard of smartworker, and its server."""

    def __init__(self, url: str, observer: Any) -> None:
        self.observer = observer
        # By its class: the alias is ours since `smartworker.setup`.
        stock = "kombu.transport.redis:Transport"
        self.connection = kombu.Connection(url, transport=stock)
        self.channel = self.connection.channel()
        # A stock worker that is killed gives nothing back.
        self.channel.do_restore = False

    def publish(self, body: Any, queue: kombu.Queue | str = QUEUE, **how: Any) -> None:
        """Send a task to a queue; `exchange` for the queue's own."""
        if isinstance(queue, str):
            queue = kombu.Queue(queue, routing_key=queue)
        bound = queue(self.channel)
        bound.declare()
        headers = {"task": "project.add", "id": f"id-{body}"}
        producer = kombu.Producer(self.channel, serializer="json")
        producer.publish(
            body,
            exchange=queue.exchange.name,
            routing_key=queue.routing_key,
            headers=headers,
            **how,
        )

    def take(self, count: int = 1, queue: str = QUEUE) -> list[Any]:
        """Take messages and do not acknowledge them."""
        return [self.channel.basic_get(queue) for _ in range(count)]

    def age(self, seconds: float, *messages: Any) -> None:
        """They were taken so many seconds ago, the first one first."""
        now, _ = self.observer.time()
        for place, message in enumerate(messages):
            taken = now - seconds + place / 1000
            self.observer.zadd(INDEX, {message.delivery_tag: taken})

    def holds(self, tag: str, entry: bytes, seconds: float = 2 * TIMEOUT) -> None:
        """A record of a message, whatever it says."""
        now, _ = self.observer.time()
        self.observer.hset(HELD, tag, entry)
        self.observer.zadd(INDEX, {tag: now - seconds})

    def restore(self) -> None:
        """What every stock worker does now and then."""
        self.channel.qos.restore_visible(num=100, interval=1)


@pytest.fixture
def observer(redis_url: str) -> Iterator[Any]:
    """A client that is not counted; takes the memory limit away at the end."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, **options) as client:
        yield client
        client.config_set("maxmemory", 0)


@pytest.fixture
def stock(redis_url: str, observer: Any) -> Iterator[Stock]:
    """A stock worker."""
    made = Stock(redis_url, observer)
    yield made
    made.connection.release()


@pytest.fixture
def channel_of(redis_url: str) -> Iterator[Callable[..., Any]]:
    """Makes channels of our own transport, with options."""
    made: list[kombu.Connection] = []

    def make(**options: Any) -> Any:
        app = Celery("ours", set_as_current=False)
        smartworker.setup(app, Settings(redis_url=redis_url))
        app.conf.broker_transport_options = {
            **app.conf.broker_transport_options,
            **options,
        }
        made.append(app.connection_for_read())
        return made[-1].default_channel

    yield make
    for connection in made:
        connection.release()


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """Our own worker's client, connected."""
    made = connect(redis_url)
    made.ping()
    yield made
    made.connection_pool.disconnect()


class Told(list[Facts]):
    """Whom we tell of deaths."""


@pytest.fixture
def told() -> Told:
    """Everything that was told."""
    return Told()


@pytest.fixture
def adopter(channel_of: Callable[..., Any], client: Any, told: Told) -> Adopter:
    """Ours, on the test's server."""
    return Adopter(channel_of(), client, 5, told.append)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[Any]]:
    """The logged lines of an event, as dictionaries."""
    caplog.set_level(logging.INFO)

    def named(event: str) -> list[Any]:
        found = [r.msg for r in caplog.records if isinstance(r.msg, dict)]
        return [line for line in found if line["event"] == event]

    return named


def now_ms(observer: Any) -> int:
    """The server's clock."""
    seconds, micros = observer.time()
    return int(1000 * seconds + micros // 1000)


def waiting(observer: Any, key: str = QUEUE) -> list[str]:
    """The ids of what waits, in the order in which it will be taken."""
    raws = observer.lrange(key, 0, -1)[::-1]
    return [json.loads(raw)["headers"]["id"] for raw in raws]


def the_letter(observer: Any) -> DeadLetter:
    """The only dead letter."""
    (letter,) = DeadLetters(observer).all()
    return letter


# -- who comes back --------------------------------------------------------------------


def test_the_old_come_back_and_the_young_are_left(
    adopter: Adopter, stock: Stock, observer: Any, lines: Any
) -> None:
    """Older than the visibility timeout: given up by kombu's own rule."""
    for number in range(3):
        stock.publish(number)
    old, young, _ = stock.take(3)
    stock.age(TIMEOUT + 5, old)
    stock.age(TIMEOUT - 60, young)
    assert adopter.adopt(now_ms(observer)) == 1
    assert waiting(observer) == ["id-0"]
    assert observer.zcard(INDEX) == observer.hlen(HELD) == 2
    assert [line["count"] for line in lines("stock_messages_adopted")] == [1]


def test_they_come_back_in_order(adopter: Adopter, stock: Stock, observer: Any) -> None:
    """Before what waits, the first one taken first; one attempt is counted."""
    for number in range(5):
        stock.publish(number)
    stock.age(2 * TIMEOUT, *stock.take(3))
    assert adopter.adopt(now_ms(observer)) == 3
    assert waiting(observer) == [f"id-{number}" for number in range(5)]
    found = [json.loads(raw)["headers"] for raw in observer.lrange(QUEUE, 0, -1)[::-1]]
    assert [headers.get(ATTEMPTS) for headers in found] == [1, 1, 1, None, None]
    assert found[0]["redelivered"] is True
    assert observer.exists(INDEX, HELD) == 0


def test_what_it_costs(adopter: Adopter, stock: Stock, observer: Any) -> None:
    """1 command, and 9 for each message; the ledger says what the server says."""
    for number in range(3):
        stock.publish(number)
    stock.age(2 * TIMEOUT, *stock.take(3))
    now = now_ms(observer)
    observer.config_resetstat()
    ledger.drain()
    adopter.adopt(now)
    seen = commandstats(observer).items()
    counts = {name: n for name, n in seen if name not in OBSERVING}
    assert ledger.by_cause() == {"rescue": counts}
    moved = ("watch", "zscore", "multi", "rpush", "zrem", "hdel", "exec")
    assert counts == {"zrangebyscore": 1, **dict.fromkeys(("hget", "type", *moved), 3)}


def test_nothing_to_adopt_is_one_command(adopter: Adopter, lines: Any) -> None:
    """Nothing is held at all: asked once, and nothing is said."""
    ledger.drain()
    assert adopter.adopt(1_000_000_000_000) == 0
    assert ledger.by_command() == {"zrangebyscore": 1}
    assert lines("stock_messages_adopted") == []


def test_a_stock_worker_can_read_what_comes_back(
    adopter: Adopter, stock: Stock, observer: Any
) -> None:
    """It is a message like any other, with the same body."""
    stock.publish({"a": [1, "ż"]})
    stock.age(2 * TIMEOUT, *stock.take())
    adopter.adopt(now_ms(observer))
    (message,) = stock.take()
    assert message.payload == {"a": [1, "ż"]}
    message.ack()
    assert observer.keys() == []


def test_not_more_than_a_thousand_at_once(
    adopter: Adopter, stock: Stock, observer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start takes a bounded time; the oldest come first."""
    monkeypatch.setattr(adoption, "MOST", 2)
    for number in range(3):
        stock.publish(number)
    stock.age(2 * TIMEOUT, *stock.take(3))
    assert adopter.adopt(now_ms(observer)) == 2
    assert waiting(observer) == ["id-0", "id-1"]
    assert adopter.adopt(now_ms(observer)) == 1


def test_another_timeout_holds(
    channel_of: Callable[..., Any], client: Any, stock: Stock, observer: Any
) -> None:
    """Where the stock workers' is longer, ours must be told so."""
    patient = Adopter(channel_of(visibility_timeout=4 * TIMEOUT), client, 5)
    stock.publish(1)
    (message,) = stock.take()
    stock.age(2 * TIMEOUT, message)
    assert patient.adopt(now_ms(observer)) == 0
    stock.age(5 * TIMEOUT, message)
    assert patient.adopt(now_ms(observer)) == 1


def test_too_many_deliveries_end(
    channel_of: Callable[..., Any],
    client: Any,
    told: Told,
    stock: Stock,
    observer: Any,
) -> None:
    """A message that kills stock workers too is a dead letter in the end."""
    adopter = Adopter(channel_of(), client, 3, told.append)
    stock.publish(1)
    for _ in range(3):
        stock.age(2 * TIMEOUT, *stock.take())
        assert adopter.adopt(now_ms(observer)) == 1
    assert observer.keys() == [b"smartworker:dead"]
    facts = the_letter(observer).facts
    assert (facts.queue, facts.reason, facts.attempts) == (QUEUE, "max_deliveries", 3)
    assert (facts.task, facts.task_id) == ("project.add", "id-1")
    assert told == [facts]


# -- where it goes ---------------------------------------------------------------------


@pytest.mark.parametrize(("priority", "step"), [(0, 0), (3, 3), (5, 3), (9, 9)])
def test_it_goes_back_to_its_priority_step(
    adopter: Adopter, stock: Stock, observer: Any, priority: int, step: int
) -> None:
    """As urgent as it was sent."""
    stock.publish(1, priority=priority)
    stock.age(2 * TIMEOUT, *stock.take())
    adopter.adopt(now_ms(observer))
    key = QUEUE if step == 0 else f"{QUEUE}\x06\x16{step}"
    assert waiting(observer, key) == ["id-1"]


def test_celery_s_own_exchange_needs_no_binding(
    adopter: Adopter, stock: Stock, observer: Any
) -> None:
    """A direct exchange of the queue's own name, whose binding we never write."""
    mail = kombu.Queue("mail", kombu.Exchange("mail"), routing_key="mail")
    stock.publish(1, mail)
    stock.age(2 * TIMEOUT, *stock.take(queue="mail"))
    observer.delete("_kombu.binding.mail")
    adopter.adopt(now_ms(observer))
    assert waiting(observer, "mail") == ["id-1"]


def test_a_bound_exchange_is_followed(
    adopter: Adopter, stock: Stock, observer: Any
) -> None:
    """Through kombu's table on the server."""
    stock.publish(1, kombu.Queue("mail", kombu.Exchange("news"), routing_key="sport"))
    stock.age(2 * TIMEOUT, *stock.take(queue="mail"))
    adopter.adopt(now_ms(observer))
    assert waiting(observer, "mail") == ["id-1"]


def test_without_a_binding_it_is_unroutable(
    adopter: Adopter, stock: Stock, observer: Any, told: Told
) -> None:
    """kombu would throw it away: here it is a dead letter that says where to."""
    stock.publish(1, kombu.Queue("mail", kombu.Exchange("news"), routing_key="sport"))
    stock.age(2 * TIMEOUT, *stock.take(queue="mail"))
    observer.delete("_kombu.binding.news", "_kombu.binding_permanent.news")
    assert adopter.adopt(now_ms(observer)) == 1
    assert observer.keys() == [b"smartworker:dead"]
    letter = the_letter(observer)
    assert letter.facts == Facts(
        "",
        "unroutable",
        "no queue is bound to 'news' for 'sport'",
        task="project.add",
        task_id="id-1",
    )
    assert json.loads(letter.raw)["headers"]["id"] == "id-1"
    assert told == [letter.facts]


def test_a_queue_of_another_type_loses_nothing(
    adopter: Adopter, stock: Stock, observer: Any
) -> None:
    """A push that must fail would not stop the rest of a transaction."""
    stock.publish(1)
    stock.age(2 * TIMEOUT, *stock.take())
    observer.set(QUEUE, "a string")
    assert adopter.adopt(now_ms(observer)) == 1
    letter = the_letter(observer)
    assert json.loads(letter.raw)["headers"]["id"] == "id-1"
    assert (letter.facts.queue, letter.facts.reason) == (QUEUE, "unroutable")
    assert letter.facts.detail == "'celery' is no queue"


def test_the_prefix_stands_before_all_names(
    channel_of: Callable[..., Any], client: Any, observer: Any
) -> None:
    """kombu's `global_keyprefix`: the record and the queue carry it, ours too."""
    adopter = Adopter(channel_of(global_keyprefix="app:"), client, 5)
    message = {"body": "", "headers": {"id": "id-1"}, "properties": {}}
    observer.hset("app:unacked", "a", json.dumps([message, "", QUEUE]))
    observer.hset("app:unacked", "b", b"garbage")
    observer.zadd("app:unacked_index", {"a": 1, "b": 1})
    assert adopter.adopt(now_ms(observer)) == 2
    assert sorted(observer.keys()) == [b"app:celery", b"app:smartworker:dead"]
    assert waiting(observer, "app:celery") == ["id-1"]


# -- what cannot be read ---------------------------------------------------------------

GARBAGE = {
    "nothing": b"",
    "no JSON": b"not json",
    "no UTF-8": b"\xff\xfe",
    "a number": b"5",
    "null": b"null",
    "an object": b"{}",
    "too few": b'[{}, ""]',
    "too many": b'[{}, "", "celery", 1]',
    "nested": b"[" * 100_000,
    "an exchange that is a list": b'[{"properties": {}}, ["a"], "celery"]',
    "no message": b'["text", "", "celery"]',
    "an empty message": b'[{}, "", "celery"]',
    "properties that are a list": b'[{"properties": []}, "", "celery"]',
    "headers that are text": b'[{"properties": {}, "headers": "a"}, "", "celery"]',
    "no queue": b'[{"properties": {}}, "", null]',
}


@pytest.mark.parametrize("entry", GARBAGE.values(), ids=GARBAGE)
def test_garbage_stops_nobody(
    adopter: Adopter, stock: Stock, observer: Any, entry: bytes
) -> None:
    """It becomes a dead letter once, and the message behind it comes back."""
    stock.publish(1)
    stock.age(2 * TIMEOUT, *stock.take())
    stock.holds("garbage", entry, 3 * TIMEOUT)
    assert adopter.adopt(now_ms(observer)) == 2
    assert waiting(observer) == ["id-1"]
    assert the_letter(observer).facts.reason in ("unreadable", "unroutable")
    assert observer.exists(INDEX, HELD) == 0
    assert adopter.adopt(now_ms(observer)) == 0


def test_the_bytes_of_garbage_are_kept(
    adopter: Adopter, stock: Stock, observer: Any, told: Told
) -> None:
    """Exactly, with what was wrong with them."""
    stock.holds("garbage", b"not json\x00\xff")
    adopter.adopt(now_ms(observer))
    letter = the_letter(observer)
    assert letter.raw == b"not json\x00\xff"
    assert letter.facts.reason == "unreadable"
    assert "Error" in letter.facts.detail
    assert told == [letter.facts]


def test_a_tag_without_a_message_is_forgotten(
    adopter: Adopter, observer: Any, lines: Any
) -> None:
    """An acknowledgement was cut in two: there is nothing to bring back."""
    observer.zadd(INDEX, {"a-tag": 1})
    assert adopter.adopt(now_ms(observer)) == 0
    assert observer.keys() == []
    assert lines("stock_messages_adopted") == []


# -- others at the same time -----------------------------------------------------------


def test_a_stock_worker_restores_it_first(
    adopter: Adopter, stock: Stock, observer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our look and our move: it comes back once, by the other one."""
    stock.publish(1)
    stock.age(2 * TIMEOUT, *stock.take())
    read = adopter.client.hget

    def read_slowly(*arguments: Any) -> Any:
        entry = read(*arguments)
        stock.restore()
        return entry

    monkeypatch.setattr(adopter.client, "hget", read_slowly)
    assert adopter.adopt(now_ms(observer)) == 0
    assert waiting(observer) == ["id-1"]
    assert observer.keys() == [QUEUE.encode()]


def test_it_was_taken_again_meanwhile(
    adopter: Adopter, stock: Stock, observer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restored and taken by a living stock worker, under the same tag: left alone."""
    stock.publish(1)
    stock.age(2 * TIMEOUT, *stock.take())
    read = adopter.client.hget

    def read_slowly(*arguments: Any) -> Any:
        entry = read(*arguments)
        stock.restore()
        stock.take()
        return entry

    monkeypatch.setattr(adopter.client, "hget", read_slowly)
    assert adopter.adopt(now_ms(observer)) == 0
    assert observer.llen(QUEUE) == 0
    assert observer.zcard(INDEX) == observer.hlen(HELD) == 1


def test_we_restore_it_first(adopter: Adopter, stock: Stock, observer: Any) -> None:
    """A stock worker that looks later finds nothing."""
    stock.publish(1)
    stock.age(2 * TIMEOUT, *stock.take())
    assert adopter.adopt(now_ms(observer)) == 1
    stock.restore()
    assert waiting(observer) == ["id-1"]


def test_all_at_the_same_time(
    channel_of: Callable[..., Any], redis_url: str, stock: Stock, observer: Any
) -> None:
    """Two of ours and a stock worker: each message comes back once."""
    for number in range(60):
        stock.publish(number)
    stock.age(2 * TIMEOUT, *stock.take(60))
    now, start = now_ms(observer), threading.Barrier(3)
    clients = [connect(redis_url), connect(redis_url)]
    adopters = [Adopter(channel_of(), client, 5) for client in clients]
    counts: list[int] = []

    def adopt(adopter: Adopter) -> None:
        start.wait(5)
        counts.append(adopter.adopt(now))

    def restore() -> None:
        start.wait(5)
        stock.restore()

    threads = [threading.Thread(target=adopt, args=(each,)) for each in adopters]
    threads.append(threading.Thread(target=restore))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for client in clients:
        client.connection_pool.disconnect()
    assert len(counts) == 2
    assert sorted(waiting(observer)) == sorted(f"id-{number}" for number in range(60))
    assert observer.exists(INDEX, HELD) == 0


def test_a_full_server_moves_nothing(
    adopter: Adopter, stock: Stock, observer: Any
) -> None:
    """Refused as a whole; it comes back when there is room."""
    stock.publish(1)
    stock.age(2 * TIMEOUT, *stock.take())
    observer.config_set("maxmemory-policy", "noeviction")
    observer.config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        adopter.adopt(now_ms(observer))
    observer.config_set("maxmemory", 0)
    assert observer.zcard(INDEX) == observer.hlen(HELD) == 1
    assert adopter.adopt(now_ms(observer)) == 1
    assert waiting(observer) == ["id-1"]
