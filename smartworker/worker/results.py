"""The result backend: one SET per result, and nothing for asking twice."""

import contextlib
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from celery import states
from celery.backends.redis import RedisBackend
from celery.exceptions import Reject, Retry
from kombu.utils.encoding import bytes_to_str
from kombu.utils.objects import cached_property

from smartworker.broker.channel import OUR_MARK
from smartworker.clock import system_clock
from smartworker.cron.runs import run_of
from smartworker.cron.slots import stamp
from smartworker.errors import SmartworkerError
from smartworker.logs import get_logger
from smartworker.store.client import (
    LOST,
    ConnectionError,
    RedisError,
    ResponseError,
    connection_options,
    keepalive_options,
    metered,
    verified,
)
from smartworker.store.meter import because
from smartworker.store.queues import Result
from smartworker.store.refusals import DENIED, OTHER, classify
from smartworker.worker.luggage import luggage, opened
from smartworker.worker.progress import STATE, finish
from smartworker.worker.queued import QueuedRecorder
from smartworker.worker.waiting import Waiter

log = get_logger(__name__)

#: Bytes of the largest result: Upstash takes requests of 10 MB, from its documentation.
LARGEST = 10_000_000

#: Parameters of a connection that tell one server, database and user from another.
WHERE = ("host", "port", "path", "db", "username", "password")


class ResultRefused(SmartworkerError):
    """A task has run, and what it returned cannot be stored."""


