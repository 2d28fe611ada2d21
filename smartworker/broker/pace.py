"""The pace: when the next poll is due."""

import random
from collections.abc import Callable

from smartworker.clock import Clock

#: Seconds between two polls until somebody sets another interval.
DEFAULT_INTERVAL = 30.0
#: Without a doorbell: how fast to poll, and for how long after the last work.
ALERT_INTERVAL = 5.0
ALERT_FOR = 180.0


class Pace:
    """Seconds on the monotonic clock; one interval after another, without drift."""

    def __init__(
        self, interval: float | None, clock: Clock, rng: random.Random
    ) -> None:
        self.interval = interval or DEFAULT_INTERVAL
        self._clock = clock
        self._rng = rng
        self._fresh = True
        self._alert_until = 0.0
        #: When the next poll is due.
        self.due = clock.monotonic()
        #: When the last one was made; None before the first.
        self.last: float | None = None
        #: Told of each poll, and of each outage's begin and end, in the loop's thread;
        #: they must be quick and must not raise.
        self.watchers: list[Callable[[], None]] = []

    def current(self) -> float:
        """The interval in force, in seconds."""
        return self.interval

    def tell(self) -> None:
        """Tell all who watch."""
        for watcher in [*self.watchers]:
            watcher()

    def set_interval(self, seconds: float) -> None:
        """Another interval from now on; the next poll is due at once."""
        self.interval = seconds
        self._fresh = True
        self.due = self._clock.monotonic()

    def left(self) -> float:
        """Seconds until the next poll; 0 when it is due."""
        return max(self.due - self._clock.monotonic(), 0.0)

    def alert(self, *, deaf: bool = False) -> None:
        """There was work, so more may follow; `deaf`: no bell would tell of it."""
        now = self._clock.monotonic()
        self._alert_until = now + ALERT_FOR
        if deaf:
            self.due = min(self.due, now + ALERT_INTERVAL)

    def polled(self, *, deaf: bool) -> None:
        """A poll was answered: plan the next one. `deaf`: no bell will ring before.

        Not earlier, or polls on a slow line would leave no time for anything else.
        The first gap after a change is 0.5 to 1.5 intervals long: workers that saw
        the same window open would otherwise poll in the same second for hours.
        """
        now = self._clock.monotonic()
        gap = self.interval
        if deaf and now < self._alert_until:
            gap = min(gap, ALERT_INTERVAL)
        elif self._fresh:
            gap *= self._rng.uniform(0.5, 1.5)
            self._fresh = False
        self.last = now
        # A poll out of turn, as after each reconnect, starts the interval anew.
        self.due = max(min(self.due, now) + gap, now + gap / 2)
        self.tell()
