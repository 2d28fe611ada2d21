"""The watch: what a look costs, and that the dead are found and the living left be."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery

import smartworker
from smartworker.broker.adoption import Adopter
from smartworker.broker.envelope import ATTEMPTS
from smartworker.broker.lease import DEFAULT_LENGTH, Lease
from smartworker.broker.rescue import Rescuer
from smartworker.broker.watch import MARGIN, Watch
from smartworker.settings import Settings
from smartworker.store.client import connect, connection_options
from smartworker.store.dead import DeadLetters
from smartworker.store.leases import Leases
from smartworker.store.meter import ledger
from smartworker.testing import ManualClock, commandstats

pytestmark = pytest.mark.every_server

KEY = "celery"
LEASES = "smartworker:leases"
OWN = "smartworker:inflight:me:celery"
FOREIGN = "smartworker:inflight:w1:celery"
OTHER = "smartworker:inflight:w2:celery"
#: What the observer itself sends.
OBSERVING = {"info", "config|resetstat"}
READ = {"zrange": 1}


class Rig:
    """The watch of a worker called `me`, and somebody who plays the others."""

    def __init__(self, channel: Any, client: Any, observer: Any) -> None:
        self.observer = observer
        self.clock = ManualClock()
        self.held: set[str] = set()
        leases = Leases(client)
        self.lease = Lease(leases, "me", "", self.clock, lambda: self.held)
        self.watch = Watch(
            self.lease,
            leases,
            Rescuer(client),
            Adopter(channel, client, 5),
            self.clock,
        )

    def started(self) -> "Rig":
        """A rig that has had its first look, into an empty server."""
        assert self.poll() == 0
        return self

    def poll(
        self, queues: int = 0, *, leases: bool = False, stock: bool = False
    ) -> int:
        """A poll of fewer than ten queues; how many it is taken to have found."""
        return self.watch.explain(queues + 10 * leases + 20 * stock, 10)

    def holds(self, name: str, seconds: float, *raws: bytes) -> None:
        """A worker holds messages; its lease ends so many seconds from now."""
        now, micros = self.observer.time()
        self.observer.zadd(LEASES, {name: 1000 * (now + seconds) + micros // 1000})
        if raws:
            self.observer.lpush(name, *raws)
        self.reset()

    def own(self) -> None:
        """We hold something ourselves."""
        entries = self.lease.entries([KEY])
        self.observer.zadd(LEASES, entries)
        self.lease.recorded(entries)
        self.held = {KEY}
        self.reset()

    def reset(self) -> None:
        """Count from nothing, on both sides."""
        self.observer.config_resetstat()
        ledger.drain()

    def cost(self) -> dict[str, int]:
        """What the server saw of the watch, which is what the ledger says."""
        seen = commandstats(self.observer)
        found = {name: n for name, n in seen.items() if name not in OBSERVING}
        assert ledger.by_command() == found
        self.reset()
        return found


def raw(number: int) -> bytes:
    """A message."""
    headers = {"task": "project.add", "id": str(number)}
    return json.dumps({"body": "", "headers": headers, "properties": {}}).encode()


def numbers(raws: list[bytes]) -> list[int]:
    """Which messages these are."""
    return [int(json.loads(found)["headers"]["id"]) for found in raws]


@pytest.fixture
def observer(redis_url: str) -> Iterator[Any]:
    """A client that is not counted."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, **options) as client:
        yield client


@pytest.fixture
def rig(redis_url: str, observer: Any) -> Iterator[Rig]:
    """A worker that has not looked so far; connected and not counted."""
    app = Celery("watch", set_as_current=False)
    smartworker.setup(app, Settings(redis_url=redis_url))
    client = connect(redis_url)
    client.ping()
    with app.connection_for_read() as connection:
        made = Rig(connection.default_channel, client, observer)
        made.reset()
        yield made
    client.connection_pool.disconnect()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[Any]]:
    """The logged lines of an event, as dictionaries."""
    caplog.set_level(logging.INFO)

    def named(event: str) -> list[Any]:
        found = [r.msg for r in caplog.records if isinstance(r.msg, dict)]
        return [line for line in found if line["event"] == event]

    return named


# -- idle ------------------------------------------------------------------------------


