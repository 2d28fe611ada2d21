"""The healer: lives through outages inside the transport.

No error of the server ever reaches Celery's consumer, which would end the worker
over a refusal and run every task again over a lost connection.
"""

from collections.abc import Callable

from smartworker.broker.loop import Loop
from smartworker.broker.outage import Outage
from smartworker.clock import Clock
from smartworker.store.client import LOST, RedisError


class Healer:
    """Guards what talks to the server; tries again with the pauses of the trouble.

    `heal` makes everything work again, or raises; it returns how many messages it
    found in flight that nobody held.
    """

    def __init__(
        self,
        clock: Clock,
        heal: Callable[[Outage], int],
        interval: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._heal = heal
        self._interval = interval
        #: Without a loop nobody tries again: kombu reconnects by itself then.
        self.loop: Loop | None = None
        #: The trouble that goes on now.
        self.outage: Outage | None = None
        self.closed = False

    def guarded(self, act: Callable[[], None]) -> None:
        """Act, unless there is trouble already."""
        if self.outage is not None or self.closed:
            return
        try:
            act()
        except (*LOST, RedisError) as error:
            self.outage = Outage(self._clock.monotonic(), error, self._interval())
            if self.outage.lost:
                # An endpoint may just have closed an idle connection: try at once.
                self._retry()
            else:
                self._retry_later(error)

    def _retry(self) -> None:
        outage = self.outage
        if outage is None or self.closed:
            return
        try:
            found = self._heal(outage)
        except (*LOST, RedisError) as error:
            self._retry_later(error)
        except BaseException:
            self.outage = None
            raise
        else:
            self.outage = None
            outage.over(self._clock.monotonic(), found)

    def _retry_later(self, error: Exception) -> None:
        if self.outage is not None and self.loop is not None:
            pause = self.outage.failed(error, self._clock.monotonic())
            self.loop.later(pause, self._retry)
