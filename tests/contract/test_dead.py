"""Dead letters on real servers: kept as they are, bounded, and put back only once."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
import redis

from smartworker.store import dead
from smartworker.store.client import connect, connection_options
from smartworker.store.dead import OLDEST, DeadLetters, Facts
from smartworker.store.meter import ledger
from smartworker.testing import commandstats

pytestmark = pytest.mark.every_server

KEY, QUEUE = "smartworker:dead", "celery"
FACTS = Facts(
    QUEUE,
    "max_deliveries",
    "delivered 5 times",
    5,
    "project.add",
    "an-id",
    [{"at": "2026-11-24T11:00:00.000+00:00", "reason": "invalid", "attempts": 2}],
)
#: What the observer itself sends.
OBSERVING = {"info", "config|resetstat"}

Cost = Callable[[], dict[str, int]]


class Graveyard:
    """Buries letters, and is not counted."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self._numbers = count(1)

    def bury(self, raw: bytes, facts: Facts = FACTS, at: datetime | None = None) -> str:
        """A dead letter, of now or of another time; its id."""
        where = "*"
        if at is not None:
            where = f"{int(at.timestamp() * 1000)}-{next(self._numbers)}"
        entry: Any = {"raw": raw, "facts": facts.encode()}
        found: bytes = self.client.xadd(KEY, entry, id=where)
        return found.decode()

    def raws(self) -> list[bytes]:
        """What is left, the oldest first."""
        return [entry[b"raw"] for _, entry in self.client.xrange(KEY)]


@pytest.fixture
def graveyard(redis_url: str) -> Iterator[Graveyard]:
    """On the test's server; takes the memory limit away at the end."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, **options) as client:
        yield Graveyard(client)
        client.config_set("maxmemory", 0)


@pytest.fixture
def letters(redis_url: str) -> Iterator[DeadLetters]:
    """What is tested, connected."""
    client = connect(redis_url)
    client.ping()
    yield DeadLetters(client)
    client.connection_pool.disconnect()


@pytest.fixture
def cost(letters: DeadLetters, graveyard: Graveyard) -> Cost:
    """What the server saw since the last question, which is what the ledger says."""

    def counted() -> dict[str, int]:
        seen = commandstats(graveyard.client).items()
        found = {name: count for name, count in seen if name not in OBSERVING}
        booked = ledger.by_cause()
        graveyard.client.config_resetstat()
        ledger.drain()
        assert booked == ({"dead": found} if found else {})
        return found

    return counted


def reset(graveyard: Graveyard) -> None:
    """Count from nothing, on both sides."""
    graveyard.client.config_resetstat()
    ledger.drain()


# -- reading ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
def test_all_of_them_in_pages(
    letters: DeadLetters, graveyard: Graveyard, cost: Cost, count: int
) -> None:
    """Each once, the oldest first, 1 command per hundred; even in one millisecond."""
    now = datetime.now(UTC)
    for number in range(count):
        graveyard.bury(str(number).encode(), at=now)
    reset(graveyard)
    assert [int(letter.raw) for letter in letters.all()] == list(range(count))
    assert cost() == {"xrange": count // 100 + 1}
    assert letters.count() == count
    assert cost() == {"xlen": 1}


def test_what_comes_while_we_read_is_read_too(
    letters: DeadLetters, graveyard: Graveyard
) -> None:
    """And what goes does not disturb the rest."""
    ids = [graveyard.bury(str(number).encode()) for number in range(150)]
    found = []
    for letter in letters.all():
        found.append(letter.raw)
        if len(found) == 100:
            graveyard.client.xdel(KEY, ids[0], ids[99], ids[120])
            graveyard.bury(b"late")
    assert len(found) == len(set(found)) == 150
    assert found[-1] == b"late"
    assert b"120" not in found


@pytest.mark.parametrize(
    "raw", [b"\x00\r\n", b"\xff\xfe", b"", b"not json", b"x" * 1_000_000]
)
def test_bytes_and_facts_survive(
    letters: DeadLetters, graveyard: Graveyard, cost: Cost, raw: bytes
) -> None:
    """One letter by its id, for 1 command."""
    wanted = graveyard.bury(raw)
    reset(graveyard)
    letter = letters.get(wanted)
    assert letter is not None
    assert (letter.id, letter.raw, letter.facts) == (wanted, raw, FACTS)
    assert cost() == {"xrange": 1}


def test_a_letter_knows_its_times(letters: DeadLetters, graveyard: Graveyard) -> None:
    """Its last death by the server's clock, its first one from its history."""
    died = datetime(2026, 11, 24, 12, 0, 0, 123_000, tzinfo=UTC)
    graveyard.bury(b"1", at=died)
    graveyard.bury(b"23", Facts(QUEUE, "invalid"), at=died)
    first, second = letters.all()
    assert (first.last, second.last, second.first) == (died, died, died)
    assert first.first == datetime(2026, 11, 24, 11, 0, tzinfo=UTC)
    shown = json.loads(json.dumps(second.as_json()))
    assert shown["id"] == second.id
    assert shown["last"] == shown["first"] == "2026-11-24T12:00:00.123+00:00"
    assert (shown["size"], shown["reason"], shown["task"]) == (2, "invalid", None)
    assert "raw" not in shown


