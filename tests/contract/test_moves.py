"""Moves on real servers: each message is here or there, and never in both places."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from smartworker.broker.envelope import ATTEMPTS
from smartworker.broker.rescue import Rescued, Rescuer
from smartworker.store import keys
from smartworker.store.client import connect, connection_options
from smartworker.store.dead import DeadLetters, Facts
from smartworker.store.meter import ledger
from smartworker.store.moves import Move, Moved, Place, move
from smartworker.testing import commandstats

pytestmark = pytest.mark.every_server

KEY, DEAD, LEASES = "celery", "smartworker:dead", "smartworker:leases"
LIST = "smartworker:inflight:w1:celery"
FACTS = Facts(KEY, "invalid").encode()
PLACES: tuple[Place, ...] = ("front", "back", "dead")
#: What the observer itself sends.
OBSERVING = {"info", "config|resetstat", "config|set"}
HOSTILE = [b"\x00", b"a\x00b\r\n$3\r\n", b"\xff\xfe\xfd", b"", b"x" * 1_000_000]
HOSTILE_IDS = ["nul", "protocol", "no-utf8", "empty", "megabyte"]


class Server:
    """What is where on a server, seen by somebody who is not counted."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def flight(self, *raws: bytes, lease: float | None = None) -> None:
        """Messages in flight, the first one taken first; a lease in seconds from now.

        Counts begin here, on both sides.
        """
        if raws:
            self.client.lpush(LIST, *raws)
        if lease is not None:
            now, _ = self.client.time()
            self.client.zadd(LEASES, {LIST: int(1000 * (now + lease))})
        self.client.config_resetstat()
        ledger.drain()

    def cost(self) -> dict[str, int]:
        """What the server saw, which is what the ledger says."""
        seen = commandstats(self.client).items()
        found = {name: n for name, n in seen if name not in OBSERVING}
        assert ledger.by_command() == found
        return found

    def waiting(self, key: str = KEY) -> list[bytes]:
        """What waits, in the order in which it will be taken."""
        found: list[bytes] = self.client.lrange(key, 0, -1)
        return found[::-1]

    def left(self) -> list[bytes]:
        """What is in flight, the oldest first."""
        return self.waiting(LIST)

    def dead(self) -> list[bytes]:
        """The messages among the dead letters."""
        return [letter.raw for letter in DeadLetters(self.client).all()]

    def full(self, *, yes: bool) -> None:
        """No memory is left, or enough."""
        self.client.config_set("maxmemory-policy", "noeviction")
        self.client.config_set("maxmemory", 1 if yes else 0)


@pytest.fixture
def server(redis_url: str) -> Iterator[Server]:
    """The test's server; its memory limit is taken away at the end."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, **options) as client:
        made = Server(client)
        yield made
        made.full(yes=False)


@pytest.fixture
def client(redis_url: str, server: Server) -> Iterator[Any]:
    """The worker's client, connected and not counted so far."""
    made = connect(redis_url)
    made.ping()
    server.flight()
    yield made
    made.connection_pool.disconnect()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[Any]]:
    """The logged lines of an event, as dictionaries."""
    caplog.set_level(logging.INFO)

    def named(event: str) -> list[Any]:
        found = [r.msg for r in caplog.records if isinstance(r.msg, dict)]
        return [line for line in found if line["event"] == event]

    return named


def to(place: Place, raw: bytes) -> Move:
    """A message and a place for it."""
    return Move(raw, place, FACTS if place == "dead" else raw)


def message(number: int) -> bytes:
    """A message of a task."""
    headers = {"task": "project.add", "id": str(number)}
    return json.dumps({"body": "", "headers": headers, "properties": {}}).encode()


def number_of(raw: bytes) -> int:
    """Which message this is."""
    return int(json.loads(raw)["headers"]["id"])


# -- three places ----------------------------------------------------------------------


def test_to_the_front(client: Any, server: Server) -> None:
    """Before all that wait; what is pushed may differ from what was taken."""
    server.client.lpush(KEY, b"waits")
    server.flight(b"1", b"2")
    assert move(client, LIST, KEY, [Move(b"1", "front", b"one")]) == Moved([True])
    assert server.cost() == {"eval": 1, "rpush": 1, "lrem": 1}
    assert server.waiting() == [b"one", b"waits"]
    assert server.left() == [b"2"]


