"""The lease of a worker on a real server: what it costs, and that it never lapses."""

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis

from smartworker.broker.lease import ASK_AGAIN, DEFAULT_LENGTH, Lease
from smartworker.store.client import connect, connection_options
from smartworker.store.leases import Leases
from smartworker.store.meter import ledger
from smartworker.store.server import HOST, free_port
from smartworker.testing import ManualClock

pytestmark = pytest.mark.every_server

KEY = "smartworker:leases"
CELERY = "smartworker:inflight:w1:celery"
MAIL = "smartworker:inflight:w1:mail"
LENGTH_MS = int(1000 * DEFAULT_LENGTH)
#: Real milliseconds that a test may take.
REAL = 5000


class Clock(ManualClock):
    """A clock of a machine that may sleep, and that somebody may set."""

    def jump(self, seconds: float) -> None:
        """The wall clock goes on or back alone."""
        self._now += timedelta(seconds=seconds)


class Rig:
    """The lease of worker w1, and what it holds."""

    def __init__(self, client: Any, observer: Any, prefix: str = "") -> None:
        self.observer = observer
        self.clock = Clock()
        self.held: set[str] = set()
        self.leases = Leases(client, prefix)
        self.lease = Lease(self.leases, "w1", prefix, self.clock, lambda: self.held)

    def take(self, *queue_keys: str) -> dict[str, int]:
        """Put on record what a take of these needs, as the courier does."""
        entries = self.lease.entries(queue_keys)
        if entries:
            self.observer.zadd(KEY, entries)
        self.lease.recorded(entries)
        return entries

    def ends(self) -> dict[str, int]:
        """What is on record on the server."""
        rows = self.observer.zrange(KEY, 0, -1, withscores=True)
        return {name.decode(): int(end) for name, end in rows}

    def left(self, name: str) -> int:
        """The milliseconds that a lease has left by the server's clock."""
        seconds, micros = self.observer.time()
        return self.ends()[name] - 1000 * seconds - micros // 1000


@pytest.fixture
def observer(redis_url: str) -> Iterator[Any]:
    """A client that is not counted."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, **options) as client:
        yield client


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """The worker's client, connected and not counted so far."""
    made = connect(redis_url)
    made.ping()
    ledger.drain()
    yield made
    made.connection_pool.disconnect()


@pytest.fixture
def rig(client: Any, observer: Any) -> Rig:
    """A lease that nobody has asked for so far."""
    return Rig(client, observer)


def cost() -> dict[str, int]:
    """What was sent since the last question; all of it on the lease's account."""
    booked = ledger.by_cause()
    assert set(booked) <= {"lease"}
    ledger.drain()
    return booked.get("lease", {})


# -- before a take -------------------------------------------------------------------


def test_the_first_take_asks_for_the_time(rig: Rig) -> None:
    """TIME once; the lease ends a full length later by the server's own clock."""
    assert rig.lease.known is False
    entries = rig.take("celery")
    assert entries.keys() == {CELERY}
    assert LENGTH_MS - REAL <= rig.left(CELERY) <= LENGTH_MS
    assert cost() == {"time": 1}
    assert rig.lease.known is True


def test_a_fresh_lease_costs_nothing(rig: Rig) -> None:
    """For half of its length any number of takes needs no command."""
    rig.take("celery")
    cost()
    for _ in range(10):
        rig.clock.advance(DEFAULT_LENGTH / 20)
        assert rig.take("celery") == {}
    assert cost() == {}
    rig.clock.advance(1)
    assert rig.take("celery").keys() == {CELERY}
    assert cost() == {}


def test_one_command_serves_all_that_need_it_soon(rig: Rig) -> None:
    """A new list takes the old ones along, and leaves the fresh ones alone."""
    rig.take("celery")
    assert rig.take("mail").keys() == {MAIL}
    rig.clock.advance(DEFAULT_LENGTH / 2 + 1)
    assert rig.take("celery").keys() == {CELERY, MAIL}
    rig.clock.advance(DEFAULT_LENGTH / 2 + 1)
    assert rig.take("other").keys() == {CELERY, MAIL, CELERY.replace("celery", "other")}


def test_an_old_lease_that_nobody_needs_is_left_alone(rig: Rig) -> None:
    """A take from elsewhere is no reason to write, unless there is something new."""
    rig.take("celery")
    rig.clock.advance(DEFAULT_LENGTH / 2 + 1)
    rig.take("mail")
    rig.lease.recorded([])
    assert rig.take("mail") == {}


def test_what_the_server_refused_is_asked_for_again(rig: Rig) -> None:
    """Not recorded, not believed."""
    assert rig.lease.entries(["celery"]).keys() == {CELERY}
    assert rig.lease.entries(["celery"]).keys() == {CELERY}
    assert rig.lease.known is False