def test_nothing_found_costs_nothing(rig: Rig) -> None:
    """Night after night: two keys more in the first poll, one in all others."""
    assert rig.watch.keys(2) == [LEASES] * 2 + ["unacked_index"] * 4
    for _ in range(3):
        assert rig.poll() == 0
        assert rig.watch.keys(2) == [LEASES] * 2
    assert rig.watch.left() is None
    assert rig.cost() == {}


def test_only_queues_wait(rig: Rig) -> None:
    """A poll found messages and no lease: the sum tells, and nothing is asked."""
    rig.started()
    assert rig.poll(3) == 3
    assert rig.cost() == {}
    assert rig.watch.left() is None


def test_our_own_lease_costs_nothing(rig: Rig) -> None:
    """We know that it is there, and nobody else's has been seen."""
    rig.started().own()
    assert rig.poll(leases=True) == 0
    assert rig.cost() == {}
    assert rig.watch.left() is None


def test_a_busy_worker_looks_once_for_each_lease(rig: Rig) -> None:
    """Somebody else may have died while we always hold something."""
    rig.started().own()
    rig.holds(FOREIGN, -1, raw(1))
    assert rig.poll(leases=True) == 0
    assert rig.observer.llen(FOREIGN) == 1
    rig.clock.advance(DEFAULT_LENGTH)
    assert rig.poll(leases=True) == 0
    assert numbers(rig.observer.lrange(KEY, 0, -1)) == [1]


def test_a_queue_is_never_taken_for_a_lease(rig: Rig) -> None:
    """Our lease is gone, for the server forgot all: the message counts."""
    rig.started().own()
    rig.observer.flushall()
    assert rig.poll(1) == 1
    assert not rig.lease.known


def test_a_queue_is_never_taken_for_a_peer(rig: Rig) -> None:
    """A peer was seen and has left: the next message counts at once."""
    rig.started().holds(FOREIGN, 200, raw(1))
    assert rig.poll(leases=True) == 0
    assert rig.watch.left() is not None
    assert rig.poll(1) == 1
    assert rig.watch.left() is None


def test_what_we_hold_is_not_rescued(rig: Rig) -> None:
    """Not even when the lease has ended: the loop may have been blocked."""
    rig.started().own()
    rig.holds(OWN, -1, raw(1))
    rig.watch.look()
    assert rig.cost() == READ
    assert rig.watch.left() is None
    assert rig.observer.lrange(OWN, 0, -1) == [raw(1)]


def test_a_lease_that_we_forgot_is_taken_away(rig: Rig) -> None:
    """After an outage nobody else may live to do it: no poll costs more for ever."""
    rig.started().own()
    rig.held = set()
    rig.lease.forget()
    assert rig.poll(leases=True) == 0
    assert rig.cost() == {**READ, "time": 1}
    assert rig.poll(leases=True) == 0
    assert rig.cost() == {}
    assert rig.watch.left() == pytest.approx(DEFAULT_LENGTH + MARGIN, abs=2)
    rig.clock.advance(DEFAULT_LENGTH + MARGIN)
    rig.holds(OWN, -1)
    rig.watch.look()
    assert rig.observer.keys() == []
    assert rig.watch.left() is None


def test_what_lies_in_our_list_and_is_not_held_comes_back(rig: Rig) -> None:
    """It could not be given back; once the lease has ended it is like a dead one's."""
    rig.started().holds(OWN, -1, raw(1))
    rig.watch.look()
    assert numbers(rig.observer.lrange(KEY, 0, -1)) == [1]
    assert rig.observer.keys() == [KEY.encode()]


# -- the living ------------------------------------------------------------------------


def test_a_living_lease_arms_the_watch(rig: Rig) -> None:
    """Two commands once; then none until it is due, a second after the lease."""
    rig.started().holds(FOREIGN, 200, raw(1))
    assert rig.poll(leases=True) == 0
    assert rig.cost() == {"zrange": 1, "time": 1}
    left = rig.watch.left()
    assert left == pytest.approx(200 + MARGIN, abs=2)
    for _ in range(10):
        rig.clock.advance(15)
        assert rig.poll(leases=True) == 0
    assert rig.watch.left() == pytest.approx(left - 150)
    assert rig.cost() == {}


def test_the_first_to_end_is_looked_at_first(rig: Rig) -> None:
    """Several workers: due when the first lease may have ended."""
    rig.started().holds(FOREIGN, 250, raw(1))
    rig.holds(OTHER, 100, raw(2))
    rig.watch.look()
    assert rig.watch.left() == pytest.approx(100 + MARGIN, abs=2)


