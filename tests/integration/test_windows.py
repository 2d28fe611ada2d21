"""Real workers that believe to be on Windows or macOS: `tests/windows_like.py`."""

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
from tests.commands import environment
from tests.processes import WorkerProcess, wait_until

pytestmark = pytest.mark.slow

LIKE = str(Path(__file__).parents[1] / "windows_like.py")
CTRL_C, CTRL_BREAK = signal.SIGINT, signal.SIGUSR1
#: Seconds within which a loaded machine does what takes no time; without the bell a
#: task would wait for half an hour, and without our look at the keys a stop for 10 s.
SOON = 6
Start = Callable[..., WorkerProcess]


@pytest.fixture
def start_there(start_worker: Start) -> Start:
    """Starts workers as they would be on Windows."""

    def start(*args: str, **env: Any) -> WorkerProcess:
        return start_worker(*args, program=(LIKE, "windows", "celery"), **env)

    return start


def check_twenty(worker: WorkerProcess, counter: Any, project: Any) -> None:
    """The bell ends a sleep in select(), and a task costs four."""
    counter.billed()
    begun = time.monotonic()
    project.add.delay(1, 2)
    worker.wait_for("task_finished")
    assert time.monotonic() - begun < SOON
    for number in range(19):
        project.add.delay(number, number)
    worker.wait_for("task_finished", 20)
    wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))
    counts = counter.billed()
    lease = {"time": 1, "zadd": 1}
    del counts["keys"]
    assert counts == {"lpush": 20, "lmove": 20, "lrem": 20, "set": 20, **lease}


def test_the_usual_pool_works_until_ctrl_break(
    start_there: Start, counter: Any, project: Any, redis_url: str, tmp_path: Path
) -> None:
    """It is solo; being idle is free, an ETA is kept, and it can be asked."""
    home = {"SMARTWORKER_STATE_DIR": str(tmp_path / "states")}
    worker = start_there(**home)
    counter.billed()
    time.sleep(2.5)  # longer than Celery sleeps without its loop
    assert set(counter.billed()) <= {"exists"}
    check_twenty(worker, counter, project)
    begun = time.monotonic()
    project.add.apply_async((1, 1), countdown=1)
    worker.wait_for("task_finished", 21)
    assert 0.9 < time.monotonic() - begun < 1 + SOON
    asked = [
        subprocess.Popen(
            [sys.executable, LIKE, "windows", "smartworker.cli.main", command],
            env=environment(redis_url, SMARTWORKER_DOORBELL="off", **home),
            stdout=subprocess.PIPE,
            text=True,
        )
        for command in ("health", "status")
    ]
    for process in asked:
        told, _ = process.communicate(timeout=60)
        assert (process.returncode, "celery@" in told) == (0, True), told
    (answer,) = project.app.control.inspect(timeout=5, limit=1).stats().values()
    assert answer["pool"]["implementation"] == "celery.concurrency.solo:TaskPool"
    begun = time.monotonic()
    worker.send(CTRL_BREAK)
    assert worker.process.wait(20) == 0
    assert time.monotonic() - begun < SOON


def test_threads_end_what_they_run(
    start_there: Start, counter: Any, project: Any
) -> None:
    """After Ctrl-C the running task ends, and keeps its result."""
    worker = start_there("-P", "threads", "-c", "2")
    check_twenty(worker, counter, project)
    task = project.nap.delay(1)
    worker.wait_for("task_started", 21)
    worker.send(CTRL_C)
    worker.process.wait(40)
    assert task.state == "SUCCESS"
    assert counter.client.llen("celery") == 0


def test_what_a_killed_worker_held_is_rescued(start_there: Start, project: Any) -> None:
    """The lease ends, and the next worker runs it."""
    first = start_there(SMARTWORKER_LEASE="1s")
    task = project.nap.delay(60).id
    first.wait_for("task_started")
    first.kill_all()
    second = start_there(SMARTWORKER_LEASE="1s")
    second.wait_for("task_started")
    assert [line["task_id"] for line in second.events("task_started")] == [task]


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
