"""Celery's request, with which some errors of a task end the worker; not so ours."""

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from billiard.exceptions import Terminated, TimeLimitExceeded
from celery.exceptions import Ignore, Reject
from celery.utils.dispatch import Signal
from celery.worker.request import Request as CeleryRequest

from smartworker import logs
from smartworker.broker.channel import OUR_MARK, Channel
from smartworker.clock import system_clock
from smartworker.cron.runs import run_of
from smartworker.errors import SmartworkerError
from smartworker.store.client import RedisError
from smartworker.store.queues import Result
from smartworker.worker import counts
from smartworker.worker.figures import Outcome, figures
from smartworker.worker.luggage import MAY_PACK, Packed
from smartworker.worker.results import Backend
from smartworker.worker.tracing import names_of

#: A run of a job has left the pool for good, or never comes there; sent in the worker's
#: main process, with `request` and whether that was its end (`final`) or another try,
#: here or elsewhere, follows.
run_left = Signal(name="run_left", providing_args={"request", "final"})

#: A run of a job begins, perhaps not for the first time; sent there, too.
run_begun = Signal(name="run_begun", providing_args={"request"})


class TaskOutOfMemory(SmartworkerError):
    """A task wanted more memory than there was."""


class Request(CeleryRequest):
    """A task that went wrong in a way that Celery does not expect has failed, alone.

    A request that is the run of a job tells when it has ended.
    """

    #: Whether the task will run again: it asked to, or its message goes back.
    _goes_on = False
    #: Hard and soft, in seconds; Celery takes them from the message.
    time_limits: tuple[float | None, float | None] = (None, None)
    _has_left = False
    #: What it failed with: an error, or words; for those whom `run_left` tells.
    failure: Any = None
    #: When it began, by the monotonic clock; None before that, and once it is counted.
    _began: float | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = *self.time_limits, self.task.time_limit, self.task.soft_time_limit
        if not any(own):
            self.time_limits = getattr(self.app, "smartworker_time_limits", own[:2])
        # No header, which a retry would pass on; set in any case, whatever came.
        properties = self.request_dict["properties"]
        self.request_dict["properties"] = {**properties, MAY_PACK: self._may_pack()}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Celery makes a class for each task, which takes the outcome for a tuple.

        From threads and from the solo pool it may be an error: of a task that raised
        SystemExit, or anything else that is no Exception.
        """
        super().__init_subclass__(**kwargs)
        on_success = cls.on_success

        def on_end(self: Any, outcome: Any, **options: Any) -> Any:
            if isinstance(outcome, ExceptionInfo):
                return self.on_failure(outcome)
            if isinstance(outcome[1], Packed):
                failed, packed, runtime = outcome
                outcome = failed, packed.text, runtime
                self._unpack(packed.result)
            answer = on_success(self, outcome, **options)
            # A failure of the solo pool comes this way, too, and is counted by then.
            self._count("succeeded")
            self.leave()
            return answer

        cls.on_success = on_end

    def _may_pack(self) -> bool:
        """Whether the result may come home with the outcome, to be stored from here.

        Not that of a stock sender, whom only a PUBLISH tells; nor that of a run that
        comes again, which has to look for the result of the one before.
        """
        channel, backend = self.message.channel, self.task.backend
        return (
            self.task.acks_late
            and isinstance(channel, Channel)
            and OUR_MARK in self.request_dict["properties"]
            and not self.delivery_info["redelivered"]
            and isinstance(backend, Backend)
            and backend.shares(channel.pool)
        )

    def _unpack(self, result: Result) -> None:
        """Have the result stored before the message is acknowledged.

        If it is acknowledged by now the run was given up, and its state is another one.
        """
        if not self.acknowledged:
            result = replace(result, on_denied=self._on_denied)
            self.message.channel.qos.carry(self.message.delivery_tag, result)

    def _on_denied(self, error: RedisError) -> None:
        self.task.backend.store_denial(self.id, error, self._context)

    def on_accepted(self, pid: int, time_accepted: float) -> Any:
        """The task runs: from here on its message stays with this worker."""
        self._began = system_clock.monotonic()
        channel = self.message.channel
        if isinstance(channel, Channel):
            channel.accept(self.message.delivery_tag)
        counts.began(self, run_header(self))
        if run_header(self) is not None:
            run_begun.send(sender=self.task, request=self)
        return super().on_accepted(pid, time_accepted)

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        """Celery would raise a MemoryError once more, in the worker itself."""
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if isinstance(error, MemoryError):
            exc_info.exception = TaskOutOfMemory(str(error))
        self.failure = self.failure or error
        try:
            with self._named():
                return super().on_failure(exc_info, *args, **kwargs)
        finally:
            if isinstance(error, Ignore | Reject | Terminated):
                self._began = None
            self._count("retried" if self._goes_on else "failed")
            self.leave()

    def on_retry(self, exc_info: Any) -> Any:
        """The task asked to run again."""
        self._goes_on = True
        return super().on_retry(exc_info)

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        """The hard limit ends the run; the soft one is the task's own business."""
        try:
            with self._named():
                return super().on_timeout(soft, timeout)
        finally:
            if not soft:
                self.failure = self.failure or TimeLimitExceeded(timeout)
                self._count("failed")
                self.leave()

    def reject(self, requeue: bool = False) -> Any:
        """What goes back to its queue runs again."""
        self._goes_on |= requeue and not self.acknowledged
        if not self.acknowledged:
            counts.noted(self, "rejected")
        return super().reject(requeue)

    def _named(self) -> AbstractContextManager[None]:
        """Lines about this run have its names, in the parent of its process, too."""
        names = names_of(self.request_dict)
        return logs.bound(task_id=self.id, task=self.name, **names)

    def _count(self, outcome: Outcome) -> None:
        """Count a run, once."""
        began, self._began = self._began, None
        if began is not None:
            seconds, run = system_clock.monotonic() - began, run_header(self)
            job = None if run is None else run["job"]
            figures.note(self.name, outcome, seconds, job)
            counts.ended(self, run, outcome, seconds)

    def leave(self) -> None:
        """Tell, once, that this run has ended or goes on elsewhere."""
        if not self._has_left and run_header(self) is not None:
            self._has_left = True
            run_left.send(sender=self.task, request=self, final=not self._goes_on)

    def _announce_revoked(self, reason: str, *args: Any, **kwargs: Any) -> Any:
        self.failure = reason
        counts.noted(self, "revoked")
        try:
            return super()._announce_revoked(reason, *args, **kwargs)
        finally:
            self.leave()

    def _announce_cancelled(self, *args: Any, **kwargs: Any) -> Any:
        self._goes_on = True
        try:
            return super()._announce_cancelled(*args, **kwargs)
        finally:
            self.leave()

    def _retry_worker_lost(self, *args: Any, **kwargs: Any) -> Any:
        self._goes_on |= bool(again := super()._retry_worker_lost(*args, **kwargs))
        return again


def run_header(request: Any) -> dict[str, Any] | None:
    """What the message of a job's run carries; None for any other task."""
    return run_of(request.request_dict)
