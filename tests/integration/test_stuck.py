"""A worker whose loop stands still leaves; its tasks are done by another one."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.integration.conftest import StartWorker
from tests.processes import WorkerProcess, wait_until

#: Ends soon after its worker.
LEASE = {"SMARTWORKER_LEASE": "2s", "SMARTWORKER_QUIET_POLL": "5s"}


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """Where the tasks say what they do."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as made:
        yield made


@pytest.fixture
def send(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A producer, which can also make workers stand still."""
    from celery import Celery

    import smartworker
    from smartworker.settings import Settings

    app = Celery("sender", set_as_current=False)
    smartworker.setup(app, Settings(redis_url=redis_url))
    yield app
    app.close()


def start(start_worker: StartWorker, *args: str, **env: str) -> WorkerProcess:
    """A worker that is ready."""
    worker = start_worker(*args, app="stuck", **{**LEASE, **env})
    worker.wait_for("worker_ready")
    return worker


def children(pid: int) -> list[int]:
    """The processes that this one started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    return [int(word) for word in text.split()]


def lives(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
def test_a_loop_that_stands_still_ends_the_worker(
    start_worker: StartWorker, send: Any, client: Any
) -> None:
    """Status 70, no orphan, one line with the place; nothing is lost."""
    worker = start(start_worker, "-c", "2")
    for number in range(6):
        send.send_task("stuck.note", (number, 30.0 if number < 2 else 0.0))
    wait_until(lambda: client.llen("begun") == 2)
    pool = children(worker.process.pid)
    assert len(pool) == 2
    send.control.broadcast("freeze", {"seconds": 60.0})
    assert worker.process.wait(15) == 70
    wait_until(lambda: not any(map(lives, pool)), what="the end of the pool")
    worker.wait_for("worker_stuck")
    (line,) = worker.events("worker_stuck")
    assert line["reason"].startswith("the loop does not turn for ")
    assert line["exit_status"] == 70
    assert line["stack"][-1].startswith("stuck.py:")
    assert line["stack"][-1].endswith(" freeze")
    assert client.llen("done") == 0

    # Whoever waits for the long ones need not wait for all of their time.
    second = start(start_worker, "-c", "4")
    wait_until(lambda: client.llen("begun") >= 8, 30, "all tasks begun")
    assert {*client.lrange("begun", 0, -1)} == set("012345")
    wait_until(lambda: client.llen("done") >= 4)
    assert sorted(client.lrange("done", 0, -1)) == ["2", "3", "4", "5"]
    assert second.process.poll() is None


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_that_does_not_poll_ends(
    start_worker: StartWorker, send: Any, pool: str
) -> None:
    """Its loop turns, and the due poll is never made."""
    quick = {"SMARTWORKER_WINDOWS": "00:00-24:00=1s"}
    worker = start(start_worker, "-P", pool, "-c", "1", PATIENCE="3", **quick)
    send.control.broadcast("forget")
    assert worker.process.wait(20) == 70
    worker.wait_for("worker_stuck")
    (line,) = worker.events("worker_stuck")
    assert line["reason"].startswith("no poll is made for ")


@pytest.mark.slow
def test_a_solo_worker_in_a_task_is_not_stuck(
    start_worker: StartWorker, send: Any, client: Any
) -> None:
    """Its loop is blocked by the task, and by nothing else."""
    worker = start(start_worker, "-P", "solo", PATIENCE="1")
    send.send_task("stuck.note", (1, 5.0))
    wait_until(lambda: client.llen("done") == 1)
    assert worker.events("worker_stuck") == []
    send.control.broadcast("freeze", {"seconds": 60.0})
    assert worker.process.wait(15) == 70


@pytest.mark.slow
def test_a_suspended_worker_is_not_stuck(
    start_worker: StartWorker, send: Any, client: Any
) -> None:
    """After SIGSTOP it goes on, and so after a shutdown that takes its time."""
    worker = start(start_worker, "-c", "1", PATIENCE="1")
    worker.send(signal.SIGSTOP)
    try:
        client.blpop("nothing", timeout=4)
    finally:
        os.kill(worker.process.pid, signal.SIGCONT)
    send.send_task("stuck.note", (1, 5.0))
    wait_until(lambda: client.llen("begun") == 1)
    assert worker.stop() == 0
    assert client.llen("done") == 1
    assert worker.events("worker_stuck") == []
