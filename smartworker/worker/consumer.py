"""Celery's consumer, which throws away what it cannot run; ours keeps it."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from celery import signals
from celery.concurrency.solo import TaskPool as SoloPool
from celery.worker.consumer import Consumer as CeleryConsumer

from smartworker.broker.channel import Channel
from smartworker.broker.poller import Poller
from smartworker.broker.returns import INVALID, UNDECODABLE

CELERYS_REQUEST = "celery.worker.request:Request"
OUR_REQUEST = "smartworker.worker.request:Request"
#: What a message can make Celery raise that is none of its own errors.
_ITS_FAULT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Consumer(CeleryConsumer):
    """Sends to the dead letters what can never run, and back what others may run."""

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """It is no task at all."""
        if not self._bury(message, INVALID, "it is no task: it has no task header"):
            super().on_unknown_message(body, message)

    def on_unknown_task(self, body: Any, message: Any, exc: Any) -> None:
        """Another release may know the task: a deploy overlaps with the one before."""
        if not isinstance(message.channel, Channel):
            super().on_unknown_task(body, message, exc)
            return
        headers = message.headers or {}
        message.channel.hold_back(message.delivery_tag)
        signals.task_unknown.send(
            sender=self,
            message=message,
            exc=exc,
            name=headers.get("task"),
            id=headers.get("id"),
        )

    def on_invalid_task(self, body: Any, message: Any, exc: Any) -> None:
        """Its content type is not accepted, or it is no task that can be called."""
        if self._bury(message, INVALID, _brief(exc)):
            signals.task_rejected.send(sender=self, message=message, exc=exc)
        else:
            super().on_invalid_task(body, message, exc)

    def on_decode_error(self, message: Any, exc: Any) -> None:
        """Its body is not what its content type says."""
        if not self._bury(message, UNDECODABLE, _brief(exc)):
            super().on_decode_error(message, exc)

    def on_close(self) -> None:
        """The worker stops; Celery drops what no process has confirmed so far."""
        _keep_given(self.pool)
        super().on_close()

    def cancel_active_requests(self) -> None:
        """A cold shutdown, after the soft one if there was any."""
        self.safekeeper.cold()
        # Nobody can stop a thread, nor the task of a solo pool: what they run goes
        # back when the process ends.
        with suppress(NotImplementedError):
            super().cancel_active_requests()

    def update_strategies(self) -> None:
        """Before Celery makes a class of requests for each task."""
        for task in self.app.tasks.values():
            if task.Request == CELERYS_REQUEST:
                task.Request = OUR_REQUEST
        super().update_strategies()

    def call_soon_ack(self, p: Any, *args: Any, **kwargs: Any) -> Any:
        """Acknowledge at once where no loop would: a solo pool blocks it, and a worker
        that stops has left it.
        """
        poller = getattr(getattr(self.connection, "transport", None), "cycle", None)
        left = isinstance(poller, Poller) and not poller.in_loop
        if isinstance(self.pool, SoloPool) or left:
            return p(*args, **kwargs)
        return super().call_soon_ack(p, *args, **kwargs)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        """The callback for messages; one that makes Celery stumble ends no worker."""
        handle = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Any) -> Any:
            try:
                return handle(message)
            except _ITS_FAULT as error:
                if not self._bury(message, INVALID, _brief(error)):
                    raise

        return on_task_received

    def _bury(self, message: Any, reason: str, detail: str) -> bool:
        channel = message.channel
        return isinstance(channel, Channel) and channel.bury(
            message.delivery_tag, reason, detail
        )


def _keep_given(pool: Any) -> None:
    """Let Celery keep the jobs that processes were given: they run, heard of or not.

    Dropped, such a job would run again elsewhere, and its process would wait for half a
    minute for somebody to read its result.
    """
    jobs = getattr(getattr(pool, "_pool", None), "_cache", {})
    for job in tuple(jobs.values()):
        if job._write_to is not None:
            job._accepted = True


def _brief(error: Any) -> str:
    return f"{type(error).__name__}: {error}"[:300]
