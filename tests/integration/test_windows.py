"""Real workers that believe to be on Windows or macOS: `tests/windows_like.py`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Queue

import smartworker
from smartworker.settings import Settings
from tests.processes import WorkerProcess, wait_until

pytestmark = pytest.mark.slow

LIKE = str(Path(__file__).parents[1] / "windows_like.py")
POOLS = ("solo", "threads")
CTRL_C, CTRL_BREAK = signal.SIGINT, signal.SIGUSR1
Start = Callable[..., WorkerProcess]


@pytest.fixture
def start_there(start_worker: Start) -> Start:
    """Starts workers as they would be on Windows."""

    def start(*args: str, **env: Any) -> WorkerProcess:
        return start_worker(*args, program=(LIKE, "windows", "celery"), **env)

    return start


@pytest.mark.parametrize("pool", POOLS)
def test_a_task_begins_at_once_and_costs_four(
    start_there: Start, counter: Any, project: Any, pool: str
) -> None:
    """The bell ends a sleep in select(), an ETA is kept, and being idle is free."""
    worker = start_there("-P", pool, "-c", "2")
    counter.billed()
    time.sleep(2.5)  # longer than Celery sleeps without its loop
    assert set(counter.billed()) <= {"exists"}
    begun = time.monotonic()
    project.add.delay(1, 2)
    worker.wait_for("task_finished")
    assert time.monotonic() - begun < 1
    for number in range(19):
        project.add.delay(number, number)
    worker.wait_for("task_finished", 20)
    wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))
    counts = counter.billed()
    lease = {"time": 1, "zadd": 1}
    del counts["keys"]
    assert counts == {"lpush": 20, "lmove": 20, "lrem": 20, "set": 20, **lease}
    begun = time.monotonic()
    project.add.apply_async((1, 1), countdown=1)
    worker.wait_for("task_finished", 21)
    assert 0.9 < time.monotonic() - begun < 3


@pytest.mark.parametrize(
    ("key", "status", "command"),
    [(CTRL_C, 1, "health"), (CTRL_BREAK, 0, "status")],
    ids=["ctrl-c", "ctrl-break"],
)
def test_a_key_stops_it(
    start_there: Start,
    redis_url: str,
    project: Any,
    tmp_path: Path,
    key: int,
    status: int,
    command: str,
) -> None:
    """The usual pool is solo; it can be asked; and no key interrupts a select()."""
    home = str(tmp_path / "states")
    worker = start_there(SMARTWORKER_STATE_DIR=home)
    asked = subprocess.run(
        [sys.executable, LIKE, "windows", "smartworker.cli.main", command],
        env={
            **os.environ,
            "REDIS_URL": redis_url,
            "SMARTWORKER_STATE_DIR": home,
            "SMARTWORKER_DOORBELL": "off",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (asked.returncode, "celery@" in asked.stdout) == (0, True), asked
    (answer,) = project.app.control.inspect(timeout=5, limit=1).stats().values()
    assert answer["pool"]["implementation"] == "celery.concurrency.solo:TaskPool"
    begun = time.monotonic()
    worker.send(key)
    assert worker.process.wait(20) == status
    assert time.monotonic() - begun < 4


def test_a_second_ctrl_c_gives_the_running_task_back(
    start_there: Start, counter: Any, project: Any
) -> None:
    """As everywhere, some seconds later, for nobody can stop a thread."""
    worker = start_there("-P", "threads", "-c", "1")
    project.nap.delay(60)
    worker.wait_for("task_started")
    worker.send(CTRL_C)
    worker.wait_for("worker_stopping")
    worker.send(CTRL_C)
    assert worker.process.wait(20) == 1
    assert counter.client.llen("celery") == 1


def test_what_a_killed_worker_held_is_rescued(
    start_there: Start, counter: Any, project: Any
) -> None:
    """The lease ends, and the next worker runs it."""
    first = start_there(SMARTWORKER_LEASE="1s")
    project.nap.delay(2)
    first.wait_for("task_started")
    first.kill_all()
    second = start_there(SMARTWORKER_LEASE="1s")
    second.wait_for("task_finished")
    wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))


def test_lost_connections_are_mended(
    start_there: Start, counter: Any, project: Any
) -> None:
    """Without another start of Celery's consumer; what runs goes on, and runs once."""
    worker = start_there("-P", "threads", "-c", "2")
    project.nap.delay(1)
    worker.wait_for("task_started")
    for kind in ("pubsub", "normal"):
        counter.client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    worker.wait_for("task_finished")
    project.add.delay(1, 1)
    worker.wait_for("task_finished", 2)
    assert len(worker.events("task_started")) == 2
    assert len(worker.events("worker_ready")) == 1
    assert not [line for line in worker.lines if "exception" in line]
    wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))


def test_macos_forks_as_linux_does(
    start_worker: Start, counter: Any, project: Any
) -> None:
    """Without epoll, and without what ties a child to its parent."""
    worker = start_worker("-c", "1", program=(LIKE, "macos", "celery"))
    project.add.delay(1, 2)
    worker.wait_for("task_finished")
    assert worker.stop() == 0
    assert counter.client.keys("smartworker:inflight:*") == []


def test_without_a_doorbell_no_empty_lists_are_waited_for(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """select() refuses them there; a consumer of kombu waits all the same."""
    settings = Settings(redis_url=redis_url, doorbell="off")
    app = smartworker.setup(Celery("shop", set_as_current=False), settings)
    monkeypatch.setattr("selectors.DefaultSelector.select", lambda *_: 1 / 0)
    with app.connection_for_read() as connection:
        queue = Queue("celery")
        with connection.Consumer(queue, callbacks=[lambda *_: None]):
            begun = time.monotonic()
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.2)
            assert time.monotonic() - begun >= 0.2
    app.close()