def test_to_the_back(client: Any, server: Server) -> None:
    """Behind all that wait."""
    server.client.lpush(KEY, b"waits")
    server.flight(b"1", b"2")
    assert move(client, LIST, KEY, [Move(b"1", "back", b"one")]) == Moved([True])
    assert server.cost() == {"eval": 1, "lpush": 1, "lrem": 1}
    assert server.waiting() == [b"waits", b"one"]
    assert server.left() == [b"2"]


def test_to_the_dead(client: Any, server: Server) -> None:
    """The exact bytes and the facts; its queue is not touched."""
    server.flight(b"1", b"2")
    assert move(client, LIST, KEY, [Move(b"1", "dead", FACTS)]) == Moved([True])
    assert server.cost() == {"eval": 1, "xadd": 1, "lrem": 1}
    (letter,) = DeadLetters(server.client).all()
    assert (letter.raw, letter.facts) == (b"1", Facts(KEY, "invalid"))
    assert (server.left(), server.waiting()) == ([b"2"], [])


def test_each_to_its_own_place(client: Any, server: Server) -> None:
    """One command for all, and two for each; answers in the order of the moves."""
    server.flight(b"1", b"2", b"3")
    moves = [
        to("back", b"3"),
        to("front", b"gone"),
        to("dead", b"1"),
        to("front", b"2"),
    ]
    assert move(client, LIST, KEY, moves) == Moved([True, False, True, True])
    assert server.cost() == {
        "eval": 1,
        "lpush": 1,
        "rpush": 2,
        "xadd": 1,
        "lrem": 4,
        "rpop": 1,
    }
    assert (server.waiting(), server.dead(), server.left()) == (
        [b"2", b"3"],
        [b"1"],
        [],
    )


def test_twins_move_one_at_a_time(client: Any, server: Server) -> None:
    """Two messages of the same bytes: one moved leaves the other in flight."""
    server.flight(b"same", b"same")
    assert move(client, LIST, KEY, [to("front", b"same")]) == Moved([True])
    assert (server.waiting(), server.left()) == ([b"same"], [b"same"])


def test_the_cause_is_the_caller_s(client: Any, server: Server) -> None:
    """Booked where it belongs, with what ran inside the script."""
    server.flight(b"1", b"2")
    move(client, LIST, KEY, [to("front", b"1")])
    move(client, LIST, KEY, [to("dead", b"2")], cause="rescue")
    assert ledger.by_cause() == {
        "give_back": {"eval": 1, "lrem": 1, "rpush": 1},
        "rescue": {"eval": 1, "lrem": 1, "xadd": 1},
    }


def test_the_prefix_stands_before_our_names_too(client: Any, server: Server) -> None:
    """Dead letters and leases of another application are left alone."""
    name = "app:" + keys.inflight("w1", "app:celery")
    server.client.lpush(name, b"1", b"2")
    server.client.zadd("app:" + LEASES, {name: 1})
    moves = [to("dead", b"1"), to("front", b"2")]
    move(client, name, "app:celery", moves, prefix="app:", expired=True)
    assert sorted(server.client.keys()) == [b"app:celery", b"app:smartworker:dead"]


@pytest.mark.parametrize("raw", HOSTILE, ids=HOSTILE_IDS)
@pytest.mark.parametrize("place", PLACES)
def test_bytes_survive_as_they_are(
    client: Any, server: Server, raw: bytes, place: Place
) -> None:
    """Whatever they are, and however many."""
    server.flight(raw)
    assert move(client, LIST, KEY, [to(place, raw)]) == Moved([True])
    assert [*server.waiting(), *server.dead()] == [raw]
    assert server.left() == []


# -- nothing by halves -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "undo"), [("front", "rpop"), ("back", "lpop"), ("dead", "xdel")]
)
def test_what_is_gone_is_not_moved(
    client: Any, server: Server, place: Place, undo: str
) -> None:
    """Somebody else moved it first: the push is taken back, and only the push."""
    server.client.lpush(KEY, b"1", b"waits", b"1")
    server.client.xadd(DEAD, {"raw": b"1", "facts": FACTS})
    server.flight(b"2")
    assert move(client, LIST, KEY, [to(place, b"1")]) == Moved([False])
    push = {"front": "rpush", "back": "lpush", "dead": "xadd"}[place]
    assert server.cost() == {"eval": 1, push: 1, "lrem": 1, undo: 1}
    assert server.waiting() == [b"1", b"waits", b"1"]
    assert (server.dead(), server.left()) == ([b"1"], [b"2"])


