"""Moving messages on real servers: what it costs and what is never lost."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from smartworker.store.client import connect, connection_options
from smartworker.store.meter import Ledger, ledger
from smartworker.store.queues import Delivery, Queues, Take
from smartworker.testing import commandstats

pytestmark = pytest.mark.every_server

KEY, OTHER = "celery", "mail"
INFLIGHT = "smartworker:inflight:w1:celery"
#: What the observer itself sends.
OBSERVING = {"info", "config|resetstat", "config|set", "flushall"}


class Observer:
    """A second client that counts what the server saw of the first."""

    def __init__(self, url: str) -> None:
        options: dict[str, Any] = connection_options()
        self.client = redis.Redis.from_url(url, **options)

    def reset(self) -> None:
        """Count from nothing, on both sides."""
        self.client.config_resetstat()
        ledger.drain()

    def seen(self) -> dict[str, int]:
        """{command: calls} as the server says."""
        counts = commandstats(self.client)
        return {name: n for name, n in counts.items() if name not in OBSERVING}


@pytest.fixture
def observer(redis_url: str) -> Iterator[Observer]:
    """Sees everything; closed at the end."""
    made = Observer(redis_url)
    yield made
    made.client.close()


@pytest.fixture
def queues(redis_url: str, observer: Observer) -> Iterator[Queues]:
    """The queues of worker w1, connected and not counted so far."""
    with connect(redis_url) as client:
        client.ping()
        observer.reset()
        yield Queues(client, "w1")


def takes(count: int, key: str = KEY) -> list[Take]:
    """So many wishes for one queue."""
    return [Take(key)] * count


def taken(queues: Queues, count: int, key: str = KEY) -> list[Delivery]:
    """So many messages, taken."""
    found = queues.exchange([], takes(count, key)).taken
    return [delivery for delivery in found if delivery is not None]


def cost(observer: Observer) -> dict[str, int]:
    """What the server saw, which is what the ledger says."""
    seen = observer.seen()
    assert ledger.by_command() == seen
    return seen


def test_looking_is_one_command(queues: Queues, observer: Observer) -> None:
    """28 keys, one EXISTS; it tells how many are not empty and takes nothing."""
    observer.client.lpush(KEY, "1", "2")
    observer.client.lpush(OTHER, "3")
    observer.reset()
    keys = [KEY, OTHER, *(f"queue{n}" for n in range(26))]
    assert queues.waiting(keys) == 2
    assert cost(observer) == {"exists": 1}
    assert ledger.by_cause() == {"poll": {"exists": 1}}
    assert observer.client.llen(KEY) == 2


def test_an_exchange_is_one_command_each(queues: Queues, observer: Observer) -> None:
    """Two done, three wished: two LREM, three LMOVE, nothing else."""
    observer.client.lpush(KEY, "1", "2", "3", "4", "5")
    first = taken(queues, 2)
    observer.reset()
    exchange = queues.exchange(first, takes(3))
    assert exchange.removed == [True, True]
    assert [d.raw for d in exchange.taken if d] == [b"3", b"4", b"5"]
    assert exchange.error is None
    assert cost(observer) == {"lrem": 2, "lmove": 3}
    assert ledger.by_cause() == {"done": {"lrem": 2}, "take": {"lmove": 3}}
    assert observer.client.lrange(INFLIGHT, 0, -1) == [b"5", b"4", b"3"]


def test_a_message_is_in_flight_until_it_is_done(
    queues: Queues, observer: Observer
) -> None:
    """Taken from the queue's end into our list; out of it when finished."""
    observer.client.lpush(KEY, "first", "second")
    (delivery,) = taken(queues, 1)
    assert delivery == Delivery(KEY, b"first")
    assert observer.client.lrange(INFLIGHT, 0, -1) == [b"first"]
    assert observer.client.lrange(KEY, 0, -1) == [b"second"]
    queues.exchange([delivery], [])
    assert observer.client.exists(INFLIGHT) == 0


