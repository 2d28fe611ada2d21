"""What is known of a task, wherever its state stands."""

import json
import threading
from functools import cached_property
from typing import Any

from celery import states
from kombu.utils.encoding import bytes_to_str

from smartworker.store import keys, notifications
from smartworker.store.meter import because
from smartworker.worker.link import Link, open_link
from smartworker.worker.records import beside_results, record_key
from smartworker.worker.results import Backend

Meta = dict[str, Any]


class Lookup:
    """Reads states for the web half; may be used from several threads."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._link: Link | None = None
        self._lock = threading.Lock()

    @cached_property
    def _backend(self) -> Any:
        # Celery makes one for each thread, each with its own connections.
        return self._app.backend

    def find(self, task_id: str) -> Meta | None:
        """The stored state of a task; None if nobody has queued it.

        `{"status": "PENDING"}` if that is not known. 1 command; 1 more where results
        are not kept on the broker.
        """
        with because("status"):
            # Uncached: the back end would keep every result that anyone asked for.
            meta: Meta = self._backend.get_task_meta(task_id, cache=False)
            if meta.get("status") != states.PENDING:
                return meta
            if not beside_results(self._app):
                stored = self._broker().get(record_key(self._app, task_id))
                if stored is not None:
                    return dict(json.loads(stored))
            if self._would_be_known(task_id):
                return None
        return {"status": states.PENDING}

    def rings(self) -> bool:
        """Whether the server of the results tells when one changes. Not billed."""
        with because("wait"):
            return isinstance(self._backend, Backend) and notifications.rings(
                self._backend.client
            )

    def channel(self, task_id: str) -> str:
        """Where the server tells that the state of a task has changed."""
        key = bytes_to_str(self._backend.get_key_for_task(task_id))
        return keys.keyspace(int(self._backend.connparams.get("db") or 0), key)

    def client(self) -> Any:
        """A client on the server that tells."""
        return self._backend.client

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            if self._link is not None:
                self._link.close()
                self._link = None

    def _would_be_known(self, task_id: str) -> bool:
        """Whether there would be a record if somebody had queued this task."""
        if self._app.smartworker.track_queued and isinstance(self._backend, Backend):
            return True
        # Ids of version 5 are those of runs, which are recorded when they are queued.
        return task_id[14] == "5"

    def _broker(self) -> Any:
        with self._lock:
            if self._link is None:
                self._link = open_link(self._app)
            return self._link.client
