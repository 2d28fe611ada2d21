"""Celery's request, with which some errors of a task end the worker; not so ours."""

from typing import Any

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from celery.worker.request import Request as CeleryRequest

from smartworker.errors import SmartworkerError


class TaskOutOfMemory(SmartworkerError):
    """A task wanted more memory than there was."""


class Request(CeleryRequest):
    """A task that went wrong in a way that Celery does not expect has failed, alone."""

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
            return on_success(self, outcome, **options)

        cls.on_success = on_end

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        """Celery would raise a MemoryError once more, in the worker itself."""
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if isinstance(error, MemoryError):
            exc_info.exception = TaskOutOfMemory(str(error))
        return super().on_failure(exc_info, *args, **kwargs)
