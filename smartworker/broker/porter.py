"""The porter: keeps the doorbell's subscription, and tells what was heard."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from smartworker.broker.bells import Bells
from smartworker.broker.doorbell import Doorbell, Ring
from smartworker.broker.hearing import Hearing
from smartworker.broker.loop import Loop


class Porter:
    """One doorbell, what its rings mean, and its place in the loop."""

    def __init__(self, transport: Any, on_ring: Callable[[], None]) -> None:
        self.doorbell = Doorbell()
        self.hearing = Hearing()
        self.loop: Loop | None = None
        self._transport = transport
        self._on_ring = on_ring
        self._watched: int | None = None

    def subscribe(self, channel: Any, queue_keys: list[str], topics: list[str]) -> None:
        """Hear of these queues and broadcasts; confirmed when it returns.

        At most 4 commands, and before a new subscription 2 that are not billed.
        """
        if not self.doorbell.connected:
            self.find_mode(channel)
        pool = self._transport.pool_for(channel)
        self.doorbell.subscribe(pool, self.hearing.channels(queue_keys), topics)
        if self.loop and self.doorbell.connected and self._watched is None:
            # A descriptor of our own: redis-py closes its one when the connection
            # breaks, and if a pool process was forked since, it holds the socket open:
            # the loop would hear of it for ever under a number that means another.
            self._watched = os.dup(self.doorbell.fileno())
            self.loop.watch(self._watched, self._on_ring)

    def find_mode(self, channel: Any) -> None:
        """Settle how pushes are heard. At most 2 commands, not billed."""
        self.hearing.find_mode(self._transport, channel)

    def hear(self, bells: Bells) -> list[Ring]:
        """Book what was heard of queues; the broadcasts come back."""
        return self.hearing.understand(self.doorbell.read(), bells)

    def check(self, question: int) -> None:
        """Raises ConnectionError if a PING has not been answered."""
        if not self.doorbell.answered(question):
            raise ConnectionError("the doorbell's subscription is silent")

    def hang_up(self) -> None:
        """Close the subscription. Costs no command."""
        watched, self._watched = self._watched, None
        if watched is not None:
            if self.loop is not None:
                self.loop.unwatch(watched)
            os.close(watched)
        with suppress(OSError):
            self.doorbell.close()
