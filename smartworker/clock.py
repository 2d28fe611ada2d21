"""The one place that reads the clock and the one that sleeps."""

import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the outermost loops ask for the time."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary start."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Sleep until the event is set or the time is over; true if it was set."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since an arbitrary start, never going back."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Sleep until the event is set or `seconds` are over."""
        return event.wait(seconds)


system_clock = SystemClock()