@pytest.mark.parametrize(
    "entry",
    [
        {"raw": b"1"},
        {"raw": b"1", "facts": b"not json"},
        {"raw": b"1", "facts": b"[]"},
        {"raw": b"1", "facts": b"{}"},
        {"raw": b"1", "facts": b'{"of": "another release"}'},
    ],
)
def test_facts_of_another_release(
    letters: DeadLetters, graveyard: Graveyard, entry: dict[Any, Any]
) -> None:
    """What is missing is unknown, what is new is left out; the bytes are there."""
    graveyard.client.xadd(KEY, entry)
    (letter,) = letters.all()
    assert (letter.raw, letter.facts) == (b"1", Facts("", "unknown"))


@pytest.mark.parametrize(
    "wanted", ["", "-", "+", "5", "5-", "-5", "a-1", "1-a", "1-2-3", "1.5-0", "*", "$"]
)
def test_what_is_no_id_is_told(
    letters: DeadLetters, graveyard: Graveyard, cost: Cost, wanted: str
) -> None:
    """Not a letter that is missing, and never a range of all: no command is sent."""
    graveyard.bury(b"1")
    reset(graveyard)
    with pytest.raises(ValueError, match="not the id of a dead letter"):
        letters.get(wanted)
    assert cost() == {}


def test_a_letter_that_is_not_there(letters: DeadLetters, graveyard: Graveyard) -> None:
    """None, whether there are others or none at all."""
    assert letters.get("1764026888123-0") is None
    wanted = graveyard.bury(b"1")
    time, _, number = wanted.partition("-")
    assert letters.get(f"{time}-{int(number) + 1}") is None
    assert letters.get(wanted) is not None


# -- dropping --------------------------------------------------------------------------


def test_dropping(letters: DeadLetters, graveyard: Graveyard, cost: Cost) -> None:
    """1 command for all; how many of them were there, each counted once."""
    ids = [graveyard.bury(str(number).encode()) for number in range(4)]
    reset(graveyard)
    assert letters.drop([ids[0], ids[2], ids[2], "1-1"]) == 2
    assert letters.drop([ids[0]]) == 0
    assert letters.drop([]) == 0
    assert cost() == {"xdel": 2}
    assert graveyard.raws() == [b"1", b"3"]


# -- back into the queue ---------------------------------------------------------------


def test_back_into_the_queue(
    letters: DeadLetters, graveyard: Graveyard, cost: Cost
) -> None:
    """At its end, with whatever bytes it has now, for 7 commands."""
    graveyard.client.lpush(QUEUE, b"waits")
    wanted = graveyard.bury(b"dead")
    graveyard.bury(b"other")
    letter = letters.get(wanted)
    assert letter is not None
    reset(graveyard)
    assert letters.requeue(letter, QUEUE, b"revived") is True
    assert cost() == dict.fromkeys(
        ("watch", "xrange", "type", "multi", "lpush", "xdel", "exec"), 1
    )
    assert graveyard.client.lrange(QUEUE, 0, -1)[::-1] == [b"waits", b"revived"]
    assert graveyard.raws() == [b"other"]


def test_it_goes_back_only_once(letters: DeadLetters, graveyard: Graveyard) -> None:
    """The second one is told that it was too late."""
    letter = letters.get(graveyard.bury(b"dead"))
    assert letter is not None
    assert letters.requeue(letter, QUEUE, b"1") is True
    assert letters.requeue(letter, QUEUE, b"2") is False
    assert graveyard.client.lrange(QUEUE, 0, -1) == [b"1"]


def test_what_was_dropped_does_not_go_back(
    letters: DeadLetters, graveyard: Graveyard
) -> None:
    """Somebody threw it away while somebody else looked at it."""
    letter = letters.get(graveyard.bury(b"dead"))
    assert letter is not None
    letters.drop([letter.id])
    assert letters.requeue(letter, QUEUE, b"1") is False
    assert graveyard.client.exists(QUEUE) == 0


