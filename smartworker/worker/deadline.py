"""The deadline of a shutdown: neither a silent server nor a task holds it up for ever.

Everything that is held stays in flight and comes back, so leaving at once loses
nothing, while the platform's SIGKILL comes anyway.
"""

import os
import threading
from collections.abc import Callable

from smartworker.clock import Clock, system_clock
from smartworker.errors import BrokerUnreachable
from smartworker.logs import get_logger

log = get_logger(__name__)

#: Seconds after the first signal for which a silent server is asked; the last
#: question takes up to two more.
SILENT_WITHIN = 7.0
#: Seconds after a cold shutdown was asked for, for pools that cannot drop a task.
COLD_WITHIN = 5.0
#: The exit status of a cold shutdown.
COLD_STATUS = 1
#: Seconds between two looks at the server.
LOOK = 1.0


class Deadline:
    """Ends the process if the server does not answer once after the signal.

    After `end_soon` it ends whatever the server does, once `give_back` has returned
    what still runs. `answers` may take a second or two.
    """

    def __init__(
        self,
        answers: Callable[[], bool],
        give_back: Callable[[], object],
        *,
        clock: Clock = system_clock,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self._answers = answers
        self._give_back = give_back
        self._clock = clock
        self._leave = leave
        self._started = False
        self._cold_end: float | None = None

    def start(self) -> None:
        """Begin, once; a thread of its own, for the loop may be blocked."""
        if not self._started:
            self._started = True
            threading.Thread(
                target=self.watch, name="smartworker-deadline", daemon=True
            ).start()

    def end_soon(self) -> None:
        """The shutdown is cold: running tasks are not waited for any more."""
        self._cold_end = self._clock.monotonic() + COLD_WITHIN

    def watch(self) -> None:
        """Wait for either end; a process that ends by itself takes this along."""
        silent_end: float | None = self._clock.monotonic() + SILENT_WITHIN
        while True:
            if silent_end is not None:
                if self._answers():
                    silent_end = None
                elif self._clock.monotonic() >= silent_end:
                    log.error("shutdown_cut_short", reason="the server is silent")
                    self._leave(BrokerUnreachable.exit_status)
                    return
            cold_end = self._cold_end
            if cold_end is not None and self._clock.monotonic() >= cold_end:
                log.error("shutdown_cut_short", reason="tasks did not end")
                self._give_back()
                self._leave(COLD_STATUS)
                return
            self._clock.wait(threading.Event(), LOOK)
