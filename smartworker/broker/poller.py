"""The poller: when to look, when to take, and how to come back from an outage.

kombu calls it the cycle of a transport. It runs from Celery's event loop
(`attach`) or is asked by kombu's `drain_events` (`get`).
"""

import random
import selectors
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty
from typing import Any
from uuid import uuid4

from smartworker.broker.courier import Courier, Keep, Source
from smartworker.broker.custody import Custody
from smartworker.broker.doorbell import ANSWER_WITHIN
from smartworker.broker.healer import Healer
from smartworker.broker.keeper import Keeper, KeeperOf
from smartworker.broker.loop import Alarm, Loop
from smartworker.broker.outage import Outage
from smartworker.broker.pace import Pace
from smartworker.broker.porter import Porter
from smartworker.broker.returns import Verdict
from smartworker.broker.timing import Timing
from smartworker.clock import Clock, system_clock
from smartworker.store.client import LOST, RedisError
from smartworker.store.queues import Delivery
from smartworker.store.refusals import FULL

#: Without a doorbell nor a loop, somebody waits in `get`: look each second.
IMPATIENT = 1.0


class Poller:
    """Drives the channels of one connection."""

    # kombu's channels look at these two when they cancel a consumer.
    _in_protected_read = False

    def __init__(
        self,
        transport: Any,
        interval: float | None = None,
        *,
        clock: Clock = system_clock,
        rng: random.Random | None = None,
    ) -> None:
        self.after_read: set[Callable[[], None]] = set()
        #: Names the in-flight lists; fresh for each connection of each process.
        self.worker = uuid4().hex
        self._rng = rng or random.SystemRandom()
        self.pace = Pace(interval, clock, self._rng)
        self._porter = Porter(transport, self._rung)
        self.hearing = self._porter.hearing
        self._doorbell = self._porter.doorbell
        self._transport = transport
        #: How leases are kept alive: by a thread, in tests by the loop.
        self.keeper: KeeperOf = Keeper
        self._clock = clock
        self._channels: list[Any] = []
        self._loop: Loop | None = None
        self._custody: Custody | None = None
        self._next_poll = Alarm(self._on_timer, clock)
        self._next_chores = Alarm(self._on_chores, clock)
        self._healer = Healer(clock, self._heal, self.pace.current, self.pace.tell)
        self._changed = True
        #: When rounds are made that are not made at once.
        self.timing = Timing(self._work, clock, self._rng)
        self._timers = self._next_poll, self._next_chores, self.timing
        #: Called once, when the doorbell is confirmed and the first look was made.
        self.on_ready: Callable[[], None] = lambda: None

    # -- asked by our channels -----------------------------------------------------

    def add(self, channel: Any) -> None:
        """A channel was opened."""
        self._channels.append(channel)

    def discard(self, channel: Any) -> None:
        """A channel is being closed."""
        if channel in self._channels:
            self._channels.remove(channel)
        self.changed()

    def changed(self) -> None:
        """Consumers came or went: the subscriptions must follow."""
        self._changed = True
        self.wake()

    def finish(self, delivery: Delivery) -> None:
        """A held message is done: sent at once, or with others that end soon."""
        self.courier.finish(delivery)
        self._soon()

    def refuse(self, delivery: Delivery) -> None:
        """A held message goes back to the end of its queue, one attempt older."""
        self.courier.refuse(delivery)
        self._soon()

    def move(self, delivery: Delivery, verdict: Verdict) -> None:
        """A held message goes where the verdict says."""
        self.courier.move(delivery, verdict)
        self._soon()

    def hold_back(self, delivery: Delivery) -> None:
        """A held message waits for a worker that knows its task."""
        self.custody.hold_back(delivery)
        self._next_chores.set(self.custody.chores_in())
        self._soon()

    def _soon(self) -> None:
        if self.timing.gathers(self._channels):
            self.timing.within(self.courier.patience)
        elif self._loop is not None:
            self.wake()
        elif self._healer.closed:
            self.give_back([])
        else:
            self.courier.flush()

    def give_back(self, deliveries: list[Delivery]) -> None:
        """Return messages that were not finished, and send what waits to be sent."""
        if self._custody is not None:
            self._custody.give_back(deliveries)

    def held(self) -> list[Delivery]:
        """The messages taken and not finished."""
        return [delivery for c in list(self._channels) for delivery in c.held()]

    @property
    def custody(self) -> Custody:
        """What keeps our messages safe, made when the first channel needs it."""
        if self._custody is None:
            channel = self._channels[0]
            self._custody = Custody(
                channel,
                self._transport.plain_client(channel),
                self.worker,
                self._transport.max_deliveries,
                self._clock,
                self._sources,
                self.held,
                self.keeper,
            )
            self._custody.courier.on_stored = self.timing.within
        return self._custody

    @property
    def courier(self) -> Courier:
        """Who moves our messages."""
        return self.custody.courier

    # -- asked by Celery -------------------------------------------------------------

    def attach(self, hub: Any) -> None:
        """Run from this event loop from now on."""
        if self._loop is not None:
            self._loop.close()
        self._loop = Loop(hub, self._work)
        for part in (*self._timers, self._healer, self._porter):
            part.loop = self._loop
        self._loop.wake()

    @property
    def in_loop(self) -> bool:
        """Whether a loop brings the acknowledgements."""
        return self._loop is not None

    def wake(self) -> None:
        """Have the loop see what there is to do; safe from threads and signals."""
        if self._loop is not None:
            self._loop.wake()

    def set_interval(self, seconds: float) -> None:
        """Poll each `seconds` from now on, at once; only from the loop's thread."""
        self.pace.set_interval(seconds)
        if self.pace.last is not None and self.outage is None:
            self._next_poll.set(self.pace.left())

    def set_lease(self, seconds: float) -> None:
        """Hold messages for so long without a sign of life."""
        self.custody.lease.length = seconds

    @property
    def outage(self) -> Outage | None:
        """The trouble that goes on now."""
        return self._healer.outage

    @property
    def state(self) -> str:
        """`connected`, `starting`, or the kind of trouble, such as `lost`."""
        well = "starting" if self.pace.last is None else "connected"
        return well if self.outage is None else self.outage.refusal.kind

    def stop_taking(self) -> None:
        """Take no message any more; safe from a signal handler."""
        if self._custody is not None:
            self._custody.courier.taking = False
        self.wake()

    def return_not_begun(self, keep: Keep = "begun") -> None:
        """Give back what is not to be kept, in order, and leave the loop.

        What finishes from now on is acknowledged as soon as it is told.
        """
        self.stop_taking()
        self.close()
        for channel in list(self._channels):
            channel.return_not_begun(keep)
        self.give_back([])  # what had ended was about to be sent

    def leave(self) -> None:
        """The channels are closed: end the lease."""
        if self._custody is not None:
            self._custody.leave()

    def close(self) -> None:
        """Stop looking. Acknowledging and giving back still work."""
        self._healer.closed = True
        self._hang_up()
        for timer in self._timers:
            timer.leave()
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()

    def get(self, callback: Any, timeout: float | None = None) -> None:
        """Wait for messages without an event loop, and hand them over.

        Seconds; raises Empty when nothing came, and what the server raises.
        """
        if not self._channels:
            raise Empty
        try:
            before = self.courier.brought
            self._prepare()
            self.custody.chores()
            self._bring()
            if self.courier.brought == before:
                self._wait(timeout)
        except (*LOST, RedisError):
            self._hang_up()
            raise
        finally:
            while self.after_read:
                self.after_read.pop()()
        if self.courier.brought == before:
            raise Empty

    def _wait(self, timeout: float | None) -> None:
        pause = self.pace.left()
        if self.hearing.mode == "off":
            pause = min(pause, IMPATIENT)
        if timeout is not None:
            pause = min(pause, timeout)
        if self._rings_within(pause):
            self._hear()
        elif self.hearing.mode == "off" or not self.pace.left():
            self._poll()
        self._bring()

    def _rings_within(self, seconds: float) -> bool:
        if not self._doorbell.connected:
            # select() of Windows refuses to wait for no socket at all.
            self._clock.wait(threading.Event(), seconds)
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(self._doorbell, selectors.EVENT_READ)
            return bool(selector.select(seconds))

    # -- the work --------------------------------------------------------------------

    def _work(self) -> None:
        """All that there is to do now; the one way in from the loop."""
        if self.outage is not None and self.outage.refusal is FULL:
            # A full server still takes acknowledgements, and is emptied by them.
            with suppress(*LOST, RedisError):
                self.courier.acknowledge()
        self._healer.guarded(self._prepare)
        self._healer.guarded(self._bring)

    def _sources(self) -> list[Source]:
        return [source for channel in self._channels for source in channel.sources()]

    def _prepare(self) -> None:
        """Make the subscriptions fit the consumers, then look once."""
        if not self._changed:
            return
        self._changed = False
        if not any(c.active_queues or c.active_fanout_queues for c in self._channels):
            return
        keys = [source.queue_key for source in self._sources()]
        topics = [topic for c in self._channels for topic in c.fanout_topics()]
        self._porter.subscribe(self._channels[0], keys, topics)
        self.courier.hears_pops = self.hearing.mode == "keyspace"
        # Confirmed first, looked at second: whatever is pushed in between rings.
        self._poll()
        ready, self.on_ready = self.on_ready, lambda: None
        ready()

    def _bring(self) -> None:
        """Acknowledge what is done and take what is wanted."""
        self._hear()  # what others took meanwhile is not asked for
        self.courier.yields = self.timing.tries_later
        brought, misled = self.courier.brought, self.courier.misled
        try:
            while self.courier.round():
                # What was just taken has rung, and a queue that ran empty said so.
                self._hear()
        finally:
            if not self._next_chores.armed:
                self._next_chores.set(self.custody.chores_in())
        if self.courier.misled != misled:
            self.hearing.came_too_late()
        if self.courier.brought != brought:
            self.hearing.came_in_time()
            self.pace.alert(deaf=self.hearing.mode == "off")
            if self.hearing.mode == "off":
                self._next_poll.set(self.pace.left())

    def _rung(self) -> None:
        """The doorbell can be read."""
        if self._healer.outage is not None:
            self._healer.overhear(self._hear, self._hang_up)
            return
        self._healer.guarded(self._hear)
        if self.timing.answers(self.hearing, self.courier.bells, self._channels):
            self._work()

    def _hear(self) -> bool:
        """Book what was heard; whether somebody pushed a message."""
        before = self.courier.bells.pushes
        for ring in self._porter.hear(self.courier.bells):
            for channel in list(self._channels):
                for source in channel.broadcast_sources(ring.channel):
                    self.courier.hand_over(source, Delivery(ring.channel, ring.data))
        return self.courier.bells.pushes != before

    def _poll(self) -> None:
        """Look into all queues with one command; prove the doorbell end to end."""
        keys = [source.queue_key for source in self._sources()]
        found = self.custody.queues_wait(keys)
        self._next_chores.set(self.custody.chores_in())
        self.pace.polled(deaf=self.hearing.mode == "off")
        if found:
            if self._doorbell.connected and not self.courier.bells.any:
                # Nobody rang for these: the server may have lost its flags.
                self._porter.find_mode(self._channels[0])
            self.courier.bells.look_everywhere(keys)
        for channel in self._channels:
            channel.maybe_refresh_binding_expiry()
        question = self._doorbell.ping()
        if question and self._loop is not None:
            self._loop.later(ANSWER_WITHIN, partial(self._check_answer, question))
        self._next_poll.set(self.pace.left())

    def _check_answer(self, question: int) -> None:
        self._rung()  # the answer may not be all that there is to hear
        self._healer.guarded(partial(self._porter.check, question))

    def _on_timer(self) -> None:
        if self.pace.left() > 0:
            # Fired a hair early: without a new timer this poll would be lost.
            self._next_poll.set(self.pace.left())
        else:
            self._healer.guarded(self._poll)
            self._work()

    def _on_chores(self) -> None:
        self._healer.guarded(self.custody.chores)
        self._work()

    # -- outages ---------------------------------------------------------------------

    def _heal(self, outage: Outage) -> int:
        """Connect and look again; how many messages were read back."""
        if outage.lost:
            self._hang_up()
            self._transport.disconnect_pool()
        if outage.attempts and outage.lost:
            # The server may have forgotten our lease, and all others theirs.
            self.custody.lease.forget()
            self.custody.watch.postpone()
        self.courier.probe()
        self._changed = True  # look again: what was refused counts as empty
        self._prepare()
        found = self.courier.missing([*self.held(), *self.custody.strangers.held()])
        self.courier.adopt(found)
        self._bring()
        return len(found)

    def _hang_up(self) -> None:
        self._changed = True
        self._porter.hang_up()
