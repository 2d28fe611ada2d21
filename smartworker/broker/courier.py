"""The courier: brings finished messages back and new ones in, in one round trip."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from smartworker.broker.bells import Bells
from smartworker.broker.envelope import Unreadable, attempted, read
from smartworker.logs import get_logger
from smartworker.store.client import LOST, ResponseError
from smartworker.store.queues import Delivery, Exchange, Queues, Take

log = get_logger(__name__)

#: Most messages taken in one round trip where the consumer sets no limit.
MOST_AT_ONCE = 64


class Consumer(Protocol):
    """What the courier needs to know of a channel."""

    def room(self) -> int | None:
        """How many more messages may come; None for no limit."""

    def receive(self, source: "Source", delivery: Delivery, payload: Any) -> None:
        """Hand a message over."""


@dataclass(frozen=True)
class Source:
    """One queue key that one consumer reads: a priority step of a queue.

    A lower step is more urgent; `keep` if the consumer acknowledges.
    """

    queue_key: str
    queue: str
    step: int
    keep: bool
    consumer: Consumer


class Courier:
    """Moves messages; asks the bells where, and the consumers how many."""

    def __init__(
        self,
        queues: Queues,
        bells: Bells,
        sources: Callable[[], Sequence[Source]],
        max_deliveries: int = 5,
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
        self._finished: list[Delivery] = []
        self._refused: list[Delivery] = []
        # They stay in flight: unreadable, or refused too often.
        self._parked: list[Delivery] = []
        self.max_deliveries = max_deliveries
        # Keys of a take whose answer never came: messages may lie in flight.
        self._doubtful: set[str] = set()
        # Finished in a round whose answer never came: they may be gone already.
        self._sent_twice: set[Delivery] = set()

    def finish(self, delivery: Delivery) -> None:
        """The message is done: it leaves the in-flight list with the next round."""
        self._finished.append(delivery)

    def refuse(self, delivery: Delivery) -> None:
        """The message goes back to the end of its queue with the next round."""
        self._refused.append(delivery)

    def round(self) -> bool:
        """One round trip; false if there was nothing to take."""
        refusal = self._send_back()
        wishes = self._wishes()
        if wishes or self._finished:
            self._settle(self._exchange(wishes), wishes)
        if refusal is not None:
            raise refusal
        return bool(wishes)

    def flush(self) -> None:
        """Send what is finished or refused, and take nothing."""
        refusal = self._send_back()
        if self._finished:
            self._settle(self._exchange([]), [])
        if refusal is not None:
            raise refusal

    def _send_back(self) -> ResponseError | None:
        """Stops at a refusal: a full server still takes acknowledgements."""
        while self._refused:
            delivery = self._refused[0]
            again = attempted(delivery.raw)
            if again.attempts >= self.max_deliveries:
                self._parked.append(delivery)
                log.error(
                    "message_parked",
                    queue=delivery.queue_key,
                    attempts=again.attempts,
                    task_id=again.task_id,
                    task=again.task,
                )
            else:
                try:
                    self.queues.replace(delivery, again.raw)
                except ResponseError as error:
                    return error
            self._refused.pop(0)
        return None

    def missing(self, held: Iterable[Delivery]) -> list[Delivery]:
        """What the server moved in a take whose answer was lost. 1 command per key."""
        if not self._doubtful:
            return []
        known = [*held, *self._finished, *self._refused, *self._parked]
        found = self.queues.unheld(self._doubtful, known)
        self._doubtful.clear()
        return found

    def adopt(self, deliveries: Sequence[Delivery]) -> None:
        """Hand over messages that are in flight already."""
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

    def take_one(self, source: Source) -> Delivery | None:
        """One message of one source, or None. 1 command."""
        self.flush()
        exchange = self._exchange([source])
        if exchange.error is not None:
            raise exchange.error
        return exchange.taken[0]

    def _wishes(self) -> list[Source]:
        chosen: list[Source] = []
        if not self.bells.any:
            return chosen
        for consumer, sources in _by_consumer(self._sources()):
            room = consumer.room()
            left = MOST_AT_ONCE if room is None else room
            for _, group in itertools.groupby(sources, key=lambda source: source.step):
                by_key = {source.queue_key: source for source in group}
                wishes = self.bells.wishes(list(by_key), left)
                chosen += [by_key[key] for key in wishes]
                left -= len(wishes)
                if any(map(self.bells.unknown, by_key)):
                    break  # the less urgent wait until these are known to be empty
        return chosen

    def _exchange(self, wishes: Sequence[Source]) -> Exchange:
        takes = [Take(source.queue_key, source.keep) for source in wishes]
        try:
            return self.queues.exchange(tuple(self._finished), takes)
        except LOST:
            self._doubtful |= {take.queue_key for take in takes if take.keep}
            self._sent_twice.update(self._finished)
            raise

    def _settle(self, exchange: Exchange, wishes: Sequence[Source]) -> None:
        answers = list(zip(self._finished, exchange.removed, strict=True))
        self._finished = [delivery for delivery, gone in answers if gone is None]
        for delivery, gone in answers:
            if gone is False and delivery not in self._sent_twice:
                log.warning("delivery_lost", queue=delivery.queue_key)
        self._sent_twice.intersection_update(self._finished)
        brought = list(zip(wishes, exchange.taken, strict=True))
        for source in dict.fromkeys(wishes):
            mine = [delivery for wish, delivery in brought if wish is source]
            got = sum(delivery is not None for delivery in mine)
            self.misled += self.bells.answered(
                source.queue_key, len(mine), got, echo=self.hears_pops
            )
        _all(
            lambda pair: self.hand_over(*pair),
            [(source, found) for source, found in brought if found is not None],
        )
        if exchange.error is not None:
            raise exchange.error

    def hand_over(self, source: Source | None, delivery: Delivery) -> None:
        """Read a message and give it to its consumer.

        What cannot be read stays in flight, and so does a message whose consumer
        has gone; nothing is thrown away.
        """
        if source is None:
            return
        try:
            payload = read(delivery.raw)
            source.consumer.receive(source, delivery, payload)
        except Unreadable as error:
            if source.keep:
                self._parked.append(delivery)
            log.error(
                "message_unreadable",
                queue=delivery.queue_key,
                error=str(error)[:200],
                size=len(delivery.raw),
            )
        else:
            self.brought += 1


def _by_consumer(
    sources: Sequence[Source],
) -> list[tuple[Consumer, list[Source]]]:
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
