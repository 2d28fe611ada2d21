"""Publishing once on real servers: one message, however often its sender asks."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from smartworker.store.client import connect, connection_options
from smartworker.store.meter import ledger
from smartworker.store.once import REMEMBERED, publish_once
from smartworker.testing import commandstats

pytestmark = pytest.mark.every_server

QUEUE = "celery"
RECORD = "smartworker:once:a-key"
#: What the observer itself sends.
OBSERVING = {"info", "config|resetstat"}

Cost = Callable[[], dict[str, int]]


@pytest.fixture
def observer(redis_url: str) -> Iterator[Any]:
    """A client that is not counted; takes the memory limit away at the end."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, **options) as client:
        yield client
        client.config_set("maxmemory", 0)


@pytest.fixture
def client(redis_url: str, observer: Any) -> Iterator[Any]:
    """The sender's client, connected and not counted so far."""
    made = connect(redis_url)
    made.ping()
    observer.config_resetstat()
    ledger.drain()
    yield made
    made.connection_pool.disconnect()


@pytest.fixture
def cost(observer: Any) -> Cost:
    """What the server saw since the last question, which is what the ledger says."""

    def counted() -> dict[str, int]:
        seen = commandstats(observer).items()
        found = {name: count for name, count in seen if name not in OBSERVING}
        assert ledger.by_cause() == ({"publish": found} if found else {})
        observer.config_resetstat()
        ledger.drain()
        return found

    return counted


def test_twice_is_one_message(client: Any, observer: Any, cost: Cost) -> None:
    """The second one is told, costs a command less, and is no message."""
    assert publish_once(client, "a-key", QUEUE, "first") is True
    assert cost() == {"eval": 1, "set": 1, "lpush": 1}
    assert publish_once(client, "a-key", QUEUE, "second") is False
    assert cost() == {"eval": 1, "set": 1}
    assert observer.lrange(QUEUE, 0, -1) == [b"first"]


def test_it_is_remembered_for_a_day(client: Any, observer: Any) -> None:
    """The record goes by itself; a repetition does not prolong it."""
    publish_once(client, "a-key", QUEUE, "1")
    seconds = REMEMBERED.total_seconds()
    assert seconds - 10 <= observer.ttl(RECORD) <= seconds
    observer.expire(RECORD, 100)
    publish_once(client, "a-key", QUEUE, "2")
    assert observer.ttl(RECORD) <= 100


def test_after_a_day_it_is_another_message(client: Any, observer: Any) -> None:
    """The record has gone."""
    publish_once(client, "a-key", QUEUE, "1")
    observer.delete(RECORD)
    assert publish_once(client, "a-key", QUEUE, "2") is True
    assert observer.lrange(QUEUE, 0, -1) == [b"2", b"1"]


def test_the_message_may_be_taken_meanwhile(client: Any, observer: Any) -> None:
    """Done is done: a late repetition does not run it again."""
    publish_once(client, "a-key", QUEUE, "1")
    observer.delete(QUEUE)
    assert publish_once(client, "a-key", QUEUE, "1") is False
    assert observer.exists(QUEUE) == 0


def test_keys_do_not_touch_each_other(client: Any, observer: Any) -> None:
    """Nor do applications with prefixes of their own; one key is one for all queues."""
    assert publish_once(client, "a-key", QUEUE, "1")
    assert publish_once(client, "another", QUEUE, "2")
    assert publish_once(client, "a-key", "app:" + QUEUE, "3", "app:")
    assert not publish_once(client, "a-key", "mail", "4")
    assert observer.lrange(QUEUE, 0, -1) == [b"2", b"1"]
    assert observer.exists(RECORD, "app:" + RECORD, "mail") == 2


@pytest.mark.parametrize("key", ["", "\x00", "a b\r\nc", "żółć", "k" * 10_000])
def test_a_key_may_be_any_text(client: Any, key: str) -> None:
    """It is data, and no part of a command."""
    assert publish_once(client, key, QUEUE, "1") is True
    assert publish_once(client, key, QUEUE, "1") is False


@pytest.mark.parametrize("message", [b"\x00\r\n", b"\xff", b"", b"x" * 1_000_000])
def test_bytes_survive_as_they_are(client: Any, observer: Any, message: bytes) -> None:
    """Whatever they are, and however many."""
    publish_once(client, "a-key", QUEUE, message)
    assert observer.lrange(QUEUE, 0, -1) == [message]


def test_many_at_the_same_time_are_one(redis_url: str, observer: Any) -> None:
    """Eight senders with one key, fifty times: fifty messages."""
    start = threading.Barrier(8)
    answers: list[bool] = []

    def send() -> None:
        mine = connect(redis_url)
        mine.ping()
        for number in range(50):
            start.wait(5)
            answers.append(publish_once(mine, f"key-{number}", QUEUE, f"{number}"))
        mine.connection_pool.disconnect()

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (len(answers), sum(answers)) == (400, 50)
    sent = [int(raw) for raw in observer.lrange(QUEUE, 0, -1)]
    assert sent == list(range(50))[::-1]


def test_a_full_server_remembers_nothing(client: Any, observer: Any) -> None:
    """Refused: the sender hears of it, and may ask again when there is room."""
    observer.config_set("maxmemory-policy", "noeviction")
    observer.config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.ResponseError, match="when used memory"):
        publish_once(client, "a-key", QUEUE, "1")
    observer.config_set("maxmemory", 0)
    assert observer.keys() == []
    assert publish_once(client, "a-key", QUEUE, "1") is True


def test_a_queue_of_another_type_is_not_remembered(client: Any, observer: Any) -> None:
    """The push was refused after the record was written: it is taken back."""
    observer.set(QUEUE, "a string")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        publish_once(client, "a-key", QUEUE, "1")
    assert observer.keys() == [QUEUE.encode()]
    observer.delete(QUEUE)
    assert publish_once(client, "a-key", QUEUE, "1") is True
