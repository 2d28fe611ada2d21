"""A worker whose loop stands still leaves, so that the platform starts it anew.

Such a process lives, holds messages and keeps their lease alive, and would do so for
ever. When it ends, what it held comes back as from any dead worker.
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from smartworker.clock import Clock, system_clock
from smartworker.logs import get_logger

log = get_logger(__name__)

#: The exit status of a worker that was stuck (EX_SOFTWARE of sysexits.h).
STUCK_STATUS = 70
#: Seconds for which the loop may stand still, and a due poll be late.
PATIENCE = 300.0
#: Seconds between two looks; each wakes the loop once, and costs no command.
LOOK = 30.0
#: Frames of the main thread that are logged, and seconds for which that may take: the
#: main thread may hold the lock of the log, or nobody may read what is written.
FRAMES = 15
LOG_WITHIN = 5.0


class Watchdog:
    """Looks from a thread of its own whether the loop turns and polls.

    `post` has the loop call a function. `due` tells when the loop had to act at the
    latest, on the monotonic clock, or None while nothing can be asked of it. `leave`
    gets the reason and ends the process.
    """

    def __init__(
        self,
        post: Callable[[Callable[[], None]], object],
        due: Callable[[], float | None],
        leave: Callable[[str], object],
        *,
        clock: Clock = system_clock,
        patience: float | None = None,
        pause: float | None = None,
    ) -> None:
        self._post = post
        self._due = due
        self._leave = leave
        self._clock = clock
        self._patience = PATIENCE if patience is None else patience
        self._pause = LOOK if pause is None else pause
        self._stop = threading.Event()
        #: When the loop was asked for a sign that it has not given yet.
        self._asked: float | None = None
        #: Nothing before this counts.
        self._since = clock.monotonic()

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(
            target=self._run, name="smartworker-watchdog", daemon=True
        ).start()

    def stop(self) -> None:
        """Look no more; waits for nothing."""
        self._stop.set()

    def look(self, before: float) -> None:
        """One look; `before`: when the wait for it began, on the monotonic clock."""
        now = self._clock.monotonic()
        due = self._due()
        # Nobody stands still alone when the whole process was suspended (SIGSTOP, a
        # frozen container, a machine without time for us).
        if due is None or now - before > 2 * self._pause:
            self._asked, self._since = None, now
            return
        for what, since in (
            ("the loop does not turn", self._asked),
            ("no poll is made", max(due, self._since)),
        ):
            if since is not None and now - since > self._patience:
                self._stop.set()
                self._leave(f"{what} for {now - since:.0f} s")
                return
        if self._asked is None:
            self._asked = now
            self._post(self._turned)

    def _turned(self) -> None:
        self._asked = None

    def _run(self) -> None:
        while True:
            before = self._clock.monotonic()
            if self._clock.wait(self._stop, self._pause):
                return
            self.look(before)


def leave(worker: str, reason: str, children: Iterable[int]) -> None:
    """Say why, take the pool processes along, and end this process at once."""
    frames = stack_of(threading.main_thread())
    say = threading.Thread(
        target=lambda: log.critical(
            "worker_stuck",
            worker=worker,
            reason=reason,
            stack=frames,
            exit_status=STUCK_STATUS,
        ),
        daemon=True,
    )
    say.start()
    say.join(LOG_WITHIN)
    for child in children:
        if sys.platform != "win32":  # no pool forks there
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
    os._exit(STUCK_STATUS)


def stack_of(thread: threading.Thread) -> list[str]:
    """Where a thread is: `file.py:12 function`, the innermost last.

    No source lines, which may hold what must not be logged.
    """
    frame = sys._current_frames().get(thread.ident or 0)
    found = traceback.extract_stack(frame)[-FRAMES:] if frame is not None else []
    return [f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in found]


def children_of(pool: Any) -> list[int]:
    """The process ids of a prefork pool; none for the other pools."""
    processes = getattr(getattr(pool, "_pool", None), "_pool", None)
    if not isinstance(processes, list):
        return []
    return [each.pid for each in processes if getattr(each, "pid", None)]
