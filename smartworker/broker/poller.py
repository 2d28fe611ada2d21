"""The poller: when to look, when to take, and how to come back from an outage.

kombu calls it the cycle of a transport. It runs from Celery's event loop
(`attach`) or is asked by kombu's `drain_events` (`get`).
"""

import random
import selectors
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty
from typing import Any
from uuid import uuid4

from smartworker.backoff import pauses
from smartworker.broker.bells import Bells
from smartworker.broker.courier import Courier, Source
from smartworker.broker.doorbell import ANSWER_WITHIN, Doorbell
from smartworker.broker.hearing import Hearing
from smartworker.broker.loop import Loop
from smartworker.broker.outage import Outage
from smartworker.broker.pace import Pace
from smartworker.clock import Clock, system_clock
from smartworker.logs import get_logger
from smartworker.store.client import LOST, RedisError
from smartworker.store.queues import Delivery, Queues

log = get_logger(__name__)

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
        self.hearing = Hearing()
        self._transport = transport
        self._clock = clock
        self._channels: list[Any] = []
        self._loop: Loop | None = None
        self._cancel_timer: Callable[[], None] = _nothing
        self._courier: Courier | None = None
        self._doorbell = Doorbell()
        self._watched: int | None = None
        self._outage: Outage | None = None
        self._changed = True
        self._closed = False
        #: Called once, when the doorbell is confirmed and the first look was made.
        self.on_ready: Callable[[], None] = _nothing

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
        """A held message is done: sent at once, with others of the same moment."""
        self.courier.finish(delivery)
        self._soon()

    def refuse(self, delivery: Delivery) -> None:
        """A held message goes back to the end of its queue, one attempt older."""
        self.courier.refuse(delivery)
        self._soon()

    def _soon(self) -> None:
        if self._loop is not None:
            self.wake()
        else:
            self.courier.flush()

    def flush(self) -> None:
        """Send the acknowledgements that wait, now."""
        if self._courier is not None:
            self._courier.flush()

    def held(self) -> list[Delivery]:
        """The messages taken and not finished."""
        return [delivery for c in self._channels for delivery in c.held()]

    @property
    def courier(self) -> Courier:
        """The courier, made when the first channel needs it."""
        if self._courier is None:
            channel = self._channels[0]
            client = self._transport.plain_client(channel)
            queues = Queues(client, self.worker, channel.global_keyprefix)
            self._courier = Courier(
                queues, Bells(), self._sources, self._transport.max_deliveries
            )
        return self._courier

    # -- asked by Celery -------------------------------------------------------------

    def attach(self, hub: Any) -> None:
        """Run from this event loop from now on."""
        if self._loop is not None:
            self._loop.close()
        self._loop = Loop(hub, self._work)
        self._loop.wake()

    def wake(self) -> None:
        """Have the loop see what there is to do; safe from threads and signals."""
        if self._loop is not None:
            self._loop.wake()

    def set_interval(self, seconds: float) -> None:
        """Poll each `seconds` from now on, beginning at once.

        Only from the loop's own thread.
        """
        self.pace.set_interval(seconds)
        if self._courier is not None and self._outage is None:
            self._arm()

    @property
    def state(self) -> str:
        """`connected`, `away`, or `starting`."""
        if self._outage is not None:
            return "away"
        return "starting" if self.pace.last is None else "connected"

    def close(self) -> None:
        """Stop looking. Acknowledging and giving back still work."""
        self._closed = True
        self._cancel_timer()
        self._hang_up()
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()

    def get(self, callback: Any, timeout: float | None = None) -> None:
        """Wait for messages without an event loop, and hand them over.

        Seconds; raises Empty when they are over or nothing came, and whatever the
        server raises: kombu reconnects.
        """
        if not self._channels:
            raise Empty
        try:
            before = self.courier.brought
            self._prepare()
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
        with selectors.DefaultSelector() as selector:
            if self._doorbell.connected:
                selector.register(self._doorbell, selectors.EVENT_READ)
            rung = selector.select(pause)
        if rung:
            self._hear()
        elif self.hearing.mode == "off" or not self.pace.left():
            self._poll()
        self._bring()

    # -- the work --------------------------------------------------------------------

    def _work(self) -> None:
        """All that there is to do now; the one way in from the loop."""
        self._guarded(self._prepare)
        self._guarded(self._bring)

    def _sources(self) -> list[Source]:
        return [source for channel in self._channels for source in channel.sources()]

    def _prepare(self) -> None:
        """Make the subscriptions fit the consumers, then look once."""
        if not self._changed:
            return
        self._changed = False
        if not any(c.active_queues or c.active_fanout_queues for c in self._channels):
            return
        self._subscribe()
        # Confirmed first, looked at second: whatever is pushed in between rings.
        self._poll()
        ready, self.on_ready = self.on_ready, _nothing
        ready()

    def _subscribe(self) -> None:
        channel = self._channels[0]
        if not self._doorbell.connected:
            self.hearing.find_mode(self._transport, channel)
        keys = [source.queue_key for source in self._sources()]
        topics = [topic for c in self._channels for topic in c.fanout_topics()]
        self._doorbell.subscribe(
            self._transport.pool_for(channel), self.hearing.channels(keys), topics
        )
        self.courier.hears_pops = self.hearing.mode == "keyspace"
        if self._loop and self._doorbell.connected and self._watched is None:
            self._watched = self._doorbell.fileno()
            self._loop.watch(self._watched, self._rung)

    def _bring(self) -> None:
        """Acknowledge what is done and take what is wanted."""
        if self._doorbell.heard_early:
            self._hear()
        brought, misled = self.courier.brought, self.courier.misled
        while self.courier.round():
            # What was just taken has rung, and a queue that ran empty has said so.
            self._hear()
        if self.courier.misled != misled:
            self.hearing.came_too_late()
        if self.courier.brought != brought:
            self.hearing.came_in_time()
            self.pace.alert(deaf=self.hearing.mode == "off")
            if self.hearing.mode == "off":
                self._arm()

    def _rung(self) -> None:
        """The doorbell can be read."""
        if self._outage is not None:
            self._hear_in_outage()
            return
        self._guarded(self._hear)
        pause = self.hearing.pause(self._rng)
        if pause and self._loop is not None:
            self._loop.later(pause, self._work)
        else:
            self._work()

    def _hear_in_outage(self) -> None:
        """Left unread it would wake the loop without end."""
        try:
            self._hear()
        except (*LOST, RedisError):
            self._hang_up()

    def _hear(self) -> None:
        rings = self._doorbell.read()
        for ring in self.hearing.understand(rings, self.courier.bells):
            for channel in list(self._channels):
                for source in channel.broadcast_sources(ring.channel):
                    self.courier.hand_over(source, Delivery(ring.channel, ring.data))

    def _poll(self) -> None:
        """Look into all queues with one command; prove the doorbell end to end."""
        self.pace.polled(deaf=self.hearing.mode == "off")
        keys = [source.queue_key for source in self._sources()]
        if keys and self.courier.queues.waiting(keys):
            if self._doorbell.connected and not self.courier.bells.any:
                # Nobody rang for these: the server may have lost its flags.
                self.hearing.find_mode(self._transport, self._channels[0])
            self.courier.bells.look_everywhere(keys)
        for channel in self._channels:
            channel.maybe_refresh_binding_expiry()
        question = self._doorbell.ping()
        if question and self._loop is not None:
            check = partial(self._guarded, partial(self._check_answer, question))
            self._loop.later(ANSWER_WITHIN, check)
        self._arm()

    def _check_answer(self, question: int) -> None:
        self._hear()
        if not self._doorbell.answered(question):
            raise ConnectionError("the doorbell's subscription is silent")

    def _arm(self) -> None:
        self._cancel_timer()
        if self._loop is not None and not self._closed:
            self._cancel_timer = self._loop.later(self.pace.left(), self._on_timer)

    def _on_timer(self) -> None:
        if self.pace.left() > 0:
            # Fired a hair early: without a new timer this poll would be lost.
            self._arm()
        else:
            self._guarded(self._poll)
            self._work()

    # -- outages ---------------------------------------------------------------------

    def _guarded(self, act: Callable[[], None]) -> None:
        """Act; no error of the server ever reaches Celery's consumer."""
        if self._outage is not None or self._closed:
            return
        try:
            act()
        except (*LOST, RedisError) as error:
            self._outage = Outage(self._clock.monotonic(), error, pauses())
            if isinstance(error, LOST):
                # An endpoint may just have closed an idle connection: try at once.
                self._retry()
            else:
                self._retry_later(error)

    def _retry(self) -> None:
        outage = self._outage
        if outage is None or self._closed:
            return
        try:
            if isinstance(outage.error, LOST):
                self._hang_up()
                self._transport.disconnect_pool()
            # Look again: what was refused counts as empty, and no poll is armed.
            self._changed = True
            self._prepare()
            found = self.courier.missing(self.held())
            self.courier.adopt(found)
            self._bring()
        except (*LOST, RedisError) as error:
            self._retry_later(error)
        except BaseException:
            self._outage = None
            raise
        else:
            self._outage = None
            outage.over(self._clock.monotonic(), len(found))

    def _retry_later(self, error: Exception) -> None:
        if self._outage is not None and self._loop is not None:
            pause = self._outage.failed(error)
            self._cancel_timer()
            self._cancel_timer = self._loop.later(pause, self._retry)

    def _hang_up(self) -> None:
        self._changed = True
        if self._watched is not None and self._loop is not None:
            self._loop.unwatch(self._watched)
        self._watched = None
        with suppress(OSError):
            self._doorbell.close()


def _nothing() -> None:
    """What cancelling does before anything was armed."""
