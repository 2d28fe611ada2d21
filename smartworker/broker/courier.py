"""The courier: brings finished messages back and new ones in, in one round trip."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from smartworker.broker.bells import Bells
from smartworker.broker.envelope import Unreadable, read
from smartworker.broker.lease import Lease
from smartworker.broker.rescue import tell_dead
from smartworker.broker.returns import UNREADABLE, Verdict, again, dead
from smartworker.clock import Clock, system_clock
from smartworker.logs import get_logger
from smartworker.store.client import LOST, ResponseError
from smartworker.store.dead import Facts
from smartworker.store.moves import Move
from smartworker.store.queues import Delivery, Exchange, Queues, Take

log = get_logger(__name__)

#: What stays with a worker that stops: what its pool has, what has run, or nothing.
Keep = Literal["begun", "accepted", "nothing"]
#: Most messages taken in one round trip where the consumer sets no limit.
MOST_AT_ONCE = 64
#: Seconds that an acknowledgement waits for others to travel with it: as long as a
#: round trip takes, but not less and not more than this.
SHORTEST_WAIT, LONGEST_WAIT = 0.002, 0.05


class Consumer(Protocol):
    """What the courier needs to know of a channel."""

    def room(self) -> int | None:
        """How many more messages may come; None for no limit."""

    def receive(self, source: "Source", delivery: Delivery, payload: Any) -> bool:
        """Hand a message over; false if nobody wants it any more."""


@dataclass(frozen=True)
class Source:
    """One queue key that one consumer reads: a priority step of a queue.

    A higher priority and then a lower step is more urgent; `keep` if the consumer
    acknowledges.
    """

    queue_key: str
    queue: str
    step: int
    keep: bool
    consumer: Consumer
    priority: int = 0


def urgency(source: Source) -> tuple[int, int]:
    """What sources are sorted by: the queue's priority, then the message's."""
    return -source.priority, source.step


class Courier:
    """Moves messages; asks the bells where, and the consumers how many."""

    def __init__(
        self,
        queues: Queues,
        bells: Bells,
        sources: Callable[[], Sequence[Source]],
        lease: Lease,
        max_deliveries: int = 5,
        clock: Clock = system_clock,
    ) -> None:
        self.queues = queues
        self.bells = bells
        self._sources = sources
        #: Whether our own pops are heard on the doorbell.
        self.hears_pops = False
        #: Messages handed over so far.
        self.brought = 0
        #: Bells answered too late: somebody else had taken the message.
        self.misled = 0
        #: Called when a message has died.
        self.on_death: Callable[[Facts], None] = tell_dead
        #: Called when messages have come, before anybody works on them: their lease
        #: must be renewed from now on, and a solo pool comes back only when it is done.
        self.on_hold: Callable[[], object] = bool
        #: Others have a try first: what is only a few messages is not asked for.
        self.yields = False
        #: False once the worker stops: only acknowledgements travel then.
        self.taking = True
        #: Seconds in which others may end: as many as the last exchange took.
        self.patience = SHORTEST_WAIT
        self._clock = clock
        self.max_deliveries = max_deliveries
        self._lease = lease
        self._finished: list[Delivery] = []
        # Results of these are stored since then: they wait to be acknowledged.
        self._stored: list[Delivery] = []
        self._stored_at = 0.0
        #: Called with the seconds after which they wait no longer for company.
        self.on_stored: Callable[[float], object] = float
        # On their way to another place: back, or to the dead letters.
        self._leaving: list[tuple[Delivery, Verdict]] = []
        self._arriving: list[Delivery] = []  # taken, and not handed over yet
        # Keys of a take whose answer never came: messages may lie in flight.
        self._doubtful: set[str] = set()
        #: Called with queue keys of which messages may yet come without our knowing.
        self.on_doubt: Callable[[Iterable[str]], object] = set
        # Finished in a round whose answer never came: they may be gone already.
        self._sent_twice: set[Delivery] = set()
        self._one_at_a_time = threading.RLock()
        self._refused = False  # something in the last round

    def finish(self, delivery: Delivery) -> None:
        """The message is done: it leaves the in-flight list with the next round.

        What has a result leaves with a later round than the one that stores it: once
        that is answered, no refusal and no crash loses it. Where there is work the
        acknowledgement goes along with the next results; else it follows by itself, as
        soon as one round trip takes.
        """
        self._finished.append(delivery)

    def refuse(self, delivery: Delivery) -> None:
        """The message goes back to the end of its queue with the next round."""
        verdict = again(delivery.raw, delivery.queue_key, self.max_deliveries)
        self._leaving.append((delivery, verdict))

    def move(self, delivery: Delivery, verdict: Verdict) -> None:
        """The message goes where the verdict says with the next round."""
        self._leaving.append((delivery, verdict))

    def underway(self) -> list[Delivery]:
        """Messages that nobody holds any more, and that are still in flight."""
        leaving = [delivery for delivery, _ in self._leaving]
        return [*self._finished, *self._stored, *leaving, *self._arriving]

    def doubtful(self) -> set[str]:
        """Queue keys of which we may have taken messages without knowing it."""
        return set(self._doubtful)

    def round(self) -> bool:
        """One round trip; false if there was nothing to take."""
        refusal = self._send_back()
        self.probe()
        wishes = self._wishes()
        if wishes or self._finished or self._have_waited():
            self._acknowledge_stored()
            self._settle(self._exchange(wishes), wishes)
        if self._stored:
            self.on_stored(self.patience)
        if refusal is not None:
            raise refusal
        return bool(wishes or self._leaving)

    def probe(self) -> None:
        """After a refusal one of the finished goes ahead: a replica refuses all."""
        if self._refused and self._finished:
            self._settle(self._exchange([], most=1), [])

    def flush(self) -> None:
        """Send what is finished or refused, and take nothing."""
        refusal = self._send_back()
        self._acknowledge_stored()
        while self._finished:
            self._settle(self._exchange([]), [])
            self._acknowledge_stored()
        if refusal is not None:
            raise refusal

    def acknowledge(self) -> None:
        """Send what has no result to be stored: that is what a full server takes.

        The results are tried again with the next round, not each time a task ends.
        """
        self._acknowledge_stored()
        with self._one_at_a_time:
            known = sorted(self._finished, key=lambda done: done.result is not None)
            self._finished[: len(known)] = known
            if plain := sum(done.result is None for done in known):
                self._exchange([], most=plain)

    def _have_waited(self) -> bool:
        waited = self._clock.monotonic() - self._stored_at
        return bool(self._stored) and waited >= self.patience

    def _acknowledge_stored(self) -> None:
        with self._one_at_a_time:
            self._finished += self._stored
            self._stored.clear()

    def _send_back(self) -> ResponseError | None:
        """Stops at a refusal: a full server still takes acknowledgements."""
        with self._one_at_a_time:
            while self._leaving:
                delivery, verdict = self._leaving[0]
                try:
                    gone = self.queues.move(delivery.queue_key, [verdict.move])[0]
                except ResponseError as error:
                    return error
                except LOST:
                    self._sent_twice.add(delivery)
                    raise
                self._leaving.pop(0)
                self._note(delivery, gone)
                if gone and verdict.facts is not None:
                    self.on_death(verdict.facts)
        return None

    def _note(self, delivery: Delivery, gone: bool) -> None:
        """An answer about a message that left."""
        if not gone and delivery not in self._sent_twice:
            log.warning("delivery_lost", queue=delivery.queue_key)
            # Somebody took it for dead, or the server lost it: so may be the lease.
            self._lease.forget()
        self._sent_twice.discard(delivery)

    def missing(self, held: Iterable[Delivery]) -> list[Delivery]:
        """What the server moved in a take whose answer was lost. 1 command per key."""
        if not self._doubtful:
            return []
        known = [*held, *self.underway()]
        found = self.queues.unheld(self._doubtful, known)
        self.on_doubt(self._doubtful)
        self._doubtful.clear()
        return found

    def adopt(self, deliveries: Sequence[Delivery]) -> None:
        """Hand over messages that are in flight already."""
        if deliveries:
            self.on_hold()
        by_key = {source.queue_key: source for source in self._sources()}
        _all(
            lambda found: self.hand_over(by_key.get(found.queue_key), found),
            deliveries,
        )

    def give_back(self, deliveries: list[Delivery]) -> None:
        """Return messages not started, after finishing what is finished."""
        self.flush()
        self.queues.give_back(deliveries)
        for key, count in Counter(d.queue_key for d in deliveries).items():
            log.info("messages_given_back", queue=key, count=count)

    def try_again(self, deliveries: Iterable[Delivery]) -> None:
        """These did not go back, or nobody knows it: again with the next round."""
        for delivery in deliveries:
            self._sent_twice.add(delivery)
            self._return(delivery)

    def take_one(self, source: Source) -> Delivery | None:
        """One message of one source, or None. 1 command."""
        self.flush()
        exchange = self._exchange([source])
        if exchange.error is not None:
            raise exchange.error
        return exchange.taken[0]

    def _wishes(self) -> list[Source]:
        chosen: list[Source] = []
        if not (self.taking and self.bells.any) or (self.yields and self.bells.few):
            return chosen
        for consumer, sources in _by_consumer(self._sources()):
            room = consumer.room()
            left = MOST_AT_ONCE if room is None else room
            for _, group in itertools.groupby(sources, key=urgency):
                by_key = {source.queue_key: source for source in group}
                wishes = self.bells.wishes(list(by_key), left)
                chosen += [by_key[key] for key in wishes]
                left -= len(wishes)
                if any(map(self.bells.unknown, by_key)):
                    break  # the less urgent wait until these are known to be empty
        return chosen

    def _exchange(self, wishes: Sequence[Source], most: int | None = None) -> Exchange:
        """One round trip; at `most` so many acknowledgements go along."""
        takes = [Take(source.queue_key, source.keep) for source in wishes]
        kept = {take.queue_key for take in takes if take.keep}
        # While a worker stops, several threads acknowledge; each may append meanwhile.
        with self._one_at_a_time:
            sent = tuple(self._finished[:most])
            leases = self._lease.entries(kept)
            begun = self._clock.monotonic()
            try:
                exchange = self.queues.exchange(sent, takes, leases)
            except LOST:
                self._doubtful |= kept
                self.on_hold()
                self._sent_twice.update(done for done in sent if not done.result)
                raise
            took = self._clock.monotonic() - begun
            self.patience = min(max(took, SHORTEST_WAIT), LONGEST_WAIT)
            self._finished[: len(sent)] = self._answered(sent, exchange)
        if leases and exchange.leased:
            self._lease.recorded(leases)
        if self._stored:
            self.on_stored(self.patience)
        # Told without the lock: whoever is told may wait for the server.
        for result, error in exchange.denied:
            result.deny(error)
        return exchange

    def _answered(self, sent: Sequence[Delivery], exchange: Exchange) -> list[Delivery]:
        """Book the answers; what must be finished again."""
        again: list[Delivery] = []
        self._stored_at = self._clock.monotonic()
        for delivery, gone in zip(sent, exchange.removed, strict=True):
            if gone is None:
                again.append(delivery)
            elif delivery.result is None:
                self._note(delivery, gone)
            else:
                self._stored.append(replace(delivery, result=None))
        return again

    def _settle(self, exchange: Exchange, wishes: Sequence[Source]) -> None:
        brought = list(zip(wishes, exchange.taken, strict=True))
        for source in dict.fromkeys(wishes):
            mine = [delivery for wish, delivery in brought if wish is source]
            got = sum(delivery is not None for delivery in mine)
            self.misled += self.bells.answered(
                source.queue_key, len(mine), got, echo=self.hears_pops
            )
        self._deliver([(source, found) for source, found in brought if found])
        self._refused = exchange.error is not None
        if exchange.error is not None:
            raise exchange.error

    def _deliver(self, arrived: list[tuple[Source, Delivery]]) -> None:
        """Hand over what has come; a solo pool runs each message while it is here.

        So the worker may be told to stop in between, and the rest goes back then; and
        what is done is acknowledged before the next one runs.
        """
        if not arrived:
            return
        self._arriving = [found for source, found in arrived if source.keep]
        if self._arriving:
            self.on_hold()

        def pass_on(pair: tuple[Source, Delivery]) -> None:
            source, found = pair
            if source.keep:
                self._arriving.remove(found)
            if self.taking or not source.keep:
                self.hand_over(source, found)
            else:
                self._return(found)
            if self._finished and self._arriving:
                self._settle(self._exchange([]), [])

        _all(pass_on, arrived)

    def hand_over(self, source: Source | None, delivery: Delivery) -> None:
        """Read a message and give it to its consumer.

        What cannot be read goes to the dead letters, and a message whose consumer has
        gone back to its queue. Nothing is thrown away that its sender wants kept.
        """
        if source is None:
            self._return(delivery)
            return
        try:
            payload = read(delivery.raw)
            if source.consumer.receive(source, delivery, payload):
                self.brought += 1
            elif source.keep:
                self._return(delivery)
        except Unreadable as error:
            verdict = dead(delivery.raw, delivery.queue_key, UNREADABLE, str(error))
            if source.keep:
                self._leaving.append((delivery, verdict))
            elif verdict.facts is not None:
                tell_dead(verdict.facts)

    def _return(self, delivery: Delivery) -> None:
        back = Move(delivery.raw, "front", delivery.raw)
        # The last one first: each goes in front of those before it.
        self._leaving.insert(0, (delivery, Verdict(back)))


def _by_consumer(sources: Sequence[Source]) -> list[tuple[Consumer, list[Source]]]:
    order = sorted(sources, key=lambda source: id(source.consumer))
    grouped = itertools.groupby(order, key=lambda source: source.consumer)
    return [(consumer, list(found)) for consumer, found in grouped]


def _all(act: Callable[[Any], None], items: Iterable[Any]) -> None:
    """Act on every item; the first error is raised after the last item."""
    first: Exception | None = None
    for item in items:
        try:
            act(item)
        except Exception as error:
            first = first or error
    if first is not None:
        raise first
