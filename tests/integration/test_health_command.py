"""`smartworker health` on real workers, by their state files alone."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from smartworker.store import server
from smartworker.store.server import EmbeddedServer
from tests.commands import run_command
from tests.integration.conftest import Counter, StartWorker
from tests.processes import wait_until

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the workers write their state."""
    return tmp_path / "states"


def health(home: Path, *words: str, status: int = 0) -> str:
    """What the command prints; it gets no server that it could ask."""
    done = run_command(NOWHERE, "health", *words, SMARTWORKER_STATE_DIR=str(home))
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout or done.stderr


def facts(home: Path, status: int = 0) -> dict[str, Any]:
    """The only worker, for programs."""
    found: list[dict[str, Any]] = json.loads(health(home, "--json", status=status))
    (one,) = found
    return one


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedServer]:
    """A server that a test may stop, and start again at its old port."""
    with EmbeddedServer() as made:
        monkeypatch.setattr(server, "free_port", lambda: made.port)
        yield made


@pytest.mark.slow
def test_a_worker_is_ready_until_it_stops(
    start_worker: StartWorker, home: Path, counter: Counter
) -> None:
    """By name and without; after its stop no worker is there. No command at all."""
    worker = start_worker("-c", "1", "-n", "one@host", SMARTWORKER_STATE_DIR=str(home))
    counter.all()
    assert health(home).startswith("one@host is ready. The last poll was ")
    told = facts(home)
    assert (told["ready"], told["broker"]) == (True, "ok")
    assert told["pid"] == worker.process.pid
    assert health(home, "--worker", "one@host").startswith("one@host is ready.")
    text = health(home, "--worker", "two@host", status=1)
    assert text.startswith("smartworker: No worker called two@host has its state in ")
    assert counter.all() == {}
    assert worker.stop() == 0
    assert [*home.iterdir()] == []
    assert "No worker has its state in " in health(home, status=1)


@pytest.mark.slow
def test_one_of_two_workers_is_killed(start_worker: StartWorker, home: Path) -> None:
    """The sentence names it, its process and what to do; the other one is ready."""
    env = {"SMARTWORKER_STATE_DIR": str(home)}
    first = start_worker("-P", "threads", "-n", "one@host", **env)
    start_worker("-P", "threads", "-n", "two@host", **env)
    assert len(health(home).splitlines()) == 2
    first.send(signal.SIGKILL)
    first.process.wait(10)
    text = health(home, status=1)
    assert text.startswith(
        f"smartworker: one@host is not ready. Its process {first.process.pid} is gone"
    )
    assert "two@host" not in text
    health(home, "--worker", "two@host")


@pytest.mark.slow
def test_redis_is_away_and_comes_back(
    start_worker: StartWorker, home: Path, away: EmbeddedServer
) -> None:
    """Not ready, though it lives; ready again by itself."""
    env = {"SMARTWORKER_STATE_DIR": str(home), "SMARTWORKER_QUIET_POLL": "1s"}
    worker = start_worker("-c", "1", url=away.url, **env)
    assert facts(home)["ready"] is True
    away.stop()
    wait_until(lambda: "not ready" in run_text(home))
    assert facts(home, status=1)["broker"] == "lost"
    assert "Redis does not serve it (lost)." in health(home, status=1)
    assert worker.process.poll() is None
    away.start()
    wait_until(lambda: "not ready" not in run_text(home), what="ready")


def run_text(home: Path) -> str:
    """What the command says, whatever its exit status."""
    done = run_command(NOWHERE, "health", SMARTWORKER_STATE_DIR=str(home))
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_solo_worker_in_a_task(
    start_worker: StartWorker, home: Path, redis_url: str, project: Any
) -> None:
    """It cannot poll, and is ready until the time limit of the task is over."""
    start_worker("-P", "solo", SMARTWORKER_STATE_DIR=str(home))
    assert facts(home)["busy"] is False
    project.nap.delay(6)
    wait_until(lambda: facts(home)["busy"])
    assert "A task has its only process, within its time limit." in health(home)
    with redis.Redis.from_url(redis_url) as client:
        wait_until(lambda: client.keys("celery-task-meta-*"))
    wait_until(lambda: not facts(home)["busy"])


@pytest.mark.slow
def test_a_worker_that_stops_says_so(
    start_worker: StartWorker, home: Path, project: Any
) -> None:
    """As long as its last task runs."""
    worker = start_worker("-P", "threads", SMARTWORKER_STATE_DIR=str(home))
    project.nap.delay(3)
    worker.wait_for("task_started")
    worker.send(signal.SIGTERM)
    wait_until(lambda: "It is stopping." in run_text(home), 3)
    assert worker.process.wait(20) == 0
    assert worker.events("task_finished")
    assert [*home.iterdir()] == []


@pytest.mark.slow
def test_what_cannot_be_written_stops_no_worker(
    start_worker: StartWorker, tmp_path: Path
) -> None:
    """One warning; `off` asks for no file, and the command says what to do then."""
    (tmp_path / "file").touch()
    worker = start_worker(
        "-c",
        "1",
        SMARTWORKER_STATE_DIR=str(tmp_path / "file" / "states"),
        SMARTWORKER_QUIET_POLL="1s",
    )
    worker.wait_for("state_not_written")
    assert worker.stop() == 0
    assert len(worker.events("state_not_written")) == 1
    done = run_command(NOWHERE, "health", SMARTWORKER_STATE_DIR="off")
    assert done.returncode == 78
    assert "SMARTWORKER_STATE_DIR is off" in done.stderr
