"""Progress of a running task, throttled: each write is a billed command."""

from collections.abc import Callable
from typing import Any

from smartworker.clock import Clock, system_clock

SHORTEST_PAUSE_SECONDS = 1.0


class Progress:
    """Passes on one report per second at most, and none in the first second."""

    def __init__(
        self, write: Callable[[dict[str, Any]], None], clock: Clock = system_clock
    ) -> None:
        self._write = write
        self._clock = clock
        self._last = clock.monotonic()

    def report(self, current: int, total: int, message: str) -> None:
        """Tell how far the task is, if it is time to."""
        now = self._clock.monotonic()
        if now - self._last >= SHORTEST_PAUSE_SECONDS:
            self._last = now
            self._write({"current": current, "total": total, "message": message})