def test_wishes_beyond_the_end_are_none(queues: Queues, observer: Observer) -> None:
    """An empty queue answers None, and in the order of the wishes."""
    observer.client.lpush(OTHER, "1")
    exchange = queues.exchange([], [Take(KEY), Take(OTHER), Take(OTHER)])
    assert exchange.taken == [None, Delivery(OTHER, b"1"), None]


def test_without_acknowledgement_nothing_stays(
    queues: Queues, observer: Observer
) -> None:
    """`keep=False` pops: one command, no in-flight list."""
    observer.client.lpush(KEY, "1")
    observer.reset()
    exchange = queues.exchange([], [Take(KEY, keep=False)])
    assert exchange.taken == [Delivery(KEY, b"1")]
    assert cost(observer) == {"rpop": 1}
    assert observer.client.dbsize() == 0


def test_finishing_twice_is_told(queues: Queues, observer: Observer) -> None:
    """The second LREM finds nothing: False."""
    observer.client.lpush(KEY, "1")
    (delivery,) = taken(queues, 1)
    assert queues.exchange([delivery, delivery], []).removed == [True, False]


def test_twins_are_finished_one_at_a_time(queues: Queues, observer: Observer) -> None:
    """Two messages of the same bytes: one done leaves the other in flight."""
    observer.client.lpush(KEY, "same", "same")
    one, _ = taken(queues, 2)
    queues.exchange([one], [])
    assert observer.client.lrange(INFLIGHT, 0, -1) == [b"same"]


def test_an_exchange_of_nothing_costs_nothing(
    queues: Queues, observer: Observer
) -> None:
    """Neither done nor wished: no command."""
    exchange = queues.exchange([], [])
    assert (exchange.removed, exchange.taken, exchange.error) == ([], [], None)
    assert cost(observer) == {}


def test_giving_back_keeps_the_order(queues: Queues, observer: Observer) -> None:
    """Taken first, taken first again, before those that still wait."""
    observer.client.lpush(KEY, *map(str, range(6)))
    found = taken(queues, 4)
    observer.reset()
    assert queues.give_back(found) == 4
    assert cost(observer) == {"eval": 1, "rpush": 4, "lrem": 4}
    assert ledger.by_cause() == {"give_back": {"eval": 1, "lrem": 4, "rpush": 4}}
    assert observer.client.exists(INFLIGHT) == 0
    assert [d.raw for d in taken(queues, 6)] == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_giving_back_to_several_queues(queues: Queues, observer: Observer) -> None:
    """One call for each queue, each message to its own."""
    observer.client.lpush(KEY, "1", "2")
    observer.client.lpush(OTHER, "3")
    found = [*taken(queues, 2), *taken(queues, 1, OTHER)]
    observer.reset()
    queues.give_back(found)
    assert cost(observer) == {"eval": 2, "rpush": 3, "lrem": 3}
    assert observer.client.lrange(KEY, 0, -1) == [b"2", b"1"]
    assert observer.client.lrange(OTHER, 0, -1) == [b"3"]


def test_unheld_finds_what_nobody_holds(queues: Queues, observer: Observer) -> None:
    """The oldest first, twins counted, one command for each key."""
    observer.client.lpush(KEY, "a", "same", "b", "same", "c")
    found = taken(queues, 5)
    observer.reset()
    held = [found[0], found[1]]
    assert [d.raw for d in queues.unheld([KEY, OTHER], held)] == [b"b", b"same", b"c"]
    assert cost(observer) == {"lrange": 2}
    assert ledger.by_cause() == {"read_back": {"lrange": 2}}
    assert queues.unheld([KEY], found) == []


def test_the_prefix_stands_before_our_names_too(
    queues: Queues, observer: Observer
) -> None:
    """With a global prefix the in-flight lists carry it as well."""
    prefixed = Queues(queues.client, "w1", "app:")
    observer.client.lpush("app:celery", "1")
    (delivery,) = taken(prefixed, 1, "app:celery")
    assert observer.client.keys() == [b"app:smartworker:inflight:w1:app:celery"]
    prefixed.exchange([delivery], [])
    assert observer.client.dbsize() == 0


