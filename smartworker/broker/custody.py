"""Custody: the messages of one worker that are in flight, and all that keeps them safe.

Brings together the courier, who moves them; the lease, which makes them ours; the
strangers, whom nobody here knows; and the watch over what others hold.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from smartworker.broker.adoption import Adopter
from smartworker.broker.bells import Bells
from smartworker.broker.courier import Courier, Source
from smartworker.broker.doubts import Doubts
from smartworker.broker.keeper import Keeper, KeeperOf
from smartworker.broker.lease import Lease
from smartworker.broker.rescue import Rescuer, tell_dead
from smartworker.broker.returns import stranger
from smartworker.broker.strangers import Strangers
from smartworker.broker.watch import Watch
from smartworker.clock import Clock
from smartworker.logs import get_logger
from smartworker.store.client import LOST, TIMED_OUT, RedisError
from smartworker.store.dead import DeadLetters, Facts
from smartworker.store.leases import Leases
from smartworker.store.queues import Delivery, Queues

log = get_logger(__name__)

#: Seconds between two rounds of chores at least.
SHORTEST_REST = 0.1
#: Seconds for which a silent server is not asked again while the worker stops.
SILENCE = 10.0


class Custody:
    """Made with the first channel that consumes or acknowledges."""

    def __init__(
        self,
        channel: Any,
        client: Any,
        worker: str,
        max_deliveries: int,
        clock: Clock,
        sources: Callable[[], Sequence[Source]],
        held: Callable[[], list[Delivery]],
        keeper: KeeperOf = Keeper,
    ) -> None:
        prefix = channel.global_keyprefix
        leases = Leases(client, prefix)
        self._clock = clock
        self._held = held
        self._dead = DeadLetters(client, prefix)
        self.strangers = Strangers(clock)
        self.lease = Lease(leases, worker, prefix, clock, self.queue_keys)
        self._keeper = keeper(self.lease.beat, clock)
        self.watch = Watch(
            self.lease,
            leases,
            Rescuer(client, prefix, max_deliveries, self._died),
            Adopter(channel, client, max_deliveries, self._died),
            clock,
        )
        self.courier = Courier(
            Queues(client, worker, prefix),
            Bells(),
            sources,
            self.lease,
            max_deliveries,
            clock,
        )
        self.courier.on_death = self._died
        self.doubts = Doubts(clock)
        self.courier.on_doubt = self.doubts.add
        self.courier.on_hold = self._keeper.wake
        #: Called with the facts of each message that died.
        self.on_death: Callable[[Facts], None] = _nothing
        # The server fell silent while the worker stops: one time-out is enough for a
        # while, on the monotonic clock.
        self._silent_until = 0.0

    def in_flight(self) -> list[Delivery]:
        """Everything of ours that must not be taken for a dead worker's."""
        return [*self._held(), *self.strangers.held(), *self.courier.underway()]

    def queue_keys(self) -> set[str]:
        """The queue keys of what is in flight; any thread may ask."""
        known = {delivery.queue_key for delivery in self.in_flight()}
        return known | self.courier.doubtful() | self.doubts.keys()

    def hold_back(self, delivery: Delivery) -> None:
        """Nobody here knows the task of this message; somebody else may."""
        verdict, seconds = stranger(delivery.raw, delivery.queue_key)
        if verdict.facts is None:
            log.warning(
                "message_held_back",
                queue=delivery.queue_key,
                seconds=seconds,
                times=verdict.attempts,
            )
        self.strangers.hold(delivery, verdict, seconds)
        self._keeper.wake()

    def queues_wait(self, queue_keys: list[str]) -> bool:
        """Whether a queue holds messages; looks after dead workers on the way.

        1 command; none without keys.
        """
        if not queue_keys:
            return False
        watch, weight = self.watch, len(queue_keys) + 1
        found = self.courier.queues.waiting([*queue_keys, *watch.keys(weight)])
        return watch.explain(found, weight) > 0

    # -- what is due now and then ------------------------------------------------------

    def chores(self) -> None:
        """Do what is due; no command if nothing is."""
        for delivery, verdict in self.strangers.leave():
            if verdict.facts is None:
                self.courier.bells.leave_to_others(delivery.queue_key)
                self.strangers.offer(delivery.queue_key)
            self.courier.move(delivery, verdict)
        for queue_key in self.strangers.unwanted():
            self.courier.bells.look_into(queue_key)
        if self.doubts.left() == 0:
            self._look_again()
        if self.lease.idle_in() == 0:
            self.lease.drop()
        if self.watch.left() == 0:
            self.watch.look()

    def chores_in(self) -> float | None:
        """Seconds until something is due; None if nothing will be."""
        waits = [
            *(self.strangers.left(), self.doubts.left()),
            *(self.lease.idle_in(), self.watch.left()),
        ]
        known = [wait for wait in waits if wait is not None]
        return max(min(known), SHORTEST_REST) if known else None

    def _look_again(self) -> None:
        """Hand over what was taken behind our back. 1 command per queue key."""
        keys = self.doubts.keys()
        found = self.courier.queues.unheld(keys, self.in_flight())
        self.doubts.looked()
        self.courier.adopt(found)

    def _died(self, facts: Facts) -> None:
        tell_dead(facts)
        self.on_death(facts)
        self._dead.trim(
            self._clock.now(),
            lambda count, why: log.warning(
                "dead_letters_dropped", count=count, bound=why
            ),
        )

    # -- the end -----------------------------------------------------------------------

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Return messages to their queues.

        Never raises what the server answers: the worker is on its way out. What was
        refused stays in flight, with its lease, and is tried again while there is time.
        """
        try:
            if self._clock.monotonic() < self._silent_until:
                raise ConnectionError("the server has just been silent")
            self.courier.give_back([*deliveries])
        except (*LOST, RedisError) as error:
            if isinstance(error, TIMED_OUT):
                self._silent_until = self._clock.monotonic() + SILENCE
            self.courier.try_again(deliveries)
            if self.courier.underway():
                log.error(
                    "give_back_failed",
                    count=len(self.courier.underway()),
                    error=str(error)[:200],
                )

    def leave(self) -> None:
        """The worker ends: return what waits here, and end the lease.

        At most 1 command where nothing is left to return.
        """
        waiting = [delivery for delivery, _ in self.strangers.leave(all_of_them=True)]
        self.give_back(waiting)
        self._keeper.close()
        if self._clock.monotonic() >= self._silent_until:
            with suppress(*LOST, RedisError):
                self.lease.give_up()


def _nothing(facts: Facts) -> None:
    """Nobody asked to hear of deaths."""
