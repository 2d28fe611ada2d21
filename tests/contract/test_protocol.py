"""The protocol under all that may happen between its commands, on a real server.

Workers take, finish, give back, lose replies, sleep through their lease and crash, in
any order; after each step every message must be in exactly one place.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from smartworker.broker import rescue
from smartworker.broker.courier import Source
from smartworker.broker.custody import Custody
from smartworker.broker.envelope import ATTEMPTS, Unreadable, counted, read
from smartworker.broker.rescue import Rescuer
from smartworker.broker.returns import INVALID, RequeueLoop, dead, revived
from smartworker.store import keys, moves
from smartworker.store.client import connect, connection_options
from smartworker.store.dead import DeadLetters
from smartworker.store.leases import Leases
from smartworker.store.meter import ledger
from smartworker.store.once import publish_once
from smartworker.store.queues import Delivery, Result
from smartworker.testing import ManualClock, ManualHub, ManualKeeper, commandstats

CAP = 3
QUEUES = ("celery", "mail")
#: What Custody asks of a channel.
CHANNEL = SimpleNamespace(
    global_keyprefix="",
    unacked_key=keys.STOCK_HELD,
    unacked_index_key=keys.STOCK_INDEX,
    visibility_timeout=3600,
)
#: What the observer itself sends; it starts a new count when it has looked.
OBSERVING = {"info", "config|resetstat"}


def message(number: int, *, readable: bool = True) -> bytes:
    """A message that can be told from all others whatever is added to it."""
    if not readable:
        return f"no JSON #{number}#".encode()
    headers = {"task": "project.add", "id": f"#{number}#"}
    return json.dumps({"body": "W10=", "headers": headers, "properties": {}}).encode()


def number_of(raw: bytes) -> int:
    """Which message this is."""
    found = re.search(rb"#(\d+)#", raw)
    assert found is not None
    return int(found[1])


def attempts_of(raw: bytes) -> int:
    """How many attempts it has behind it."""
    try:
        return counted(read(raw), ATTEMPTS)
    except Unreadable:
        return 0


def result_of(number: int) -> str | None:
    """The key of its result; every other message leaves none."""
    return f"result-{number}" if number % 2 else None


def ended(delivery: Delivery) -> Delivery:
    """A message whose task has run."""
    key = result_of(number_of(delivery.raw))
    return replace(delivery, result=Result(key, b"42", None) if key else None)


class Line:
    """A way to the server that may break after any command and before any reply.

    It knows what the server did even where its worker never learns of it.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        # Commands that still arrive, and one more for each reply; None for all.
        self._left: int | None = None
        #: Whether it broke in the last `breaking`.
        self.broke = False
        #: The messages that an LREM took out of an in-flight list: they are done.
        self.removed: list[bytes] = []
        #: Ran inside a script whose reply was lost, so that no ledger knows of them.
        self.unheard: Counter[str] = Counter()
        #: Done once, after the next LRANGE.
        self.meanwhile: Callable[[], None] | None = None

    @contextmanager
    def breaking(self, after: int | None) -> Iterator[None]:
        """Breaks once in here, unless `after` is None or more than is sent."""
        self._left, self.broke = after, False
        yield
        self._left = None

    def pipeline(self, transaction: bool = True) -> Any:
        """A pipeline of which only the first commands may arrive."""
        pipe = self._client.pipeline(transaction=transaction)
        execute = pipe.execute

        def run(**options: Any) -> Any:
            sent = len(pipe.command_stack)
            lost = self._loses(sent)
            if lost is not None:
                del pipe.command_stack[lost:]
            stack = [command[0] for command in pipe.command_stack]
            replies = execute(**options)
            for (name, *arguments), reply in zip(stack, replies, strict=True):
                if name == "LREM" and reply:
                    self.removed.append(arguments[2])
            if lost is not None:
                raise redis.ConnectionError("Connection reset by peer")
            return replies

        pipe.execute = run
        return pipe

    def __getattr__(self, name: str) -> Any:
        send = getattr(self._client, name)

        def run(*arguments: Any, **options: Any) -> Any:
            lost = self._loses(1)
            if lost == 0:
                raise redis.ConnectionError("Connection refused")
            reply = send(*arguments, **options)
            if lost is not None:
                if name == "eval":
                    self._overhear(reply)
                raise redis.ConnectionError("Connection reset by peer")
            return reply

        return run

    def lrange(self, *arguments: Any) -> Any:
        """Reads; then others get a turn."""
        found = self.__getattr__("lrange")(*arguments)
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            act()
        return found

    def _loses(self, sent: int) -> int | None:
        """How many of so many commands arrive; None if the reply comes too."""
        if self._left is None:
            return None
        if self._left > sent:
            self._left -= sent + 1
            return None
        lost, self._left, self.broke = self._left, None, True
        return lost

    def _overhear(self, reply: Any) -> None:
        if isinstance(reply, list):
            pairs = zip(reply[2][::2], reply[2][1::2], strict=True)
            self.unheard.update({name.decode(): count for name, count in pairs})
        else:
            self.unheard.update(["set", "lpush"] if reply else ["set"])


