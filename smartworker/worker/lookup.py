"""What is known of a task, wherever its state stands."""

import json
from contextlib import suppress
from functools import cached_property, lru_cache
from typing import Any

from celery import states
from kombu.utils.encoding import bytes_to_str

from smartworker.store import keys, notifications
from smartworker.store.meter import because
from smartworker.worker.link import LazyLink
from smartworker.worker.records import beside_results, record_key
from smartworker.worker.results import Backend

Meta = dict[str, Any]

#: Records of runs that are kept in memory.
MOST_RECORDS = 1000


class Lookup:
    """Reads states for the web half; may be used from several threads."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._link = LazyLink(app)
        # A record beside which there are no results never changes.
        self._record = lru_cache(MOST_RECORDS)(self._read_record)

    @cached_property
    def _backend(self) -> Any:
        # Celery makes one for each thread, each with its own connections.
        return self._app.backend

    def find(self, task_id: str) -> Meta | None:
        """The stored state of a task; None if nobody has queued it.

        `{"status": "PENDING"}` if that is not known. 1 command; where results are not
        kept on the broker 1 more, the first time that the record of a run is needed.
        """
        with because("status"):
            # Uncached: the back end would keep every result that anyone asked for.
            meta: Meta = self._backend.get_task_meta(task_id, cache=False)
            if meta.get("status") != states.PENDING:
                return meta
            if _is_run(task_id) and not beside_results(self._app):
                with suppress(LookupError):
                    return dict(self._record(task_id))
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
        self._link.close()

    def _would_be_known(self, task_id: str) -> bool:
        """Whether there would be a record if somebody had queued this task."""
        if self._app.smartworker.track_queued and isinstance(self._backend, Backend):
            return True
        return _is_run(task_id)

    def _read_record(self, task_id: str) -> Meta:
        stored = self._link.get().client.get(record_key(self._app, task_id))
        if stored is None:
            raise LookupError(task_id)
        return dict(json.loads(stored))


def _is_run(task_id: str) -> bool:
    """Whether an id is that of a run, which is recorded when it is queued."""
    return task_id[14] == "5"
