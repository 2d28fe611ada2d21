"""Messages whose task is not known here, held for a while and given back.

Another release may know it. Our own bell is left to others, so that a worker that
knows the task takes the message before we meet it again; what nobody wanted for a
while we take once more, or a lone worker would meet it at its next poll.
"""

from collections.abc import Iterator

from smartworker.broker.returns import Verdict
from smartworker.clock import Clock
from smartworker.store.queues import Delivery

#: Seconds that others have for what was given back: as long as a poll of a window.
OTHERS_FIRST = 30.0


class Strangers:
    """A waiting room; the messages in it are in flight, and take no consumer's room."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: list[tuple[float, Delivery, Verdict]] = []
        # Where messages were given back: when to look for them, and in which queue.
        self._given_back: list[tuple[float, str]] = []

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

    def offer(self, queue_key: str) -> None:
        """A message goes back to this queue, and others have it first."""
        due = self._clock.monotonic() + OTHERS_FIRST
        self._given_back.append((due, queue_key))

    def unwanted(self) -> set[str]:
        """Queue keys in which a message may lie that no other worker wanted."""
        now = self._clock.monotonic()
        due = {key for at, key in self._given_back if at <= now}
        self._given_back = [entry for entry in self._given_back if entry[0] > now]
        return due

    def left(self) -> float | None:
        """Seconds until the first goes or is looked for; None if there is none."""
        times = [due for due, *_ in self._waiting]
        times += [due for due, _ in self._given_back]
        return max(min(times) - self._clock.monotonic(), 0) if times else None