class Worker:
    """A worker as far as its transport goes: it holds what it is given."""

    def __init__(self, name: str, client: Any) -> None:
        self.name = name
        self.line = Line(client)
        self.held: list[Delivery] = []
        #: The link broke, and is not mended so far.
        self.away = False
        #: Its lease may have ended without its knowing, as while a machine sleeps.
        self.exposed = False
        self._wanted = 0
        self.clock = ManualClock(datetime.now(UTC))
        self.hub = ManualHub(self.clock, patience=0.0)
        self.custody = Custody(
            CHANNEL,
            self.line,
            name,
            CAP,
            self.clock,
            lambda: [Source(key, key, 0, True, self) for key in QUEUES],
            lambda: list(self.held),
            lambda beat, _: ManualKeeper(self.hub, beat),
        )
        self.courier = self.custody.courier

    def room(self) -> int:
        """How many messages may come."""
        return self._wanted

    def receive(self, source: Source, delivery: Delivery, payload: Any) -> bool:
        """A message came."""
        self.held.append(delivery)
        return True

    def attempt(self, act: Callable[[], object], cut: int | None) -> None:
        """Act, unless the link is broken; it may break while acting."""
        if self.away:
            return
        with self.line.breaking(cut):
            try:
                act()
            except redis.ConnectionError:
                self.away = True

    def take(self, queue: str, count: int, cut: int | None) -> None:
        """Take up to so many messages."""
        self._wanted = count
        self.courier.bells.pushed(queue, count)
        self.attempt(self.courier.round, cut)

    def part_with(self, which: int, fate: str, cut: int | None) -> None:
        """One of the messages is not held any more, whatever becomes of it."""
        if fate == "given back":
            # A channel closes; the worker goes on.
            self.custody.give_back(self.held)
            self.held = []
            return
        delivery = self.held.pop(which % len(self.held))
        if fate == "done":
            self.courier.finish(ended(delivery))
        elif fate == "refused":
            self.courier.refuse(delivery)
        elif fate == "unknown here":
            self.custody.hold_back(delivery)
        else:
            verdict = dead(delivery.raw, delivery.queue_key, INVALID, "no task")
            self.courier.move(delivery, verdict)
        self.attempt(self.courier.flush, cut)

    def mend(self, *, long: bool, cut: int | None) -> None:
        """There is a new link; `long`: others may have lost theirs too."""
        self.away = False

        def heal() -> None:
            if long:
                self.custody.lease.forget()
                self.custody.watch.postpone()
            waiting = self.custody.strangers.held()
            self.courier.adopt(self.courier.missing([*self.held, *waiting]))
            self.courier.flush()

        self.attempt(heal, cut)
        assert self.away or not self.courier.doubtful()
        assert self.away or not self.courier.underway()

    def live(self, seconds: float, cut: int | None) -> None:
        """Time passes: its thread renews the lease, and its loop does the chores."""
        with self.line.breaking(cut):
            self.hub.run(seconds)
        self.exposed = self.exposed or self.line.broke
        self.attempt(self.custody.chores, None)
        self.attempt(self.courier.flush, cut)

    def sleep(self) -> None:
        """Neither thread nor loop run for longer than a lease."""
        self.clock.advance(self.custody.lease.length + 1)
        self.exposed = True

    def stop(self, cut: int | None) -> None:
        """The end in good order, over whatever link there is."""
        with self.line.breaking(cut):
            self.custody.give_back(self.held)
            self.held = []
            self.custody.leave()