@pytest.mark.parametrize(
    "raw",
    [b"\x00", b"a\x00b\r\n$3\r\n", b"\xff\xfe\xfd", b"", b"x" * 1_000_000],
    ids=["nul", "protocol", "no-utf8", "empty", "megabyte"],
)
def test_bytes_survive_as_they_are(
    queues: Queues, observer: Observer, raw: bytes
) -> None:
    """Taken, given back, taken, finished: always the same bytes."""
    observer.client.lpush(KEY, raw)
    (delivery,) = taken(queues, 1)
    assert delivery.raw == raw
    assert queues.unheld([KEY], []) == [delivery]
    queues.give_back([delivery])
    assert taken(queues, 1) == [delivery]
    assert queues.exchange([delivery], []).removed == [True]
    assert observer.client.dbsize() == 0


def test_a_full_server_loses_nothing(queues: Queues, observer: Observer) -> None:
    """Out of memory: LMOVE is refused, LREM in the same round trip passes."""
    observer.client.lpush(KEY, "1", "2", "3")
    done = taken(queues, 1)
    observer.client.config_set("maxmemory-policy", "noeviction")
    observer.client.config_set("maxmemory", 1)
    try:
        exchange = queues.exchange(done, takes(2))
    finally:
        observer.client.config_set("maxmemory", 0)
    assert exchange.removed == [True]
    assert exchange.taken == [None, None]
    assert str(exchange.error).startswith(("OOM", "command not allowed"))
    assert observer.client.lrange(KEY, 0, -1) == [b"3", b"2"]
    assert observer.client.exists(INFLIGHT) == 0
    assert [d.raw for d in taken(queues, 2)] == [b"2", b"3"]


def test_a_full_server_keeps_what_cannot_go_back(
    queues: Queues, observer: Observer
) -> None:
    """Out of memory while giving back: the messages are still somewhere."""
    observer.client.lpush(KEY, "1", "2")
    found = taken(queues, 2)
    observer.client.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.ResponseError, match=r"(?i)oom|not allowed"):
            queues.give_back(found)
    finally:
        observer.client.config_set("maxmemory", 0)
    left = observer.client.lrange(KEY, 0, -1) + observer.client.lrange(INFLIGHT, 0, -1)
    assert sorted(left) == [b"1", b"2"]


def test_a_key_of_another_type_is_an_error_of_its_own(
    queues: Queues, observer: Observer
) -> None:
    """One broken queue does not keep the others' messages from coming."""
    observer.client.set(OTHER, "a string")
    observer.client.lpush(KEY, "1")
    exchange = queues.exchange([], [Take(OTHER), Take(KEY)])
    assert exchange.taken == [None, Delivery(KEY, b"1")]
    assert "WRONGTYPE" in str(exchange.error)


def test_a_refused_lrem_must_be_repeated(queues: Queues, observer: Observer) -> None:
    """None, not False: nobody knows whether it was in flight."""
    observer.client.set(INFLIGHT, "a string")
    exchange = queues.exchange([Delivery(KEY, b"1")], [])
    assert exchange.removed == [None]
    assert "WRONGTYPE" in str(exchange.error)


def test_the_ledger_says_what_the_server_says(
    queues: Queues, observer: Observer, older_server: bool
) -> None:
    """After all kinds of operations: the same numbers, command by command."""
    assert isinstance(ledger, Ledger)
    queues.client.lpush(KEY, *map(str, range(50)))
    found = taken(queues, 20)
    queues.exchange(found[:10], takes(5))
    queues.give_back(found[10:])
    queues.waiting([KEY])
    queues.unheld([KEY], [])
    named = {}
    if not older_server:  # which counts the commands of CONFIG and CLIENT together
        queues.client.config_get("maxmemory")
        queues.client.client_id()
        named = {"config|get": 1, "client|id": 1}
    assert cost(observer) == {
        "lpush": 1,
        "lmove": 25,
        "lrem": 20,
        "eval": 1,
        "rpush": 10,
        "exists": 1,
        "lrange": 1,
        **named,
    }
    assert ledger.billed() == (59 if older_server else 60)