def test_nothing_to_take_needs_nothing(rig: Rig) -> None:
    """A round that only acknowledges writes no lease."""
    assert rig.lease.entries([]) == {}
    assert cost() == {}


def test_another_length_holds_from_the_next_lease_on(rig: Rig) -> None:
    """What is on record keeps the length that it was written with."""
    rig.take("celery")
    rig.lease.length = 60.0
    rig.clock.advance(100)
    assert rig.take("celery") == {}
    rig.take("mail")
    assert rig.left(MAIL) <= 160_000
    rig.clock.advance(31)
    assert rig.take("mail").keys() == {MAIL}


# -- renewing ------------------------------------------------------------------------


def test_who_holds_nothing_beats_no_more(rig: Rig) -> None:
    """None, and no command: the thread may end."""
    assert rig.lease.beat() is None
    rig.take("celery")
    cost()
    assert rig.lease.beat() is None
    assert cost() == {}


def test_a_lease_is_renewed_when_a_third_is_used_up(rig: Rig) -> None:
    """Looked at every 50 s, written every 100 s: it always has more than half left."""
    rig.take("celery")
    rig.held = {"celery"}
    cost()
    written = 0
    for _ in range(18):
        assert rig.lease.beat() == DEFAULT_LENGTH / 6
        written += cost().get("zadd", 0)
        # A real clock is never early.
        rig.clock.advance(DEFAULT_LENGTH / 6 + 0.01)
        assert rig.take("celery") == {}
    assert written == 8
    assert rig.left(CELERY) >= LENGTH_MS + 16 * LENGTH_MS / 6 - REAL


def test_one_beat_serves_all_queues(rig: Rig) -> None:
    """However many are held: one ZADD, and nothing for those that are not."""
    rig.take("celery", "mail", "other")
    rig.held = {"celery", "mail"}
    before = rig.ends()
    rig.clock.advance(DEFAULT_LENGTH / 3 + 1)
    cost()
    rig.lease.beat()
    assert cost() == {"zadd": 1}
    after = rig.ends()
    assert {name for name in after if after[name] > before[name]} == {CELERY, MAIL}


def test_what_is_held_without_a_lease_gets_one(rig: Rig) -> None:
    """After an outage the server may have forgotten."""
    rig.held = {"celery"}
    rig.lease.beat()
    assert rig.left(CELERY) > 0
    assert cost() == {"time": 1, "zadd": 1}


def test_the_clock_is_asked_again_now_and_then(rig: Rig) -> None:
    """Once an hour: a beat then costs two commands, and drift stays below a second."""
    rig.take("celery")
    rig.held = {"celery"}
    asked = 0
    for _ in range(int(3 * ASK_AGAIN / 100)):
        rig.clock.advance(100)
        rig.lease.beat()
        asked += cost().get("time", 0)
    assert asked == 3


def test_a_machine_that_slept_asks_again(rig: Rig) -> None:
    """Its monotonic clock stood still, and its lease has ended all the same."""
    rig.take("celery")
    cost()
    rig.clock.jump(DEFAULT_LENGTH + 1)
    assert rig.take("celery").keys() == {CELERY}
    assert cost() == {"time": 1}
    assert LENGTH_MS - REAL <= rig.left(CELERY) <= LENGTH_MS


def test_a_clock_that_is_set_back_fools_nobody(rig: Rig) -> None:
    """The monotonic clock goes on, and the server is asked what time it is."""
    rig.take("celery")
    rig.clock.jump(-86_400)
    assert rig.take("celery") == {}
    rig.clock.advance(DEFAULT_LENGTH / 2 + 1)
    cost()
    assert rig.take("celery").keys() == {CELERY}
    assert cost() == {"time": 1}
    assert LENGTH_MS - REAL <= rig.left(CELERY) <= LENGTH_MS


def test_a_refused_beat_is_said_once(
    rig: Rig, lines: Callable[[str], list[Any]]
) -> None:
    """It tries on at the same pace, and says the next trouble again."""
    rig.observer.set(KEY, "a string")
    rig.held = {"celery"}
    for _ in range(3):
        assert rig.lease.beat() == DEFAULT_LENGTH / 6
        rig.clock.advance(DEFAULT_LENGTH / 6)
    (line,) = lines("lease_not_renewed")
    assert "WRONGTYPE" in line["error"]
    rig.observer.delete(KEY)
    rig.lease.beat()
    assert rig.left(CELERY) > 0
    rig.observer.set(KEY, "a string")
    rig.clock.advance(DEFAULT_LENGTH)
    rig.lease.beat()
    assert len(lines("lease_not_renewed")) == 2


