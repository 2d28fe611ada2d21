"""Recording that a task is queued, where the setting `track_queued` asks for it."""

from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any

from celery import signals

from smartworker.clock import system_clock
from smartworker.cron.runs import HEADER, QUEUED
from smartworker.cron.slots import stamp
from smartworker.logs import get_logger
from smartworker.store.client import LOST, RedisError
from smartworker.store.meter import because
from smartworker.worker.publish import start_by

log = get_logger(__name__)

#: A task may wait longer for a worker than its result is kept afterwards.
SHORTEST = timedelta(days=1)

#: By whose back end, and for which task.
_called: "ContextVar[tuple[QueuedRecorder, str] | None]" = ContextVar(
    "called", default=None
)


class QueuedRecorder:
    """Writes the record of a task that is about to be published; 1 command.

    Celery tells the back end of each task, but only its id; when it can start stands
    in the headers, which the signal has that follows.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        signals.before_task_publish.connect(self._on_publish, weak=True)

    def expect(self, task_id: str) -> None:
        """The next message of this thread is that of a task whose result we keep."""
        _called.set((self, task_id))

    def _on_publish(self, headers: Any = None, **_: Any) -> None:
        recorder, task_id = _called.get() or (None, "")
        # There is one of us for each thread and application, and all hear of it.
        if recorder is not self or not headers or headers.get("id") != task_id:
            return
        _called.set(None)
        if HEADER in headers:
            return  # recorded in the same step that queues the run
        try:
            with because("publish"):
                self._record(task_id, headers.get("eta"))
        except (*LOST, RedisError) as error:
            log.warning("queued_not_recorded", task_id=task_id, error=str(error)[:200])

    def _record(self, task_id: str, eta: str | None) -> None:
        backend = self._backend
        now = system_clock.now()
        by = start_by(backend.app, now)
        if eta is not None:
            by = max(by, datetime.fromisoformat(eta))
        record: dict[str, Any] = {
            "status": QUEUED,
            "result": {"queued_at": stamp(now), "expected_start_by": stamp(by)},
            "traceback": None,
            "children": [],
            "date_done": None,
            "task_id": task_id,
        }
        least = int(SHORTEST.total_seconds())
        seconds = max(int(backend.expires), least) if backend.expires else None
        key = backend.get_key_for_task(task_id)
        backend.client.set(key, backend.encode(record), nx=True, ex=seconds)