def holds(worker: Worker) -> bool:
    """Whether a worker holds a message."""
    return bool(worker.held)


def away(worker: Worker) -> bool:
    """Whether a worker's link is broken."""
    return worker.away


def connected(worker: Worker) -> bool:
    """Whether a worker's link works."""
    return not worker.away


def busy(worker: Worker) -> bool:
    """Whether a worker has, or may have, something in flight."""
    return bool(worker.custody.queue_keys())


CUT = st.sampled_from([None] * 8 + [0, 0, 0, 1, 1, 2, 3, 4])
WHICH = st.integers(0, 5)
WORKER = st.integers(0, 2)
QUEUE = st.sampled_from(QUEUES)
#: More messages than that need not be underway.
MOST = 12
#: None of their sums is a lease's length: no race with the clock of the server.
SECONDS = (7, 63, 203, 259, 700)
#: In milliseconds: so clearly in the past that no clock is in doubt.
LONG_AGO = 60_000
FATES = ("done", "done", "refused", "unknown here", "invalid", "given back")


class Protocol(RuleBasedStateMachine):
    """Three workers, two queues, and all that can go wrong between them."""

    def __init__(self, client: Any, observer: Any) -> None:
        super().__init__()
        self.client, self.observer = client, observer
        observer.flushall()
        observer.config_resetstat()
        ledger.drain()
        self.leases = Leases(client)
        self.letters = DeadLetters(client)
        #: The numbers of all messages that are neither done nor dropped.
        self.alive: set[int] = set()
        self.keys_used: set[str] = set()
        self.lines: list[Line] = []
        self._numbers = itertools.count(1)
        self.workers = [self.worker() for _ in range(3)]
        self.intact = True

    def worker(self) -> Worker:
        """A new process with a name of its own."""
        worker = Worker(f"w{next(self._numbers)}", self.client)
        self.lines.append(worker.line)
        return worker

    def replace(self, worker: Worker) -> None:
        """One process ends, another one starts."""
        self.workers[self.workers.index(worker)] = self.worker()

    def first(self, fits: Callable[[Worker], object], w: int) -> Worker:
        """The first worker that fits, beginning the search at one of them."""
        return next(filter(fits, self.workers[w:] + self.workers[:w]))

    def line(self) -> Line:
        """The line of somebody who is no worker."""
        self.lines.append(Line(self.client))
        return self.lines[-1]

    # -- senders ---------------------------------------------------------------------

    @initialize(queue=QUEUE)
    def begin(self, queue: str) -> None:
        """Something to do."""
        self.publish(queue, [0, 0, 0, 1])

    @precondition(lambda self: len(self.alive) < MOST)
    @rule(queue=QUEUE, kinds=st.lists(st.integers(0, 9), min_size=1, max_size=3))
    def publish(self, queue: str, kinds: list[int]) -> None:
        """Messages, one in ten of them such that nobody can read it."""
        for kind in kinds:
            number = next(self._numbers)
            self.client.lpush(queue, message(number, readable=kind != 1))
            self.alive.add(number)

    @precondition(lambda self: len(self.alive) < MOST and len(self.keys_used) < 5)
    @rule(key=st.sampled_from("abcde"), queue=QUEUE, cut=st.none() | st.integers(0, 1))
    def publish_once(self, key: str, queue: str, cut: int | None) -> None:
        """A message with a key; the sender asks again where it heard nothing."""
        line, number = self.line(), next(self._numbers)
        new = key not in self.keys_used
        with line.breaking(cut):
            try:
                assert publish_once(line, key, queue, message(number)) is new
            except redis.ConnectionError:
                again = publish_once(self.client, key, queue, message(number))
                assert again is (new and cut == 0)
        if new:
            self.keys_used.add(key)
            self.alive.add(number)

    # -- workers ---------------------------------------------------------------------

    def anything_waits(self) -> bool:
        """Whether there is a message to take."""
        return any(self.waiting.values())

    def anyone(self, fits: Callable[[Worker], object]) -> bool:
        """Whether there is a worker that fits."""
        return any(map(fits, self.workers))

    def any_lease(self) -> bool:
        """Whether there is a lease on the server."""
        return bool(self.ends)

    @precondition(lambda self: self.anything_waits() and self.anyone(connected))
    @rule(w=WORKER, queue=QUEUE, count=st.integers(1, 4), cut=CUT)
    def take(self, w: int, queue: str, count: int, cut: int | None) -> None:
        """Messages come, or the server moves them and the worker never learns."""
        if not self.waiting[queue]:
            (queue,) = {*QUEUES} - {queue}
        self.first(connected, w).take(queue, count, cut)

    @precondition(lambda self: self.anyone(holds))
    @rule(w=WORKER, which=WHICH, fate=st.sampled_from(FATES), cut=CUT)
    def part_with(self, w: int, which: int, fate: str, cut: int | None) -> None:
        """A message is done or not; where no reply comes it is said again later."""
        self.first(holds, w).part_with(which, fate, cut)

    @precondition(lambda self: self.anyone(away))
    @rule(w=WORKER, long=st.booleans(), cut=CUT)
    def mend(self, w: int, long: bool, cut: int | None) -> None:
        """A broken link is replaced by a new one, which may break at once."""
        self.first(away, w).mend(long=long, cut=cut)

    def leased(self, worker: Worker) -> dict[str, int]:
        """The leases of a worker."""
        return {n: end for n, end in self.ends.items() if self.owner(n) is worker}

    @precondition(lambda self: self.anyone(self.leased))
    @rule(w=WORKER, seconds=st.sampled_from(SECONDS), cut=CUT)
    def live(self, w: int, seconds: int, cut: int | None) -> None:
        """Time passes for a worker, and for its leases on the server."""
        worker = self.first(self.leased, w)
        ends = self.leased(worker)
        self.leases.renew({n: end - seconds * 1000 for n, end in ends.items()})
        worker.live(seconds, cut)
        if worker.away:
            worker.mend(long=True, cut=None)

    @precondition(lambda self: self.anyone(busy))
    @rule(w=WORKER, crash=st.booleans(), cut=CUT)
    def leave(self, w: int, crash: bool, cut: int | None) -> None:
        """A worker ends: in good order, or all that it knew is gone."""
        worker = self.first(busy, w)
        whole = not (crash or worker.away)
        if not crash:
            worker.stop(cut)
        self.replace(worker)
        if whole and not worker.line.broke:
            lists = [keys.inflight(worker.name, queue) for queue in QUEUES]
            assert not self.client.exists(*lists)

    # -- rescuers --------------------------------------------------------------------

    def by_age(self, *, ended: bool) -> list[str]:
        """The leases that have ended, or the others."""
        names = sorted(self.ends)
        return [name for name in names if (self.ends[name] <= self.now) is ended]

    def owner(self, name: str) -> Worker | None:
        """The living owner of an in-flight list."""
        found = keys.owner(name)[0]
        return next((w for w in self.workers if w.name == found), None)

    @precondition(lambda self: self.by_age(ended=False))
    @rule(which=WHICH)
    def lease_ends(self, which: int) -> None:
        """The owner of a lease is dead, or sleeps through it."""
        names = self.by_age(ended=False)
        name = names[which % len(names)]
        mine = [n for n in self.ends if keys.owner(n)[0] == keys.owner(name)[0]]
        self.leases.renew(dict.fromkeys(mine, self.leases.now_ms() - LONG_AGO))
        sleeper = self.owner(name)
        if sleeper is not None:
            sleeper.sleep()

    @precondition(any_lease)
    @rule(
        which=WHICH,
        turn=st.sampled_from(["nothing", "rescuer", "done", "take"]),
        cut=st.none() | st.integers(3, 8),
    )
    def rescue(self, which: int, turn: str, cut: int | None) -> None:
        """A rescuer reads a list; before it moves anything, others get a turn."""
        names = self.by_age(ended=True) + self.by_age(ended=False)
        name = names[which % len(names)]
        line, safe = self.line(), Safe(self)

        def meanwhile() -> None:
            self.take_turn(turn, name)
            safe.look()

        line.meanwhile = meanwhile
        with line.breaking(cut):
            try:
                result = Rescuer(line, "", CAP).rescue(name)
            except redis.ConnectionError:
                pass  # the rescuer dies on the way
            else:
                assert bool(result.lease_ms) == (name in safe.lists)
        safe.check()

    def take_turn(self, turn: str, name: str) -> None:
        """What happens while a rescuer thinks."""
        owner = self.owner(name)
        if turn == "rescuer":
            Rescuer(self.line(), "", CAP).rescue(name)
        elif turn == "take" and owner is not None:
            owner.take(keys.owner(name)[1], 1, None)
        elif turn == "done" and owner is not None and owner.held:
            owner.part_with(0, "done", None)

    @precondition(any_lease)
    @rule(w=WORKER, cut=CUT)
    def look(self, w: int, cut: int | None) -> None:
        """A worker looks after the others."""
        safe = Safe(self)
        safe.look()
        self.workers[w].attempt(self.workers[w].custody.watch.look, cut)
        safe.check()

    # -- people ----------------------------------------------------------------------

    @precondition(lambda self: self.dead)
    @rule(which=WHICH, forced=st.booleans(), dropped=st.booleans())
    def tidy(self, which: int, forced: bool, dropped: bool) -> None:
        """Two people drop the same dead letter or put it back; one of them does."""
        letter = self.letters.get([*self.dead][which % len(self.dead)])
        assert letter is not None
        if dropped:
            assert self.letters.drop([letter.id, letter.id]) == 1
            self.alive.remove(number_of(letter.raw))
            return
        try:
            raw = revived(letter, datetime.now(UTC), forced=forced)
        except (RequeueLoop, Unreadable):
            assert not forced
        else:
            assert self.letters.requeue(letter, letter.facts.queue, raw)
            assert not self.letters.requeue(letter, letter.facts.queue, raw)

    # -- what holds at any time ------------------------------------------------------

    @invariant()
    def all_is_well(self) -> None:
        """Look at everything, and judge it."""
        self.intact = False
        self.check_ledger()
        self.observe()
        self.check_places()
        self.check_attempts()
        self.check_leases()
        for worker in self.workers:
            self.check_knowledge(worker)
        self.intact = True

    def check_ledger(self) -> None:
        """What we booked is what the server saw, but for scripts nobody heard of."""
        booked = Counter(ledger.by_command())
        for line in self.lines:
            booked.update(line.unheard)
            line.unheard.clear()
        seen = commandstats(self.observer).items()
        assert booked == {name: n for name, n in seen if name not in OBSERVING}

    def observe(self) -> None:
        """Everything on the server, uncounted."""
        names = sorted(self.observer.keys(keys.INFLIGHT + "*"))
        self.results = {key.decode() for key in self.observer.keys("result-*")}
        pipe = self.observer.pipeline(transaction=False)
        for key in [*QUEUES, *names]:
            pipe.lrange(key, 0, -1)
        pipe.xrange(keys.DEAD)
        pipe.zrange(keys.LEASES, 0, -1, withscores=True)
        pipe.time()
        *lists, letters, leases, (seconds, micros) = pipe.execute()
        self.waiting = dict(zip(QUEUES, lists, strict=False))
        self.inflight = {
            name.decode(): raws
            for name, raws in zip(names, lists[len(QUEUES) :], strict=True)
        }
        self.dead = {letter.decode(): fields for letter, fields in letters}
        self.ends = {name.decode(): int(end) for name, end in leases}
        self.now = 1000 * seconds + micros // 1000
        self.observer.config_resetstat()
        ledger.drain()

    def living(self) -> list[bytes]:
        """The messages that wait or are in flight."""
        lists = [*self.waiting.values(), *self.inflight.values()]
        return [raw for raws in lists for raw in raws]

    def check_places(self) -> None:
        """Every message that is neither done nor dropped is in exactly one place.

        And nothing is done before its result is stored.
        """
        for line in self.lines:
            for raw in line.removed:
                self.alive.remove(number_of(raw))
                key = result_of(number_of(raw))
                assert key is None or key in self.results, "its result is lost"
            line.removed.clear()
        raws = [*self.living(), *(fields[b"raw"] for fields in self.dead.values())]
        assert Counter(map(number_of, raws)) == dict.fromkeys(self.alive, 1)

    def check_attempts(self) -> None:
        """The cap is kept."""
        assert all(attempts_of(raw) < CAP for raw in self.living())
        facts = [json.loads(fields[b"facts"]) for fields in self.dead.values()]
        assert all(fact["attempts"] <= CAP for fact in facts)

    def check_leases(self) -> None:
        """Whatever is in flight will be found by somebody."""
        assert self.inflight.keys() <= self.ends.keys()

    def check_knowledge(self, worker: Worker) -> None:
        """A worker knows what it has, or where to look; and it has what it holds."""
        known = worker.custody.in_flight()
        assert len(set(known)) == len(known), "known twice"
        there = {
            Delivery(queue, raw)
            for queue in QUEUES
            for raw in self.inflight.get(keys.inflight(worker.name, queue), [])
        }
        doubtful = worker.courier.doubtful()
        secret = [
            found for found in there - {*known} if found.queue_key not in doubtful
        ]
        assert not secret, "in flight, and its worker does not know"
        if not worker.exposed:
            assert {*worker.held} <= there, "held, and taken away"

    # -- the end ---------------------------------------------------------------------

    def teardown(self) -> None:
        """All die, one comes and does everything: nothing is left over."""
        if not self.intact:
            return
        self.workers = [self.worker()]
        (last,) = self.workers
        ends = self.leases.read()
        if ends:
            self.leases.renew(dict.fromkeys(ends, self.leases.now_ms() - LONG_AGO))
        last.custody.watch.look()
        while self.client.exists(*QUEUES):
            for queue in QUEUES:
                last.take(queue, 64, None)
            while last.held:
                last.part_with(0, "done", None)
        last.stop(None)
        self.all_is_well()
        assert (self.inflight, self.ends) == ({}, {})
        assert not last.courier.underway()


