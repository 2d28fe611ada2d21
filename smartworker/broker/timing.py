"""When a round is made: at once, with what ends meanwhile, or after others tried."""

import random
from collections.abc import Callable, Iterable
from math import inf
from typing import Protocol

from smartworker.broker.bells import Bells
from smartworker.broker.hearing import Hearing
from smartworker.broker.loop import Alarm, Loop
from smartworker.clock import Clock


class Pooled(Protocol):
    """What is asked of a channel."""

    def in_pool(self) -> tuple[int, int]:
        """How many messages the pool has, and how many of them run."""


class Timing:
    """Puts rounds off by moments in which they become cheaper."""

    def __init__(
        self, act: Callable[[], None], clock: Clock, rng: random.Random
    ) -> None:
        #: How many tasks the pool runs at the same time.
        self.places: Callable[[], float] = _endless
        self._together = Alarm(act, clock)
        self._try = Alarm(act, clock)
        self._rng = rng
        self._loop: Loop | None = None

    @property
    def loop(self) -> Loop | None:
        """Where its alarms ring."""
        return self._loop

    @loop.setter
    def loop(self, loop: Loop) -> None:
        """Ring there from now on."""
        self._loop = self._together.loop = self._try.loop = loop

    def leave(self) -> None:
        """Put off no more."""
        self._loop = None
        self._together.leave()
        self._try.leave()

    def within(self, seconds: float) -> None:
        """A round in so many seconds at the latest; others may end until then."""
        self._together.set(seconds)

    @property
    def tries_later(self) -> bool:
        """Whether others have a try first at what rang."""
        return self._try.armed

    def gathers(self, channels: Iterable[Pooled]) -> bool:
        """Whether others end soon and can travel along: the pool has more to begin."""
        if self._loop is None:
            return False
        return any(has > runs for has, runs in (c.in_pool() for c in channels))

    def answers(
        self, hearing: Hearing, bells: Bells, channels: Iterable[Pooled]
    ) -> bool:
        """Whether to answer now what was heard; if not, a round comes by itself."""
        found = list(channels)
        if self._together.armed and self.gathers(found):
            return False
        if not bells.any:
            self._try.set(None)  # the next bell has a pause of its own
            return True
        pause = hearing.pause(self._rng, full=self._is_full(found))
        if pause:
            self._try.set(pause)
        return not pause

    def _is_full(self, channels: Iterable[Pooled]) -> bool:
        return sum(has for has, _ in (c.in_pool() for c in channels)) >= self.places()


def _endless() -> float:
    """Where nobody told of a pool."""
    return inf
