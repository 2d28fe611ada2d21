"""Messages whose task is not known here, held for a while and given back.

Another release may know it. Our own bell is left to others, so that a worker that
knows the task takes the message before we meet it again.
"""

from collections.abc import Iterator

from smartworker.broker.returns import Verdict
from smartworker.clock import Clock
from smartworker.store.queues import Delivery


class Strangers:
    """A waiting room; the messages in it are in flight, and take no consumer's room."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: list[tuple[float, Delivery, Verdict]] = []

    def hold(self, delivery: Delivery, verdict: Verdict, seconds: float) -> None:
        """Keep a message for so many seconds."""
        self._waiting.append((self._clock.monotonic() + seconds, delivery, verdict))

    def held(self) -> list[Delivery]:
        """The messages in here."""
        return [delivery for _, delivery, _ in self._waiting]

    def leave(self, *, all_of_them: bool = False) -> Iterator[tuple[Delivery, Verdict]]:
        """The messages whose time is over go out."""
        now = self._clock.monotonic()
        going = [entry for entry in self._waiting if all_of_them or entry[0] <= now]
        # In one step: the lease's thread looks in here too.
        self._waiting = [entry for entry in self._waiting if entry not in going]
        for _, delivery, verdict in going:
            yield delivery, verdict

    def left(self) -> float | None:
        """Seconds until the first goes; None if nobody waits."""
        if not self._waiting:
            return None
        return max(min(due for due, _, _ in self._waiting) - self._clock.monotonic(), 0)
