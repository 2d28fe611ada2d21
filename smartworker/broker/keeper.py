"""A thread that lives only while something has to be kept alive."""

import threading
from collections.abc import Callable
from typing import Protocol

from smartworker.clock import Clock


class Keeps(Protocol):
    """What keeps leases alive: a thread, or a timer in tests."""

    def wake(self) -> None:
        """There is something to keep alive."""

    def close(self) -> None:
        """Keep nothing any more."""


KeeperOf = Callable[[Callable[[], float | None], Clock], Keeps]


class Keeper:
    """Calls `beat` again and again, after the seconds that it returned.

    The event loop cannot do this: a solo pool blocks it for as long as a task runs.
    When `beat` returns None the thread ends; `wake` starts another one.
    """

    def __init__(self, beat: Callable[[], float | None], clock: Clock) -> None:
        self._beat = beat
        self._clock = clock
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._woken = threading.Event()
        self._closed = False

    def wake(self) -> None:
        """There is something to keep alive."""
        with self._lock:
            # A thread that died of an error must not count as one for ever.
            alive = self._thread is not None and self._thread.is_alive()
            if not (alive or self._closed):
                self._woken.clear()
                self._thread = threading.Thread(
                    target=self._run, name="smartworker-lease", daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """End the thread; waits for nothing."""
        with self._lock:
            self._closed = True
        self._woken.set()

    def _run(self) -> None:
        while True:
            pause = self._beat()
            with self._lock:
                # Looked at once more under the lock: `wake` must not find a thread
                # that has just decided to end.
                if self._closed or (pause is None and (pause := self._beat()) is None):
                    self._thread = None
                    return
            self._clock.wait(self._woken, pause)
            if self._closed:
                return