@pytest.mark.parametrize("place", ["front", "back"])
def test_a_push_taken_back_leaves_no_key(
    client: Any, server: Server, place: Place
) -> None:
    """The queue was empty, and is again."""
    assert move(client, LIST, KEY, [to(place, b"1")]) == Moved([False])
    assert server.client.keys() == []


@pytest.mark.parametrize("place", PLACES)
def test_a_full_server_moves_nothing(client: Any, server: Server, place: Place) -> None:
    """Refused before anything has left its place; afterwards it works."""
    server.flight(b"1", b"2")
    server.full(yes=True)
    moves = [to(place, b"2"), to(place, b"1")]
    with pytest.raises(redis.exceptions.ResponseError, match="when used memory"):
        move(client, LIST, KEY, moves)
    server.full(yes=False)
    assert server.left() == [b"1", b"2"]
    assert (server.waiting(), server.dead()) == ([], [])
    assert move(client, LIST, KEY, moves) == Moved([True, True])
    assert (server.left(), len(server.waiting() + server.dead())) == ([], 2)


@pytest.mark.parametrize("place", PLACES)
def test_a_place_of_another_type_takes_nothing(
    client: Any, server: Server, place: Place
) -> None:
    """What was moved before it stays moved, the rest in flight: none is lost."""
    other: Place = "front" if place == "dead" else "dead"
    server.client.set(DEAD if place == "dead" else KEY, "a string")
    server.flight(b"1", b"2", b"3")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        move(client, LIST, KEY, [to(other, b"1"), to(place, b"2"), to(other, b"3")])
    assert server.left() == [b"2", b"3"]
    assert (server.waiting() if other == "front" else server.dead()) == [b"1"]


# -- leases ----------------------------------------------------------------------------

CHECK = {"eval": 1, "time": 1, "zscore": 1}


def test_a_living_lease_keeps_its_messages(client: Any, server: Server) -> None:
    """Nothing is touched, and its end is told."""
    server.flight(b"1", lease=60)
    moved = move(client, LIST, KEY, [to("front", b"1")], expired=True)
    assert server.cost() == CHECK
    assert moved.gone == []
    assert moved.lease_ms == server.client.zscore(LEASES, LIST)
    assert server.left() == [b"1"]


@pytest.mark.parametrize("lease", [-60, None], ids=["ended", "none"])
def test_without_a_lease_they_are_moved(
    client: Any, server: Server, lease: float | None
) -> None:
    """Ended by the server's clock, or never written; an empty list needs none."""
    server.flight(b"1", b"2", lease=lease)
    moves = [to("front", b"2"), to("front", b"1")]
    assert move(client, LIST, KEY, moves, expired=True) == Moved([True, True])
    assert server.cost() == {**CHECK, "rpush": 2, "lrem": 2, "exists": 1, "zrem": 1}
    assert server.client.keys() == [KEY.encode()]


def test_a_list_that_is_not_empty_keeps_its_lease(client: Any, server: Server) -> None:
    """So that the rest is found, should the rescuer die on the way."""
    server.flight(b"1", b"2", lease=-60)
    move(client, LIST, KEY, [to("front", b"1")], expired=True)
    assert server.cost() == {**CHECK, "rpush": 1, "lrem": 1, "exists": 1}
    assert server.client.zrange(LEASES, 0, -1) == [LIST.encode()]


def test_nothing_to_move_takes_the_lease_away(client: Any, server: Server) -> None:
    """Only asked for: an empty list of a dead worker."""
    server.flight(lease=-60)
    assert move(client, LIST, KEY, [], expired=True) == Moved([])
    assert server.cost() == {**CHECK, "exists": 1, "zrem": 1}
    assert server.client.keys() == []


def test_our_own_are_moved_whatever_the_lease_says(client: Any, server: Server) -> None:
    """The owner needs no leave, and keeps its lease for what follows."""
    server.flight(b"1", lease=60)
    assert move(client, LIST, KEY, [to("back", b"1")]) == Moved([True])
    assert server.client.exists(LEASES)


