"""Real Celery workers as processes, and the counters of the server they use."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import pools

from smartworker.store.meter import UNBILLED
from smartworker.testing import commandstats

HERE = Path(__file__).parent
#: Sent by the tests themselves.
OURS = {"info", "config|resetstat", "monitor"}


class WorkerProcess:
    """A worker; its log lines are read as they come."""

    def __init__(self, url: str, *args: str, app: str = "project", **env: str) -> None:
        self.lines: list[dict[str, Any]] = []
        self.text = ""
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", app, "worker", "-l", "info", *args],
            env={**os.environ, "PYTHONPATH": str(HERE), "REDIS_URL": url, **env},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.text += line
                try:
                    self.lines.append(json.loads(line))
                except ValueError:
                    self.lines.append({"event": "", "text": line})
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines with this event name."""
        return [line for line in self.lines if line.get("event") == name]

    def wait_for(self, name: str, count: int = 1, seconds: float = 20) -> None:
        """Until the event was logged so many times."""
        with self._changed:
            seen = self._changed.wait_for(
                lambda: (
                    len(self.events(name)) >= count or self.process.poll() is not None
                ),
                seconds,
            )
        assert seen, f"no {name} within {seconds} s:\n{self.text}"
        assert len(self.events(name)) >= count, self.text

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.process.wait(20)

    def kill(self) -> None:
        """Whatever is left."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
        self.process.wait(10)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()


StartWorker = Callable[..., WorkerProcess]


@pytest.fixture
def start_worker(redis_url: str) -> Iterator[StartWorker]:
    """Starts workers that are ready; ends them with the test."""
    started: list[WorkerProcess] = []

    def start(*args: str, app: str = "project", **env: str) -> WorkerProcess:
        worker = WorkerProcess(env.pop("url", redis_url), *args, app=app, **env)
        started.append(worker)
        if app == "project":
            worker.wait_for("worker_ready")
        return worker

    yield start
    for worker in started:
        worker.kill()


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
