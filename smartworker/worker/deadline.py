"""The deadline of a shutdown: a silent server must not hold a worker back.

Everything that is held stays in flight and comes back when its lease ends, so
leaving at once loses nothing, while the platform's SIGKILL comes anyway.
"""

import os
import threading
from collections.abc import Callable

from smartworker.clock import Clock, system_clock
from smartworker.errors import BrokerUnreachable
from smartworker.logs import get_logger

log = get_logger(__name__)

#: Seconds after the first signal within which a worker leaves a silent server.
WITHIN = 9.0
#: Seconds between two looks at the server.
LOOK = 1.0


class Deadline:
    """Ends the process if the server does not answer once after the signal."""

    def __init__(
        self,
        answers: Callable[[], bool],
        *,
        clock: Clock = system_clock,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self._answers = answers
        self._clock = clock
        self._leave = leave
        self._started = False

    def start(self) -> None:
        """Begin, once; a thread of its own, for the loop may be blocked."""
        if not self._started:
            self._started = True
            threading.Thread(
                target=self.watch, name="smartworker-deadline", daemon=True
            ).start()

    def watch(self) -> None:
        """Return as soon as the server answers; leave if it never does."""
        end = self._clock.monotonic() + WITHIN
        while not self._answers():
            if self._clock.monotonic() >= end:
                log.error("shutdown_cut_short", seconds=WITHIN)
                self._leave(BrokerUnreachable.exit_status)
                return
            self._clock.wait(threading.Event(), LOOK)
