"""The result backend: one SET per result, and a subscription only while one waits."""

import contextlib
from collections.abc import Iterator
from typing import Any

from celery import states
from celery.backends.redis import RedisBackend, ResultConsumer
from celery.exceptions import Reject
from kombu.utils.encoding import bytes_to_str
from kombu.utils.objects import cached_property

from smartworker.broker.channel import OUR_MARK
from smartworker.broker.doorbell import ANSWER_WITHIN
from smartworker.clock import system_clock
from smartworker.errors import SmartworkerError
from smartworker.logs import get_logger
from smartworker.store import keys, notifications
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
from smartworker.store.refusals import DENIED, OTHER, classify

log = get_logger(__name__)

#: The notice of a key that was set; its lifetime rings too.
STORED = b"set"
#: Seconds between two looks while waiting: a subscription may die unnoticed.
LOOK_AGAIN = 30.0
#: The same where the server does not tell of results.
LOOK_AGAIN_DEAF = 1.0


#: Bytes of the largest result: Upstash takes requests of 10 MB, from its documentation.
LARGEST = 10_000_000


class ResultRefused(SmartworkerError):
    """A task has run, and what it returned cannot be stored."""


class Waiter(ResultConsumer):
    """Waits for results by the server's own notice that their key was set.

    Celery's class keeps its locks; what it subscribes to and what a notice means
    are ours. It subscribes only while somebody waits, and hangs up instead of
    cancelling: that costs no command.
    """

    _pubsub: Any
    _pending_unsubscribe: set[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ids: dict[str, str] = {}
        self._wanted: set[str] = set()
        self._looked = 0.0
        self._pause: float | None = None
        # Celery names its subscriptions by this function.
        self._get_key_for_task = self._channel_for

    def _channel_for(self, task_id: str) -> str:
        key = bytes_to_str(self.backend.get_key_for_task(task_id))
        return keys.keyspace(int(self.backend.connparams.get("db") or 0), key)

    def consume_from(self, task_id: str) -> None:
        """Note whose result is wanted; a group asks this when it is sent."""
        with self._locked():
            channel = self._channel_for(task_id)
            self._ids[channel] = task_id
            self._pending_unsubscribe.discard(channel)
            if channel not in self.subscribed_to:
                self._wanted.add(channel)

    def on_wait_for_pending(self, result: Any, **kwargs: Any) -> None:
        """Somebody waits: subscribe, and then look once. 1 command and 1 or more."""
        with self._locked(), self.reconnect_on_error():
            if self._pubsub is None:
                self._open()
            self._subscribe_wanted()
        with because("wait"):
            super().on_wait_for_pending(result, **kwargs)

    def _open(self) -> None:
        if self._pause is None:
            rings = notifications.rings(self.backend.client)
            self._pause = LOOK_AGAIN if rings else LOOK_AGAIN_DEAF
        self._looked = system_clock.monotonic()
        self._pubsub = self.backend.client.pubsub(ignore_subscribe_messages=True)

    def _reconnect_pubsub(self) -> None:
        """A connection was lost: ask for everything anew, and look at all of it."""
        with self._locked():
            if self._pubsub is not None:
                self._pubsub.close()
            self._wanted |= self.subscribed_to - self._pending_unsubscribe
            self.subscribed_to.clear()
            self._pending_unsubscribe.clear()
            self._pause = None
            self._open()
            self._subscribe_wanted()
            self._look()

    def _subscribe_wanted(self) -> None:
        """Confirmed before anybody looks, or a result stored in between is missed."""
        wanted = self._wanted
        if not wanted:
            return
        with because("wait"):
            self._pubsub.subscribe(*wanted)
            missing = len(wanted)
            while missing:
                answer = self._pubsub.parse_response(block=False, timeout=ANSWER_WITHIN)
                if answer is None:
                    raise ConnectionError("the subscription is not confirmed")
                kind, channel, data = answer
                if bytes_to_str(kind) == "subscribe":
                    missing -= 1
                elif data == STORED:
                    self._fetch(bytes_to_str(channel))
        self.subscribed_to |= wanted
        self._wanted = set()

    def _drain_one(self, pubsub: Any, timeout: float | None) -> bool:
        with self.reconnect_on_error():
            if system_clock.monotonic() - self._looked > (self._pause or 0):
                self._look()
            connection = pubsub.connection
            if not (pubsub.subscribed and connection and connection.can_read(0)):
                return False
            message = pubsub.get_message(timeout=timeout)
            if message and message["data"] == STORED:
                self._fetch(bytes_to_str(message["channel"]))
        return True

    def _look(self) -> None:
        """Read all results that are waited for."""
        self._looked = system_clock.monotonic()
        for channel in list(self.subscribed_to - self._pending_unsubscribe):
            self._fetch(channel)

    def _fetch(self, channel: str) -> None:
        task_id = self._ids.get(channel)
        if task_id is None:
            return
        with because("wait"):
            meta = self.backend.get_task_meta(task_id, cache=False)
        if meta["status"] != states.PENDING:
            self.on_state_change({**meta, "task_id": task_id}, None)

    def _flush_pending_unsubscribe(self) -> None:
        if self._lock_depth.value:
            return
        if not self._pending_unsubscribe or not self._pubsub_lock.acquire(False):
            return
        try:
            gone, self._pending_unsubscribe = self._pending_unsubscribe, set()
            self._wanted -= gone
            self.subscribed_to -= gone
            for channel in gone:
                self._ids.pop(channel, None)
            if not self.subscribed_to and self._pubsub is not None:
                pubsub, self._pubsub = self._pubsub, None
                with contextlib.suppress(*LOST):
                    pubsub.close()
        finally:
            self._pubsub_lock.release()


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

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        info = getattr(request, "delivery_info", None) or {}
        marks = getattr(request, "properties", None) or {}
        key = self.get_key_for_task(task_id)
        with because("result"), self._kept_if_refused(task_id, state, request):
            # Only another run can have left a SUCCESS to protect: that of a message
            # that came before, or the next one of a retry, which may be faster.
            again = info.get("redelivered") or state == states.RETRY
            if again and self._is_done(key):
                return result
            meta = self._get_result_meta(
                result=result, state=state, traceback=traceback, request=request
            )
            meta["task_id"] = bytes_to_str(task_id)
            encoded = self.encode(meta)
            if len(encoded) > LARGEST:
                encoded = self._failure(
                    task_id,
                    f"the result has {len(encoded):,} bytes, {LARGEST:,} are allowed",
                    request,
                )
                state = states.FAILURE
            self._set_with_state(key, encoded, state)
            if OUR_MARK not in marks:
                # A stock sender may be waiting, and it listens to nothing else.
                self.client.publish(key, encoded)
        return result

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
        self, task_id: str, state: str, request: Any
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
            log.error("result_lost", task_id=task_id, error=str(error)[:200])
            if isinstance(error, ResponseError) and classify(error) in (OTHER, DENIED):
                # It will never be stored, and running the task again helps nobody.
                with contextlib.suppress(*LOST, RedisError):
                    why = f"the server refuses the result ({str(error)[:200]})"
                    failure = self._failure(task_id, why, request)
                    self._set(self.get_key_for_task(task_id), failure)
                return
            ends = state in states.READY_STATES or state == states.RETRY
            if ends and self.app.current_worker_task is not None:
                reason = f"the result is not stored: {error}"
                raise Reject(reason, requeue=True) from error

    def _set(self, key: str, value: Any, expires: int | None = None) -> None:
        seconds = self.expires if expires is None else expires
        try:
            self.client.set(key, value, ex=seconds or None)
        except ResponseError as error:
            if classify(error) in (OTHER, DENIED):
                raise
            # It passes by itself: Celery tries again what is a lost connection.
            raise ConnectionError(str(error)) from error