def test_two_people_at_the_same_time(redis_url: str, graveyard: Graveyard) -> None:
    """Both put all fifty back: fifty messages, whoever was first with each."""
    for number in range(50):
        graveyard.bury(str(number).encode())
    start = threading.Barrier(2)
    taken: list[int] = []

    def requeue() -> None:
        client = connect(redis_url)
        mine = DeadLetters(client)
        found = list(mine.all())
        start.wait(5)
        taken.append(sum(mine.requeue(letter, QUEUE, letter.raw) for letter in found))
        client.connection_pool.disconnect()

    threads = [threading.Thread(target=requeue) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (len(taken), sum(taken)) == (2, 50)
    sent = sorted(int(raw) for raw in graveyard.client.lrange(QUEUE, 0, -1))
    assert sent == list(range(50))
    assert graveyard.raws() == []


@pytest.mark.parametrize("full", [True, False], ids=["full", "wrong type"])
def test_a_refused_letter_stays(
    letters: DeadLetters, graveyard: Graveyard, full: bool
) -> None:
    """No memory, or a key that is no queue: neither push nor drop."""
    letter = letters.get(graveyard.bury(b"dead"))
    assert letter is not None
    if full:
        graveyard.client.config_set("maxmemory-policy", "noeviction")
        graveyard.client.config_set("maxmemory", 1)
    else:
        graveyard.client.set(QUEUE, "a string")
    with pytest.raises(redis.ResponseError, match=r"(?i)not allowed|WRONGTYPE"):
        letters.requeue(letter, QUEUE, b"1")
    graveyard.client.config_set("maxmemory", 0)
    graveyard.client.delete(QUEUE)
    assert letters.requeue(letter, QUEUE, b"1") is True


# -- bounds ----------------------------------------------------------------------------


@pytest.fixture
def told() -> list[tuple[int, str]]:
    """What was dropped and why."""
    return []


def test_the_oldest_go_when_there_are_more(
    letters: DeadLetters,
    graveyard: Graveyard,
    cost: Cost,
    told: list[tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exactly the bound is kept; 2 commands, and nothing is said of nothing."""
    monkeypatch.setattr(dead, "MOST", 10)
    now = datetime.now(UTC)
    for number in range(13):
        graveyard.bury(str(number).encode())
    reset(graveyard)
    letters.trim(now, lambda count, why: told.append((count, why)))
    assert cost() == {"xtrim": 2}
    assert told == [(3, "number")]
    assert [int(raw) for raw in graveyard.raws()] == list(range(3, 13))
    letters.trim(now, lambda count, why: told.append((count, why)))
    assert len(told) == 1


def test_the_old_go_after_a_month(
    letters: DeadLetters, graveyard: Graveyard, told: list[tuple[int, str]]
) -> None:
    """By the day, whatever their number."""
    now = datetime.now(UTC)
    second = timedelta(seconds=1)
    graveyard.bury(b"old", at=now - 2 * OLDEST)
    graveyard.bury(b"just over", at=now - OLDEST - second)
    graveyard.bury(b"just not", at=now - OLDEST + second)
    graveyard.bury(b"young")
    letters.trim(now, lambda count, why: told.append((count, why)))
    assert told == [(2, "age")]
    assert graveyard.raws() == [b"just not", b"young"]


def test_both_bounds_at_once(
    letters: DeadLetters,
    graveyard: Graveyard,
    told: list[tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counted apart: what is too many is not too old as well."""
    monkeypatch.setattr(dead, "MOST", 2)
    now = datetime.now(UTC)
    for number, days in enumerate([60, 50, 40, 0]):
        graveyard.bury(str(number).encode(), at=now - timedelta(days=days))
    letters.trim(now, lambda count, why: told.append((count, why)))
    assert told == [(2, "number"), (1, "age")]
    assert graveyard.raws() == [b"3"]


def test_a_full_server_can_be_trimmed(
    letters: DeadLetters, graveyard: Graveyard, told: list[tuple[int, str]]
) -> None:
    """Dropping needs no memory."""
    now = datetime.now(UTC)
    graveyard.bury(b"old", at=now - 2 * OLDEST)
    graveyard.client.config_set("maxmemory-policy", "noeviction")
    graveyard.client.config_set("maxmemory", 1)
    letters.trim(now, lambda count, why: told.append((count, why)))
    assert told == [(1, "age")]


def test_the_prefix_stands_before_our_names_too(
    letters: DeadLetters, graveyard: Graveyard
) -> None:
    """Another application has dead letters of its own."""
    graveyard.bury(b"ours")
    others = DeadLetters(letters.client, "app:")
    assert list(others.all()) == []
    entry: Any = {"raw": b"theirs", "facts": FACTS.encode()}
    graveyard.client.xadd("app:" + KEY, entry)
    assert [letter.raw for letter in others.all()] == [b"theirs"]
    assert graveyard.raws() == [b"ours"]
