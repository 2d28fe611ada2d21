"""Sends a message for each change that is ready, once, whenever the broker is there."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from celery.exceptions import OperationalError
from sqlalchemy.exc import DatabaseError

from smartworker.backoff import pauses
from smartworker.clock import Clock, system_clock
from smartworker.examples.sync.changes import Change
from smartworker.examples.sync.outbox import Outbox
from smartworker.worker.publish import publish_once, task_id_of

#: Nobody waits for it, and it is tried again anyway.
RETRY_POLICY = {"max_retries": 1, "interval_start": 0.1}
#: Seconds between two tries while the broker is away; a refused connection costs no
#: command.
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0

_logger = logging.getLogger(__name__)


def task_id(change: Change) -> str:
    """The id of the task that brings this change, known before it is queued."""
    return task_id_of(change.action.task, change.message_key)


class Publisher:
    """Empties the outbox into the queues of a Celery app."""

    def __init__(self, app: Any, box: Outbox, clock: Clock = system_clock) -> None:
        self._app = app
        self._outbox = box
        self._clock = clock

    def publish(self, of: Change | None = None) -> int:
        """Queue all changes that are ready, or the next of one object; how many.

        A crash between message and mark leaves a change that is published again under
        its key: the server takes it for what it is. 3 commands each. Raises
        OperationalError when the broker is away.
        """
        count = 0
        while ready := self._outbox.ready(self._clock.now(), of=of):
            sent: list[Change] = []
            try:
                for change in ready:
                    self._send(change)
                    sent.append(change)
            finally:
                self._outbox.queued(sent, self._clock.now())
            count += len(sent)
        return count

    def _send(self, change: Change) -> None:
        publish_once(
            self._app.tasks[change.action.task],
            change.message_key,
            args=(change.id,),
            kwargs=change.payload,
            retry=True,
            retry_policy=RETRY_POLICY,
        )


class Drain:
    """Publishes in a thread of its own: no request waits, and no second thread starts.

    While the broker is away it tries again with growing pauses, until all is sent.
    """

    def __init__(self, publish: Callable[[], int], clock: Clock = system_clock) -> None:
        self._publish = publish
        self._clock = clock
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """There may be something to publish; returns at once."""
        self._wanted.set()
        with self._lock:
            # After a fork the thread is the parent's, and dead here.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="outbox", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        waits = None
        while True:
            with self._lock:
                if waits is None and not self._wanted.is_set():
                    self._thread = None
                    return
                self._wanted.clear()
            try:
                count = self._publish()
            except Exception as error:
                waits = waits or pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
                pause = next(waits)
                self._complain(error, pause)
                self._clock.wait(threading.Event(), pause)
                continue
            if waits is not None:
                _logger.warning("The outbox is drained: %d changes were sent.", count)
            waits = None

    def _complain(self, error: Exception, pause: float) -> None:
        is_broker = isinstance(error, OperationalError)
        is_known = is_broker or isinstance(error, DatabaseError)
        _logger.warning(
            "%s, so changes wait in the outbox; the next try is in %.1f s: %s",
            "The broker is away" if is_broker else "Publishing failed",
            pause,
            error,
            exc_info=not is_known,
        )