def test_a_lease_may_come_to_life_between_two_hundreds(
    client: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner woke up: the first hundred is moved, the rest is its own again."""
    server.flight(*map(message, range(150)), lease=-60)
    send = client.eval

    def eval_and_wake(*arguments: Any) -> Any:
        reply = send(*arguments)
        server.client.zadd(LEASES, {LIST: 2**50})
        return reply

    monkeypatch.setattr(client, "eval", eval_and_wake)
    moves = [to("back", message(number)) for number in range(150)]
    moved = move(client, LIST, KEY, moves, expired=True)
    assert (moved.gone, moved.lease_ms) == ([True] * 100, 2**50)
    assert (len(server.waiting()), len(server.left())) == (100, 50)


# -- rescues ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 200, 250])
def test_a_rescue_keeps_the_order(client: Any, server: Server, count: int) -> None:
    """Taken again as they would have been, before what waits; pages of a hundred."""
    server.client.lpush(KEY, message(count), message(count + 1))
    server.flight(*map(message, range(count)), lease=-60)
    assert Rescuer(client).rescue(LIST) == Rescued("w1", KEY, returned=count)
    pages = count // 100 + 1
    assert server.cost() == {
        "lrange": pages,
        "eval": pages,
        "time": pages,
        "zscore": pages,
        "exists": pages,
        "zrem": 1 + (count > 0 and count % 100 == 0),
        **({"rpush": count, "lrem": count} if count else {}),
    }
    found = server.waiting()
    assert [number_of(raw) for raw in found] == list(range(count + 2))
    attempts = [json.loads(raw)["headers"].get(ATTEMPTS) for raw in found]
    assert attempts == [1] * count + [None, None]
    assert server.client.keys() == [KEY.encode()]


def test_two_rescuers_bring_each_message_once(redis_url: str, server: Server) -> None:
    """At the same time, page by page: nobody's work is done twice."""
    server.flight(*map(message, range(500)), lease=-60)
    results: list[Rescued] = []
    start = threading.Barrier(3)

    def rescue() -> None:
        mine = connect(redis_url)
        mine.ping()
        start.wait(5)
        results.append(Rescuer(mine).rescue(LIST))
        mine.connection_pool.disconnect()

    threads = [threading.Thread(target=rescue) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sum(result.returned for result in results) == 500
    assert sorted(map(number_of, server.waiting())) == list(range(500))
    assert server.client.keys() == [KEY.encode()]


def test_a_rescue_ends_what_was_tried_too_often(
    client: Any, server: Server, lines: Callable[[str], list[Any]]
) -> None:
    """Dead letters with their facts; who asked hears of each."""
    poison = message(1).replace(b'"id"', b'"smartworker_attempts": 2, "id"')
    server.flight(poison, message(2), b"not json", lease=-60)
    told: list[Facts] = []
    result = Rescuer(client, "", 3, told.append).rescue(LIST)
    assert result.as_json() == {
        "worker": "w1",
        "queue": KEY,
        "returned": 1,
        "dead": 2,
        "alive": False,
    }
    assert [facts.reason for facts in told] == ["unreadable", "max_deliveries"]
    assert server.dead() == [b"not json", poison]
    (line,) = lines("messages_rescued")
    assert (line["owner"], line["returned"], line["dead"]) == ("w1", 1, 2)


def test_a_rescue_of_a_living_worker_is_none(
    client: Any, server: Server, lines: Callable[[str], list[Any]]
) -> None:
    """Told with the end of its lease, and not in the log."""
    server.flight(message(1), lease=60)
    result = Rescuer(client).rescue(LIST)
    assert result.lease_ms == server.client.zscore(LEASES, LIST)
    assert result.as_json()["alive"] is True
    assert server.left() == [message(1)]
    assert lines("messages_rescued") == []


def test_what_its_worker_finished_meanwhile_is_not_counted(
    client: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was slow, and not dead: done is done, and nothing comes back."""
    server.flight(message(1), message(2), lease=-60)
    read = client.lrange

    def read_slowly(*arguments: Any) -> Any:
        found = read(*arguments)
        server.client.lrem(LIST, 1, message(1))
        return found

    monkeypatch.setattr(client, "lrange", read_slowly)
    assert Rescuer(client).rescue(LIST).returned == 1
    assert [number_of(raw) for raw in server.waiting()] == [2]


@pytest.mark.parametrize("prefix", ["", "app:", "a[b]*?\\"])
def test_orphans_are_found_by_name(client: Any, server: Server, prefix: str) -> None:
    """Without a lease, 1 command per 1,000 keys; nothing else is taken for one."""
    names = {prefix + keys.inflight(f"w{number}", "celery") for number in range(3)}
    for name in names:
        server.client.lpush(name, b"1")
    others = ["smartworker:leases", "x:" + keys.inflight("w9", "celery"), "ab:1"]
    for name in others:
        server.client.set(name, "1")
    server.flight()
    assert set(Rescuer(client, prefix).orphans()) == names
    assert server.cost() == {"scan": 1}
    assert set(ledger.by_cause()) == {"rescue"}