def test_a_beat_without_a_server_is_no_error(
    rig: Rig, lines: Callable[[str], list[Any]]
) -> None:
    """The thread lives on, and what it could not renew is not believed renewed."""
    with connect(f"redis://{HOST}:{free_port()}/0") as nowhere:
        lease = Lease(Leases(nowhere), "w1", "", rig.clock, lambda: ["celery"])
        assert lease.beat() == DEFAULT_LENGTH / 6
        assert lease.known is False
    assert len(lines("lease_not_renewed")) == 1


# -- the end ---------------------------------------------------------------------------


def test_a_lease_is_dropped_shortly_before_it_ends(rig: Rig) -> None:
    """A busy worker writes none for each pause between two messages."""
    assert rig.lease.idle_in() is None
    rig.take("celery")
    rig.held = {"celery"}
    assert rig.lease.idle_in() is None
    rig.held = set()
    assert rig.lease.idle_in() == pytest.approx(DEFAULT_LENGTH * 5 / 6)
    cost()
    rig.lease.drop()
    assert cost() == {}
    rig.clock.advance(DEFAULT_LENGTH * 5 / 6)
    assert rig.lease.idle_in() == 0
    rig.lease.drop()
    assert cost() == {"zrem": 1}
    assert rig.ends() == {}
    assert (rig.lease.idle_in(), rig.lease.known) == (None, False)
    rig.lease.drop()
    assert cost() == {}


def test_what_is_held_is_not_dropped(rig: Rig) -> None:
    """However old its lease is."""
    rig.take("celery", "mail")
    rig.held = {"celery"}
    rig.clock.advance(DEFAULT_LENGTH)
    rig.lease.drop()
    assert rig.ends().keys() == {CELERY}


def test_the_first_to_end_counts(rig: Rig) -> None:
    """Several lists: idle when the oldest lease runs out."""
    rig.take("celery")
    rig.clock.advance(100)
    rig.take("mail")
    assert rig.lease.idle_in() == pytest.approx(DEFAULT_LENGTH * 5 / 6 - 100)
    rig.clock.advance(DEFAULT_LENGTH * 5 / 6 - 100)
    rig.lease.drop()
    assert rig.ends().keys() == {MAIL}


def test_a_worker_that_stops_gives_up_at_once(rig: Rig) -> None:
    """1 command for all that it does not hold; what it holds stays its own."""
    rig.take("celery", "mail", "other")
    rig.held = {"mail"}
    cost()
    rig.lease.give_up()
    assert cost() == {"zrem": 1}
    assert rig.ends().keys() == {MAIL}
    rig.lease.give_up()
    assert cost() == {}


def test_what_was_forgotten_is_written_anew(rig: Rig) -> None:
    """The server may have started from nothing, with another clock."""
    rig.take("celery")
    rig.observer.flushall()
    rig.lease.forget()
    assert rig.lease.known is False
    cost()
    assert rig.take("celery").keys() == {CELERY}
    assert cost() == {"time": 1}
    assert rig.ends().keys() == {CELERY}


# -- names -----------------------------------------------------------------------------


def test_what_is_held_is_known_by_its_name(rig: Rig) -> None:
    """Of no other worker, were its name the beginning of ours, and only while held."""
    rig.held = {"celery", "mail\x06\x163"}
    assert rig.lease.covers(CELERY)
    assert rig.lease.covers("smartworker:inflight:w1:mail\x06\x163")
    assert not rig.lease.covers(MAIL)
    assert not rig.lease.covers("smartworker:inflight:w10:celery")
    assert not rig.lease.covers("app:" + CELERY)
    rig.held = set()
    assert not rig.lease.covers(CELERY)
    rig.lease.recorded([CELERY])
    assert rig.lease.covers(CELERY)


def test_the_prefix_stands_before_our_names_too(client: Any, observer: Any) -> None:
    """With a global prefix the leases have a key of their own."""
    prefixed = Rig(client, observer, "app:")
    prefixed.held = {"app:celery"}
    prefixed.lease.beat()
    name = "app:smartworker:inflight:w1:app:celery"
    assert observer.zrange("app:smartworker:leases", 0, -1) == [name.encode()]
    assert prefixed.lease.covers(name)
    assert not prefixed.lease.covers(CELERY)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[Any]]:
    """The logged lines of an event, as dictionaries."""
    caplog.set_level(logging.INFO)

    def named(event: str) -> list[Any]:
        found = [r.msg for r in caplog.records if isinstance(r.msg, dict)]
        return [line for line in found if line["event"] == event]

    return named
