"""Where the history of cron jobs is kept: in Redis, or in DATABASE_URL."""

import threading
from collections.abc import Callable
from typing import Any, Protocol

from smartworker.settings import Settings
from smartworker.store import runs
from smartworker.store.client import LOST, RedisError
from smartworker.store.database import DatabaseAway, DatabaseHistory, unusable
from smartworker.store.runs import RunRecord

#: What `add` and `last` raise when the place is away or refuses.
HISTORY_ERRORS = (*LOST, RedisError, DatabaseAway)


class History(Protocol):
    """The finished runs of all jobs. Both methods may raise HISTORY_ERRORS."""

    def add(self, record: RunRecord) -> None:
        """Remember a run. 1 command in Redis, none with a database."""

    def last(self, job: str, count: int) -> list[RunRecord]:
        """The last runs of a job, newest first. 1 command in Redis, or none."""


class Server(Protocol):
    """A connection to Redis: `worker.link.Link` is one."""

    @property
    def client(self) -> Any:
        """A client that adds no prefix to keys."""

    @property
    def prefix(self) -> str:
        """What stands in front of all keys."""


class RedisHistory:
    """Runs in a stream of each job, on a server that is connected at first use."""

    def __init__(self, connect: Callable[[], Server]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._server: Server | None = None

    def add(self, record: RunRecord) -> None:
        """Remember a run. 1 command."""
        server = self._reach()
        runs.add(server.client, record, server.prefix)

    def last(self, job: str, count: int) -> list[RunRecord]:
        """The last runs of a job, newest first. 1 command."""
        server = self._reach()
        return runs.last(server.client, job, count, server.prefix)

    def _reach(self) -> Server:
        with self._lock:
            if self._server is None:
                self._server = self._connect()
            return self._server


def open_history(settings: Settings, connect: Callable[[], Server]) -> History:
    """The history that these settings mean. Connects to nothing before it is used.

    `connect` gives the broker's server; it is asked once, if the history is there.
    """
    url = settings.database_url
    if url is None or unusable(url):
        return RedisHistory(connect)
    return DatabaseHistory(url)


def why_not_database(settings: Settings) -> str | None:
    """Why the history stays in Redis although a database is set; None if it does not.

    One sentence, without the URL.
    """
    url = settings.database_url
    return None if url is None else unusable(url)
