"""The healer: lives through outages inside the transport.

No error of the server ever reaches Celery's consumer, which would end the worker
over a refusal and run every task again over a lost connection.
"""

from collections.abc import Callable

from smartworker.broker.loop import Loop
from smartworker.broker.outage import Outage
from smartworker.clock import Clock
from smartworker.store.client import LOST, RedisError
from smartworker.store.refusals import BUSY, FULL

#: Troubles that are over once somebody else could push a message.
PASSING = (BUSY, FULL)
#: Seconds between two tries at least, however often the doorbell rings.
LEAST_PAUSE = 1.0


class Healer:
    """Guards what talks to the server; tries again with the pauses of the trouble.

    `heal` makes everything work again, or raises; it returns how many messages it
    found in flight that nobody held. `tell` is called when an outage begins or ends.
    """

    def __init__(
        self,
        clock: Clock,
        heal: Callable[[Outage], int],
        interval: Callable[[], float],
        tell: Callable[[], object] = bool,
    ) -> None:
        self._clock = clock
        self._heal = heal
        self._interval = interval
        self._tell = tell
        #: Without a loop nobody tries again: kombu reconnects by itself then.
        self.loop: Loop | None = None
        #: The trouble that goes on now.
        self.outage: Outage | None = None
        self.closed = False
        self._tried = clock.monotonic()
        self._cancel: Callable[[], None] = _nothing

    def guarded(self, act: Callable[[], object]) -> None:
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
            if self.outage is not None:
                self._tell()

    def overhear(self, hear: Callable[[], bool], hang_up: Callable[[], None]) -> None:
        """Hear the doorbell during an outage: unread it wakes the loop without end.

        `hear` tells whether somebody pushed a message. A server that refused such
        things does not any more then: try soon.
        """
        try:
            rung = hear()
        except (*LOST, RedisError):
            hang_up()
            return
        outage = self.outage
        if rung and outage is not None and outage.refusal in PASSING:
            self._try_in(self._tried + LEAST_PAUSE - self._clock.monotonic())

    def _retry(self) -> None:
        outage = self.outage
        if outage is None or self.closed:
            return
        self._tried = self._clock.monotonic()
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
            self._tell()

    def _retry_later(self, error: Exception) -> None:
        if self.outage is not None and self.loop is not None:
            self._try_in(self.outage.failed(error, self._clock.monotonic()))

    def _try_in(self, seconds: float) -> None:
        """At no other time: there is one next try."""
        if self.loop is not None:
            self._cancel()
            self._cancel = self.loop.later(seconds, self._retry)


def _nothing() -> None:
    """What cancelling does before anything was armed."""
