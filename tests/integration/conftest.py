"""Real Celery workers as processes, and the counters of the server they use."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import pools

from smartworker.store.client import connection_options
from smartworker.store.keys import PROCESSES
from smartworker.store.meter import UNBILLED
from smartworker.testing import commandstats
from tests.logged import is_ours, strange
from tests.processes import WorkerProcess, wait_until

HERE = Path(__file__).parent
#: Sent by the tests themselves.
OURS = {"info", "config|resetstat", "monitor", "hlen"}


StartWorker = Callable[..., WorkerProcess]


@pytest.fixture
def start_worker(redis_url: str) -> Iterator[StartWorker]:
    """Starts workers that are ready; ends them with the test."""
    started: list[WorkerProcess] = []

    def start(*args: str, app: str = "project", **env: str) -> WorkerProcess:
        url = env.pop("url", redis_url)
        rows = _rows(url)
        worker = WorkerProcess(HERE, url, *args, app=app, **env)
        started.append(worker)
        if app == "project":
            worker.wait_for("worker_ready")
            # A thread writes it right after the start; a test counts from there.
            wait_until(
                lambda: (
                    _rows(url) > rows
                    or worker.events("row_not_written")
                    or worker.process.poll() is not None
                )
            )
        return worker

    yield start
    for worker in started:
        worker.kill()
    said = (line for worker in started for line in worker.lines if is_ours(line))
    assert [complaint for line in said if (complaint := strange(line))] == []


def _rows(url: str) -> int:
    """How many processes have a row; none on a server that does not answer us."""
    try:
        # Without the usual greeting, which is counted.
        with redis.Redis.from_url(url, **connection_options()) as client:
            return int(client.hlen(PROCESSES))
    except redis.RedisError:
        return 0


class Counter:
    """What the server counted since the last look, as `INFO commandstats` says."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url)
        self.client.ping()
        self._before = self._read()

    def _read(self) -> dict[str, int]:
        return commandstats(self.client)

    def all(self) -> dict[str, int]:
        """Every command since the last look, without those of this counter."""
        now = self._read()
        found = {
            name: count - self._before.get(name, 0)
            for name, count in now.items()
            if count != self._before.get(name, 0) and name not in OURS
        }
        self._before = self._read()
        return found

    def billed(self) -> dict[str, int]:
        """Those that Upstash bills."""
        return {
            name: count
            for name, count in self.all().items()
            if name.partition("|")[0] not in UNBILLED
        }


@pytest.fixture
def counter(redis_url: str) -> Iterator[Counter]:
    """Counts from now on."""
    counter = Counter(redis_url)
    yield counter
    counter.client.close()


@pytest.fixture
def project(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The user's project as a producer in this process, fresh for each test."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.syspath_prepend(str(HERE))
    sys.modules.pop("project", None)
    import project

    yield project
    project.app.close()
    pools.reset()
    project.app.backend.client.connection_pool.disconnect()
    sys.modules.pop("project", None)
