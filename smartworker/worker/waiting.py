"""Waiting for results with `.get()`: a subscription only while somebody waits."""

import contextlib
from typing import Any

from celery import states
from celery.backends.redis import ResultConsumer
from kombu.utils.encoding import bytes_to_str

from smartworker.broker.doorbell import ANSWER_WITHIN
from smartworker.clock import system_clock
from smartworker.store import keys, notifications
from smartworker.store.client import LOST, ConnectionError
from smartworker.store.meter import because

#: The notice of a key that was set; its lifetime rings too.
STORED = b"set"
#: Seconds between two looks while waiting: a subscription may die unnoticed.
LOOK_AGAIN = 30.0
#: The same where the server does not tell of results.
LOOK_AGAIN_DEAF = 1.0


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
