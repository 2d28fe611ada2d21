"""What tests need: a clock and an event loop that move only when they are told to."""

import heapq
import itertools
import select
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from smartworker.errors import SmartworkerError

__all__ = ["ManualClock", "ManualHub", "ManualKeeper", "commandstats"]


#: After so many rounds the loop is taken to spin.
MOST_ROUNDS = 10_000
#: What newer servers count by sub-command, as `config|get`.
WHOLES = {"client", "config", "script"}


class ManualClock:
    """A clock that stands still until `advance` is called."""

    def __init__(self, now: datetime | None = None) -> None:
        self._now = (now or datetime(2026, 1, 1, tzinfo=UTC)).astimezone(UTC)
        self._monotonic = 1000.0

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._monotonic

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Let the seconds pass at once, unless the event is set."""
        if not event.is_set():
            self.advance(seconds)
        return event.is_set()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


def commandstats(client: Any) -> dict[str, int]:
    """What the server of a redis-py client has counted: {command: calls}.

    Names as in the ledger, so that a test can hold the two against each other. This
    question is counted too, as `info`; it is not billed. Redis 6.2 counts CLIENT,
    CONFIG and SCRIPT as wholes, which nothing can be held against: they are left out.
    """
    rows = client.info("commandstats").items()
    counts = {name.removeprefix("cmdstat_"): row["calls"] for name, row in rows}
    return {name: calls for name, calls in counts.items() if name not in WHOLES}


class _Timer:
    """An armed timer, as kombu's hub returns it."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Never call back."""
        self.cancelled = True


class ManualHub:
    """The part of kombu's event loop that the poller uses, on a manual clock."""

    def __init__(
        self,
        clock: ManualClock,
        patience: float = 0.002,
        busy: Callable[[], object] = lambda: False,
    ) -> None:
        self.clock = clock
        #: Real seconds that a server may take to answer before time goes on.
        self.patience = patience
        #: While this is true an answer is due, and time waits for it.
        self.busy = busy
        self._timers: list[tuple[float, int, _Timer]] = []
        self._readers: dict[int, Callable[[], None]] = {}
        self._order = itertools.count()

    def add_reader(self, source: Any, callback: Callable[[], None]) -> None:
        """Call back whenever the source can be read."""
        self._readers[_number(source)] = callback

    def remove_reader(self, source: Any) -> None:
        """Stop watching a source."""
        self._readers.pop(_number(source), None)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> _Timer:
        """Call back after some seconds of the manual clock."""
        timer = _Timer(callback)
        due = self.clock.monotonic() + seconds
        heapq.heappush(self._timers, (due, next(self._order), timer))
        return timer

    def settle(self) -> None:
        """Call all readers until nothing more can be read."""
        for _ in range(MOST_ROUNDS):
            ready = select.select(list(self._readers), [], [], self.patience)[0]
            if not ready and not self.busy():
                return
            for number in ready:
                self._readers.get(number, _nothing)()
        raise SmartworkerError("The loop never comes to rest.")

    def run(self, seconds: float) -> None:
        """Let time pass, firing each timer at its due time."""
        end = self.clock.monotonic() + seconds
        self.settle()
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            self.clock.advance(max(due - self.clock.monotonic(), 0.0))
            if not timer.cancelled:
                timer.callback()
            self.settle()
        self.clock.advance(end - self.clock.monotonic())


class ManualKeeper:
    """Stands in for the thread that renews leases: a timer of the manual loop."""

    def __init__(self, hub: ManualHub, beat: Callable[[], float | None]) -> None:
        self._hub = hub
        self._beat = beat
        self._timer: _Timer | None = None

    def wake(self) -> None:
        """Begin, unless it runs."""
        if self._timer is None:
            self._ring()

    def close(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()

    def _ring(self) -> None:
        pause = self._beat()
        self._timer = None if pause is None else self._hub.call_later(pause, self._ring)


def _number(source: Any) -> int:
    return source if isinstance(source, int) else int(source.fileno())


def _nothing() -> None:
    """A reader that was removed by another one of the same round."""
