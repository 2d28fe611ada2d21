"""Progress of running tasks, throttled: each write is a billed command."""

import threading
from collections.abc import Callable
from typing import Any

from celery import current_task

from smartworker.clock import Clock, system_clock
from smartworker.logs import get_logger

log = get_logger(__name__)

STATE = "PROGRESS"
#: Seconds between two writes; none in the first, so a short task costs nothing more.
PAUSE = 1.0
_MARK = "smartworker_progress"

Write = Callable[[dict[str, Any]], None]
CallLater = Callable[[float, Callable[[], None]], Any]


def progress(current: float, total: float, message: str = "") -> None:
    """Tell how far the running task is; call it as often as you like.

    At most one write a second, and the last report is always written, unless the
    results are kept by a back end of another make. Outside of a worker it does
    nothing, and it never raises because of the server.
    """
    task: Any = current_task
    request = getattr(task, "request", None)
    if not request or request.called_directly or request.is_eager:
        return
    if request.ignore_result:
        return  # it has no state that anybody could read
    reporter = getattr(request, _MARK, None)
    if reporter is None:
        reporter = _reporter(task, request)
        setattr(request, _MARK, reporter)
    reporter.report({"current": current, "total": total, "message": str(message)})


def finish(request: Any) -> None:
    """The run's next state is stored now: no progress is written after this."""
    reporter = getattr(request, _MARK, None)
    if reporter is not None:
        reporter.close()


def _call_later(seconds: float, call: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
    return timer


class Reporter:
    """Passes on one report per second at most, and the last one in any case.

    What comes too early is kept, and a timer writes the newest of it when the second
    is over; so a task that goes quiet leaves its last word and not an older one.
    """

    def __init__(
        self,
        write: Write,
        task_id: str = "",
        clock: Clock = system_clock,
        call_later: "CallLater | None" = _call_later,
    ) -> None:
        """Without `call_later` it writes only while `report` is called."""
        self._write = write
        self._task_id = task_id
        self._clock = clock
        self._call_later = call_later
        self._written_at = clock.monotonic()
        self._newest: dict[str, Any] | None = None
        self._timer: Any = None
        self._closed = self._failed = False
        # Held while writing: once closed, no write is under way.
        self._writing = threading.Lock()
        self._lock = threading.Lock()

    def report(self, progress: dict[str, Any]) -> None:
        """Keep a report, and see that it is written in time."""
        with self._lock:
            if self._closed:
                return
            self._newest = progress
            rest = PAUSE - (self._clock.monotonic() - self._written_at)
            if self._call_later is not None and self._timer is None:
                self._timer = self._call_later(max(rest, 0.0), self._flush)
        if self._call_later is None and rest <= 0:
            self._flush()

    def close(self) -> None:
        """Write nothing more; what is kept is out of date."""
        with self._lock:
            self._closed = True
            timer, self._timer, self._newest = self._timer, None, None
        if timer is not None:
            timer.cancel()
        with self._writing:
            pass

    def _flush(self) -> None:
        with self._writing:
            with self._lock:
                newest, self._newest, self._timer = self._newest, None, None
                if newest is None or self._closed:
                    return
                self._written_at = self._clock.monotonic()
            try:
                self._write(newest)
            except Exception as error:
                # No task stops because nobody can see how far it is.
                if not self._failed:
                    self._failed = True
                    log.warning(
                        "progress_not_written",
                        task_id=self._task_id,
                        error=str(error)[:200],
                    )


def _reporter(task: Any, request: Any) -> Reporter:
    # Taken here: in the timer's thread the task has no request, and Celery makes
    # each thread another back end.
    backend, task_id = task.backend, request.id
    if hasattr(backend, "store_progress"):
        return Reporter(
            lambda progress: backend.store_progress(task_id, progress, request), task_id
        )
    # A foreign back end does not tell when the result is stored; what a timer writes
    # after that would take its place.
    return Reporter(
        lambda progress: task.update_state(state=STATE, meta=progress),
        task_id,
        call_later=None,
    )
