"""The bootstep that keeps messages safe when a worker stops, and tells of the dead."""

import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import bootsteps, signals, states

from smartworker.broker.courier import Keep
from smartworker.clock import system_clock
from smartworker.cron.runs import run_of
from smartworker.errors import SmartworkerError
from smartworker.logs import get_logger
from smartworker.store.client import LOST, RedisError
from smartworker.store.dead import Facts
from smartworker.store.refusals import classify
from smartworker.worker import pings
from smartworker.worker.deadline import Deadline
from smartworker.worker.history import remember

log = get_logger(__name__)


#: Seconds that a thread takes at the most from picking a task up to saying so.
PICK_UP = 0.1


class DeadLettered(SmartworkerError):
    """A task will not run: its message is among the dead letters."""


class Safekeeper(bootsteps.StartStopStep):
    """Translates between Celery's shutdown and the poller."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        consumer.safekeeper = self
        self._app = consumer.app
        self._poller: Any = None
        self._knock: Callable[[], bool] = bool
        self._deadline = Deadline(self._answers, self._give_back_all)
        self._asked = 0
        #: Whether running tasks were dropped at the end.
        self.is_cold = False

    def start(self, consumer: Any) -> None:
        """Take over the poller of a new connection."""
        connection = consumer.connection
        self._knock = partial(connection.transport.knock, connection.default_channel)
        self._poller = connection.transport.cycle
        self._poller.custody.on_death = self._tell_waiters
        # Never disconnected: the second signal comes when all steps have stopped.
        signals.worker_shutting_down.connect(self._stopping, dispatch_uid=self)

    def close(self, consumer: Any) -> None:
        """The worker stops: what has not begun goes back now, not after the rest."""
        if self._poller is not None:
            keep: Keep = "accepted" if _emptied(consumer.pool) else "begun"
            self._poller.return_not_begun(keep)

    def cold(self) -> None:
        """Running tasks are not waited for any more. Safe in a signal handler."""
        self.is_cold = True
        self._deadline.end_soon()
        self._deadline.start()

    def _stopping(self, sig: str = "", **_: Any) -> None:
        # Celery's handler only sets a flag, and the loop would sleep on for 10 s.
        self._poller.stop_taking()
        self._deadline.start()
        self._asked += sig == "SIGTERM"
        if self._asked == 2 and hasattr(signal, "SIGQUIT"):
            # Celery ignores it; who asks twice wants the running tasks to be dropped.
            os.kill(os.getpid(), signal.SIGQUIT)

    def _give_back_all(self) -> None:
        """The process ends at once: what still runs will never be done."""
        self._poller.return_not_begun("nothing")

    def _answers(self) -> bool:
        """Whether the server answers. 1 command, not billed."""
        try:
            return self._knock()
        except (*LOST, RedisError) as error:
            # Whoever refuses is there: a wrong password, too many connections.
            return classify(error).kind != "lost"

    def _tell_waiters(self, facts: Facts) -> None:
        """Store a failure for whoever waits. 1 command, from a thread of its own.

        1 command more for the run of a job, which goes into its history; it is pinged.

        The result store may be another server, and away.
        """
        if facts.task_id is not None:
            threading.Thread(target=self._fail, args=(facts,), daemon=True).start()

    def _fail(self, facts: Facts) -> None:
        error = DeadLettered(f"{facts.reason}: {facts.detail}")
        try:
            self._app.backend.store_result(facts.task_id, error, states.FAILURE)
        except Exception as failure:
            log.warning("results_away", error=str(failure)[:200], retry_seconds=None)
        run = run_of(facts.headers)
        if run is not None and facts.task_id is not None:
            remember(
                self._app,
                run,
                facts.task_id,
                states.FAILURE,
                error=f"dead letter: {error}",
            )
            pings.failed(self._app, run, facts.task_id, error)


def _emptied(pool: Any) -> bool:
    """Whether a pool has a queue of its own, as threads have; it is emptied here.

    Other pools get a task only when a process is free.
    """
    executor = getattr(pool, "executor", None)
    if executor is None:
        return False
    executor.shutdown(wait=False, cancel_futures=True)
    # Time for what was just taken from that queue to say that it runs.
    system_clock.wait(threading.Event(), PICK_UP)
    return True
