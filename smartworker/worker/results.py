"""The result backend: one SET per result, and a subscription only while one waits."""

import contextlib
from typing import Any

from celery import states
from celery.backends.redis import RedisBackend, ResultConsumer
from kombu.utils.encoding import bytes_to_str

from smartworker.broker.channel import OUR_MARK
from smartworker.clock import system_clock
from smartworker.store import keys, notifications
from smartworker.store.client import (
    LOST,
    connection_options,
    keepalive_options,
    metered,
)
from smartworker.store.meter import because

#: Seconds between two looks while waiting: a subscription may die unnoticed.
LOOK_AGAIN = 30.0
#: The same where the server does not tell of results.
LOOK_AGAIN_DEAF = 1.0


class Waiter(ResultConsumer):
    """Waits for results by the server's own notice that their key was set.

    Celery's class keeps its locks; what it subscribes to and what a notice means
    are ours. A subscription is hung up, not cancelled: that costs no command.
    """

    _pubsub: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ids: dict[str, str] = {}
        self._looked = 0.0
        self._pause: float | None = None
        # Celery names its subscriptions by this function.
        self._get_key_for_task = self._channel_for

    def _channel_for(self, task_id: str) -> str:
        key = bytes_to_str(self.backend.get_key_for_task(task_id))
        channel = keys.keyspace(int(self.backend.connparams.get("db") or 0), key)
        self._ids[channel] = task_id
        return channel

    def start(self, initial_task_id: str, **kwargs: Any) -> None:
        """Begin to listen. At most 3 commands, 1 of them billed."""
        if self._pause is None:
            self._find_pause()
        super().start(initial_task_id, **kwargs)

    def _find_pause(self) -> None:
        rings = notifications.rings(self.backend.client)
        self._pause = LOOK_AGAIN if rings else LOOK_AGAIN_DEAF

    def _consume_from(self, task_id: str) -> None:
        channel = self._channel_for(task_id)
        self._pending_unsubscribe.discard(channel)
        if channel in self.subscribed_to:
            return
        self.subscribed_to.add(channel)
        with self.reconnect_on_error(), because("wait"):
            self._pubsub.subscribe(channel)
            # Confirmed before Celery looks, or a result stored in between is missed.
            self._pubsub.parse_response(block=True)

    def _reconnect_pubsub(self) -> None:
        with self._locked():
            if self._pubsub is not None:
                self._pubsub.close()
            self._pubsub = self.backend.client.pubsub(ignore_subscribe_messages=True)
            self.subscribed_to -= self._pending_unsubscribe
            self._pending_unsubscribe.clear()
            self._find_pause()
            with because("wait"):
                for channel in self.subscribed_to:
                    self._pubsub.subscribe(channel)
                    self._pubsub.parse_response(block=True)
            self._look()

    def _drain_one(self, pubsub: Any, timeout: float | None) -> bool:
        with self.reconnect_on_error():
            if system_clock.monotonic() - self._looked > (self._pause or 0):
                self._look()
            connection = pubsub.connection
            if not (pubsub.subscribed and connection and connection.can_read(0)):
                return False
            message = pubsub.get_message(timeout=timeout)
            if message and message["type"] == "message":
                self._fetch(bytes_to_str(message["channel"]))
        return True

    def _look(self) -> None:
        """Read all results that are waited for."""
        self._looked = system_clock.monotonic()
        for channel in list(self.subscribed_to - self._pending_unsubscribe):
            self._fetch(channel)

    def _fetch(self, channel: str) -> None:
        task_id = self._ids.get(channel)
        if task_id is None or channel not in self.subscribed_to:
            return
        with because("wait"):
            meta = self.backend.get_task_meta(task_id, cache=False)
        if meta["status"] != states.PENDING:
            self.on_state_change({**meta, "task_id": task_id}, None)

    def on_wait_for_pending(self, result: Any, **kwargs: Any) -> None:
        """Look once, now that the subscription is confirmed."""
        self._looked = system_clock.monotonic()
        with because("wait"):
            super().on_wait_for_pending(result, **kwargs)

    def _flush_pending_unsubscribe(self) -> None:
        if self._lock_depth.value:
            return
        if not self._pending_unsubscribe or not self._pubsub_lock.acquire(False):
            return
        try:
            gone = self._pending_unsubscribe & self.subscribed_to
            self._pending_unsubscribe.clear()
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
        with because("result"):
            # Only a message that came before can have left a SUCCESS to protect.
            if info.get("redelivered") and self._is_done(key):
                return result
            meta = self._get_result_meta(
                result=result, state=state, traceback=traceback, request=request
            )
            meta["task_id"] = bytes_to_str(task_id)
            encoded = self.encode(meta)
            self._set_with_state(key, encoded, state)
            if OUR_MARK not in marks:
                # A stock sender may be waiting, and it listens to nothing else.
                self.client.publish(key, encoded)
        return result

    def _is_done(self, key: bytes) -> bool:
        stored = self.get(key)
        return bool(stored) and self.decode_result(stored)["status"] == states.SUCCESS

    def _set(self, key: str, value: Any, expires: int | None = None) -> None:
        seconds = self.expires if expires is None else expires
        self.client.set(key, value, ex=seconds or None)
