"""Doubts: takes that we gave up, and that the server may still carry out.

What was sent on a line that fell silent may arrive when the line is back, long after
we looked for it over another connection: a message would be ours, and nobody knew.
"""

from collections.abc import Iterable

from smartworker.backoff import pauses
from smartworker.clock import Clock

#: Seconds until TCP has given up what it could not deliver (TCP_USER_TIMEOUT), and
#: some more for whatever stands in between.
LATEST = 120.0
#: Seconds until the first look, and between two of them at the most.
FIRST_LOOK, RAREST_LOOK = 5.0, 40.0


class Doubts:
    """Which in-flight lists to look into again, and when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends: dict[str, float] = {}
        self._due = 0.0
        self._pauses = pauses(FIRST_LOOK, RAREST_LOOK, 0.0)

    def add(self, queue_keys: Iterable[str]) -> None:
        """The answer to a take from these never came."""
        now = self._clock.monotonic()
        self._ends.update(dict.fromkeys(queue_keys, now + LATEST))
        self._pauses = pauses(FIRST_LOOK, RAREST_LOOK, 0.0)
        self._due = now + next(self._pauses)

    def keys(self) -> set[str]:
        """The queue keys in doubt; any thread may ask."""
        return set(self._ends)

    def left(self) -> float | None:
        """Seconds until the next look; None if there is none to come."""
        if not self._ends:
            return None
        return max(self._due - self._clock.monotonic(), 0.0)

    def looked(self) -> None:
        """Their lists have just been read."""
        now = self._clock.monotonic()
        self._ends = {key: end for key, end in self._ends.items() if end > now}
        if self._ends:
            self._due = min(now + next(self._pauses), max(self._ends.values()))