def test_a_lease_that_is_renewed_is_looked_at_again(rig: Rig) -> None:
    """Due, and not over: armed anew, at one command a look."""
    rig.started().holds(FOREIGN, 100, raw(1))
    rig.watch.look()
    rig.cost()
    for _ in range(3):
        rig.clock.advance(100 + MARGIN)
        assert rig.watch.left() == pytest.approx(0, abs=2)
        # Our reckoning of the server's clock went on with our own.
        rig.holds(FOREIGN, rig.clock.monotonic() - 1000 + 100)
        rig.watch.look()
        assert rig.cost() == READ
        assert rig.watch.left() == pytest.approx(100 + MARGIN, abs=2)


def test_it_is_disarmed_when_nobody_holds_anything(rig: Rig) -> None:
    """The other worker has finished, and dropped its lease."""
    rig.started().holds(FOREIGN, 100, raw(1))
    rig.poll(leases=True)
    rig.observer.delete(LEASES)
    assert rig.poll() == 0
    assert rig.watch.left() is None


def test_the_late_are_due_at_once(rig: Rig) -> None:
    """A loop that was blocked looks as soon as it can."""
    rig.started().holds(FOREIGN, 100, raw(1))
    rig.watch.look()
    rig.clock.advance(3600)
    assert rig.watch.left() == 0


def test_the_server_has_the_last_word(rig: Rig) -> None:
    """By our reckoning a lease has ended, by the server's clock it has not."""
    rig.started().own()
    rig.clock.advance(120)
    rig.holds(FOREIGN, 60, raw(1))
    rig.watch.look()
    assert rig.cost() == {"zrange": 1, "lrange": 1, "eval": 1, "time": 1, "zscore": 1}
    assert rig.observer.lrange(FOREIGN, 0, -1) == [raw(1)]
    assert rig.watch.left() == MARGIN


# -- the dead --------------------------------------------------------------------------


def test_the_dead_are_rescued(rig: Rig, lines: Callable[[str], list[Any]]) -> None:
    """Their messages come back in order, one attempt older; no lease is left."""
    rig.started()
    rig.observer.lpush(KEY, raw(3))
    rig.holds(FOREIGN, -1, raw(1), raw(2))
    assert rig.poll(1, leases=True) == 1
    assert rig.cost() == {
        "zrange": 1,
        "time": 2,
        "lrange": 1,
        "eval": 1,
        "zscore": 1,
        "rpush": 2,
        "lrem": 2,
        "exists": 1,
        "zrem": 1,
    }
    waiting = rig.observer.lrange(KEY, 0, -1)[::-1]
    assert numbers(waiting) == [1, 2, 3]
    assert [json.loads(r)["headers"].get(ATTEMPTS) for r in waiting] == [1, 1, None]
    assert rig.observer.keys() == [KEY.encode()]
    assert rig.watch.left() is None
    (line,) = lines("messages_rescued")
    assert (line["owner"], line["queue"], line["returned"]) == ("w1", KEY, 2)


def test_the_dead_among_the_living(rig: Rig) -> None:
    """One is rescued, the other one is waited for."""
    rig.started().holds(FOREIGN, -1, raw(1))
    rig.holds(OTHER, 100, raw(2))
    rig.own()
    rig.watch.look()
    assert numbers(rig.observer.lrange(KEY, 0, -1)) == [1]
    assert {name.decode() for name in rig.observer.zrange(LEASES, 0, -1)} == {
        OTHER,
        OWN,
    }
    assert rig.watch.left() == pytest.approx(100 + MARGIN, abs=2)


def test_a_lease_without_messages_is_taken_away(rig: Rig) -> None:
    """Its worker ended between its last message and the end of its lease."""
    rig.started().holds(FOREIGN, -1)
    rig.watch.look()
    assert rig.observer.keys() == []


def test_what_cannot_be_read_dies(rig: Rig, lines: Callable[[str], list[Any]]) -> None:
    """A message that killed its worker's parser kills no other one."""
    rig.started().holds(FOREIGN, -1, b"not json", raw(1))
    rig.watch.look()
    assert numbers(rig.observer.lrange(KEY, 0, -1)) == [1]
    (letter,) = DeadLetters(rig.observer).all()
    assert (letter.raw, letter.facts.reason) == (b"not json", "unreadable")
    assert len(lines("message_dead")) == 1