class Backend(RedisBackend):
    """Celery's Redis results in one command each, all of them counted."""

    ResultConsumer = Waiter

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plain = self.connparams.get("connection_class") or self.redis.Connection
        self.connparams.update(connection_options(), connection_class=metered(plain))
        if "path" not in self.connparams:
            self.connparams["socket_keepalive_options"] = keepalive_options()
        else:
            # Celery passes it on to Unix sockets too, which know no such thing.
            self.connparams.pop("socket_keepalive", None)

    def _params_from_url(self, url: str, defaults: Any) -> dict[str, Any]:
        params: dict[str, Any] = super()._params_from_url(url, defaults)
        options = self.app.conf.broker_transport_options
        plain = params.get("connection_class") or self.redis.Connection
        return verified(
            {**params, "connection_class": plain},
            options.get("tls_ca"),
            verify=options.get("tls_verify", True),
        )

    @cached_property
    def retry_policy(self) -> dict[str, Any]:
        """Four minutes of growing pauses: longer than a server's restart."""
        return {
            "max_retries": 30,
            "interval_start": 0.5,
            "interval_step": 1.5,
            "interval_max": 10,
        } | self._transport_options.get("retry_policy", {})

    def on_connection_error(
        self, max_retries: Any, exc: Exception, intervals: Any, retries: int
    ) -> float:
        """The pause before the next try; said once an outage."""
        pause = float(next(intervals))
        if retries == 0:
            log.warning("results_away", error=str(exc)[:200], retry_seconds=pause)
        return pause

    def _add_driver_info(self) -> None:
        """Introducing ourselves would cost two commands per connection."""

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Nobody waits yet: subscribing now would be two commands for nothing."""
        if self.app.smartworker.track_queued:
            self._recorder.expect(task_id)

    @cached_property
    def _recorder(self) -> QueuedRecorder:
        return QueuedRecorder(self)

    def store_progress(self, task_id: str, progress: Any, request: Any) -> None:
        """How far a task is; 1 command, tried once. Raises what redis-py raises."""
        meta = self._get_result_meta(progress, STATE, None, request)
        encoded = self.encode({**meta, "task_id": task_id})
        with because("progress"):
            self._set(self.get_key_for_task(task_id), encoded, self._kept(request))
            self._tell_stock_senders(task_id, encoded, request)

    def shares(self, pool: Any) -> bool:
        """Whether the connections of a pool lead to where our own do."""
        theirs, ours = pool.connection_kwargs, self.connparams
        return all(theirs.get(name) == ours.get(name) for name in WHERE)

    def mark_as_done(
        self, task_id: str, result: Any, request: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        """The task has ended well: its result may go home, if no chord waits."""
        is_part = bool(request and request.chord)
        with contextlib.nullcontext() if is_part else opened(task_id):
            super().mark_as_done(task_id, result, request, *args, **kwargs)

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        *,
        unpacked: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Celery's; `unpacked` of a task whose run is over in this process."""
        info = getattr(request, "delivery_info", None) or {}
        if state in states.READY_STATES or state == states.RETRY:
            finish(request)
        key = self.get_key_for_task(task_id)
        in_task = unpacked or self.app.current_worker_task is not None
        guard = self._kept_if_refused(task_id, state, request, in_task=in_task)
        with because("result"), guard:
            # A run of the same message may have left a SUCCESS to protect.
            if info.get("redelivered") and self._is_done(key):
                return result
            encoded = self._encoded(task_id, result, state, traceback, request)
            kept = self._kept(request)
            mine = luggage.get()
            if mine is not None:
                same = task_id, result, state, traceback, request
                again = partial(self._store_result, *same, unpacked=True)
                if mine.pack(task_id, state, self._to_store(key, encoded, kept), again):
                    return result
            if state == states.RETRY:
                encoded = self._store_retry(key, encoded, kept)
            else:
                self.set(key, encoded, kept)
            self._tell_stock_senders(task_id, encoded, request)
        return result

    def _encoded(
        self, task_id: str, result: Any, state: str, traceback: Any, request: Any
    ) -> Any:
        """What is stored of a state; a failure if it is larger than a server takes."""
        meta = self._get_result_meta(
            result=result, state=state, traceback=traceback, request=request
        )
        encoded = self.encode({**meta, "task_id": bytes_to_str(task_id)})
        if len(encoded) <= LARGEST:
            return encoded
        why = f"the result has {len(encoded):,} bytes, {LARGEST:,} are allowed"
        return self._failure(task_id, why, request)

    def _store_retry(self, key: bytes, encoded: Any, kept: int | None) -> Any:
        """Store that a task runs again; what stands there then.

        The next run is queued before, and may have ended already: its end goes back to
        where it stood. To ask first would leave a gap between asking and storing.
        1 command, 2 if the next run was faster.
        """
        former = self.ensure(self._exchange, (key, encoded, kept))
        if former and self.decode_result(former)["status"] in states.READY_STATES:
            self.set(key, former, kept)
            return former
        return encoded

    def _get_result_meta(
        self, result: Any, state: Any, traceback: Any, request: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Celery's, with the run of a job and when a retry runs again."""
        meta: dict[str, Any] = super()._get_result_meta(
            result, state, traceback, request, **kwargs
        )
        run = run_of(getattr(request, "headers", None))
        if run is not None:
            meta["run"] = run
        # Celery stores a retry while it handles the exception that asked for it.
        asked = sys.exception()
        if state == states.RETRY and isinstance(asked, Retry):
            meta["retry_at"] = self._moment(asked.when)
        return meta

    def _moment(self, when: Any) -> str | None:
        now = system_clock.now()
        if isinstance(when, datetime):
            aware = when if when.tzinfo else when.replace(tzinfo=self.app.timezone)
            return stamp(aware)
        return None if when is None else stamp(now + timedelta(seconds=float(when)))

    def _kept(self, request: Any) -> int | None:
        """Seconds for which a state is kept; None for what the settings say.

        That of a job's run may have to be kept for longer.
        """
        retention = (run_of(getattr(request, "headers", None)) or {}).get("retention")
        if self.expires and isinstance(retention, int) and retention > self.expires:
            return retention
        return None

    def _tell_stock_senders(self, task_id: str, encoded: Any, request: Any) -> None:
        """A stock sender may be waiting, and it listens to nothing else."""
        if OUR_MARK not in (getattr(request, "properties", None) or {}):
            self.client.publish(self.get_key_for_task(task_id), encoded)

    def _failure(self, task_id: str, why: str, request: Any) -> Any:
        """What is stored in place of a result that no server takes."""
        failure = self.prepare_exception(
            ResultRefused(f"{why}: store it elsewhere and return where.")
        )
        meta = self._get_result_meta(
            result=failure, state=states.FAILURE, traceback=None, request=request
        )
        return self.encode({**meta, "task_id": bytes_to_str(task_id)})

    def _is_done(self, key: bytes) -> bool:
        stored = self.get(key)
        return bool(stored) and self.decode_result(stored)["status"] == states.SUCCESS

    @contextlib.contextmanager
    def _kept_if_refused(
        self, task_id: str, state: str, request: Any, *, in_task: bool
    ) -> Iterator[None]:
        """A result that nobody stores: its message goes back instead of being done.

        News of a task that runs may get lost; and in the worker's own process there
        is no message to keep, and no error may reach Celery's consumer.
        """
        try:
            yield
        except (*LOST, RedisError) as error:
            if request is None:
                raise
            if isinstance(error, ResponseError) and classify(error) in (OTHER, DENIED):
                self.store_denial(task_id, error, request)
                return
            _lost(task_id, error)
            ends = state in states.READY_STATES or state == states.RETRY
            if ends and in_task:
                reason = f"the result is not stored: {error}"
                raise Reject(reason, requeue=True) from error

    def store_denial(self, task_id: str, error: RedisError, request: Any) -> None:
        """A failure in place of a result that the server never takes. 1 command.

        Running the task again would help nobody.
        """
        _lost(task_id, error)
        with contextlib.suppress(*LOST, RedisError), because("result"):
            why = f"the server refuses the result ({str(error)[:200]})"
            failure = self._failure(task_id, why, request)
            self._set(self.get_key_for_task(task_id), failure, self._kept(request))

    def _set(self, key: str, value: Any, expires: int | None = None) -> None:
        self._exchange(key, value, expires, asked=False)

    def _exchange(
        self, key: Any, value: Any, expires: int | None, *, asked: bool = True
    ) -> Any:
        """Store a value; the one before, if it is asked for."""
        seconds = self._to_store(key, value, expires).seconds
        try:
            return self.client.set(key, value, ex=seconds, get=asked)
        except ResponseError as error:
            if classify(error) in (OTHER, DENIED):
                raise
            # It passes by itself: Celery tries again what is a lost connection.
            raise ConnectionError(str(error)) from error

    def _to_store(self, key: Any, value: Any, expires: int | None) -> Result:
        seconds = self.expires if expires is None else expires
        return Result(key, value, seconds or None)


def _lost(task_id: str, error: Exception) -> None:
    log.error("result_lost", task_id=task_id, error=str(error)[:200])