class Safe:
    """Lists with a living lease, which keeps all rescuers away; and the others."""

    def __init__(self, machine: Protocol) -> None:
        self._machine = machine
        self._client = machine.client
        self.lists: dict[str, list[bytes]] = {}
        self._others: dict[int, int] = {}

    def look(self) -> None:
        """What lies in flight now."""
        leases = self._machine.leases
        ends, now = leases.read(), leases.now_ms()
        for name, end in ends.items():
            raws = self._client.lrange(name, 0, -1)
            if end > now:
                self.lists[name] = raws
            else:
                self._others |= {number_of(raw): attempts_of(raw) for raw in raws}

    def check(self) -> None:
        """The safe ones are untouched; what was rescued is one attempt older."""
        for name, before in self.lists.items():
            assert self._client.lrange(name, 0, -1) == before
        for queue in QUEUES:
            for raw in self._client.lrange(queue, 0, -1):
                attempts = self._others.get(number_of(raw))
                assert attempts is None or attempts_of(raw) == attempts + 1


@pytest.fixture
def observer(redis_url: str) -> Iterator[Any]:
    """A client that is not counted."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, **options) as client:
        yield client


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """The client of all workers, connected and not counted so far."""
    made = connect(redis_url)
    made.ping()
    yield made
    made.connection_pool.disconnect()


def test_every_message_is_in_exactly_one_place(
    client: Any, observer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens in whatever order; at the end nothing is left over."""
    # Small pages, so that a rescuer may die between two of them.
    monkeypatch.setattr(rescue, "PAGE", 3)
    monkeypatch.setattr(moves, "MOST_AT_ONCE", 2)
    run_state_machine_as_test(
        partial(Protocol, client, observer),
        settings=settings(max_examples=200, stateful_step_count=60, deadline=None),
    )