def test_what_is_no_list_of_ours_stops_nobody(rig: Rig) -> None:
    """Somebody wrote nonsense among the leases: the rest is rescued all the same."""
    rig.started()
    for name in ("a", "smartworker:inflight:", "zzz"):
        rig.holds(name, -1)
    rig.holds(FOREIGN, -1, raw(1))
    rig.watch.look()
    assert numbers(rig.observer.lrange(KEY, 0, -1)) == [1]


def test_a_list_that_cannot_be_moved_stops_nobody(
    rig: Rig, lines: Callable[[str], list[Any]]
) -> None:
    """Its queue is no list: said, tried again in a while, and the rest is rescued."""
    rig.observer.set("mail", "a string")
    rig.started().holds("smartworker:inflight:w0:mail", -1, raw(2))
    rig.holds(FOREIGN, -1, raw(1))
    assert rig.poll(1, leases=True) == 1
    assert numbers(rig.observer.lrange(KEY, 0, -1)) == [1]
    assert rig.observer.lrange("smartworker:inflight:w0:mail", 0, -1) == [raw(2)]
    (line,) = lines("rescue_refused")
    assert line["list"] == "smartworker:inflight:w0:mail"
    assert "WRONGTYPE" in line["error"]
    assert rig.watch.left() == DEFAULT_LENGTH + MARGIN
    rig.observer.delete("mail")
    rig.watch.look()
    assert numbers(rig.observer.lrange("mail", 0, -1)) == [2]


def test_a_full_server_is_trouble_of_its_own(rig: Rig) -> None:
    """Raised, for the pauses of that trouble; the rescue follows when it is over."""
    rig.started().holds(FOREIGN, -1, raw(1))
    rig.observer.config_set("maxmemory-policy", "noeviction")
    rig.observer.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.exceptions.ResponseError, match="when used memory"):
            rig.watch.look()
    finally:
        rig.observer.config_set("maxmemory", 0)
    assert rig.observer.lrange(FOREIGN, 0, -1) == [raw(1)]
    rig.watch.look()
    assert numbers(rig.observer.lrange(KEY, 0, -1)) == [1]


# -- after an outage -------------------------------------------------------------------


def test_after_an_outage_the_others_come_first(rig: Rig) -> None:
    """Nobody could renew a lease: for the length of one nobody is taken for dead."""
    rig.started().holds(FOREIGN, -1, raw(1))
    rig.watch.postpone()
    assert rig.poll(leases=True) == 0
    assert rig.cost() == READ
    assert rig.watch.left() == DEFAULT_LENGTH
    rig.clock.advance(DEFAULT_LENGTH - 1)
    assert rig.poll(leases=True) == 0
    rig.watch.look()
    assert rig.observer.llen(FOREIGN) == 1
    assert rig.watch.left() == 1
    rig.clock.advance(1)
    assert rig.watch.left() == 0
    rig.watch.look()
    assert numbers(rig.observer.lrange(KEY, 0, -1)) == [1]


# -- the start -------------------------------------------------------------------------


def test_the_first_look_reads_the_leases(rig: Rig) -> None:
    """Found leases at the start: read at once, and only the leases next time."""
    rig.holds(FOREIGN, -1, raw(1))
    assert rig.poll(leases=True) == 0
    assert numbers(rig.observer.lrange(KEY, 0, -1)) == [1]
    assert rig.watch.keys(1) == [LEASES]


def test_the_first_look_adopts(rig: Rig) -> None:
    """What a dead stock worker held comes back, beside a message that waits."""
    message = {"body": "", "headers": {"id": "7"}, "properties": {}}
    rig.observer.hset("unacked", "tag", json.dumps([message, "", KEY]))
    rig.observer.zadd("unacked_index", {"tag": 1})
    rig.observer.lpush(KEY, raw(1))
    assert rig.poll(1, stock=True) == 1
    assert sorted(numbers(rig.observer.lrange(KEY, 0, -1))) == [1, 7]
    assert not rig.observer.exists("unacked_index")


def test_a_refused_adoption_keeps_us_from_no_queue(
    rig: Rig, lines: Callable[[str], list[Any]]
) -> None:
    """Somebody else uses the name: said once, and the worker goes on."""
    rig.observer.set("unacked_index", "mine")
    assert rig.poll(1, stock=True) == 1
    (line,) = lines("rescue_refused")
    assert line["list"] == "unacked_index"
    assert rig.watch.keys(1) == [LEASES]
