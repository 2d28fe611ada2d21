"""`active`, `scheduled`, `registered`, `stats` and `health --ask` on real workers."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from celery import Celery

import smartworker
from smartworker.settings import Settings
from tests.commands import run_command
from tests.integration.conftest import HERE, Counter, StartWorker
from tests.processes import WorkerProcess, wait_until

PROJECT: dict[str, Any] = {"PYTHONPATH": str(HERE)}
APP = ("-A", "inspected")
QUICK = ("--timeout", "0.5")
ALL = (("active",), ("scheduled",), ("registered",), ("stats",), ("health", "--ask"))
NOWHERE = "redis://127.0.0.1:1/0"


def run(url: str, *words: str, status: int = 0, **extra: str) -> str:
    """What a command of the project prints."""
    done = run_command(url, *words, **PROJECT, **extra)
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout or done.stderr


def tasks(url: str, command: str) -> list[dict[str, Any]]:
    """The tasks of the only worker, for programs."""
    (answer,) = json.loads(run(url, command, *APP, *QUICK, "--json"))
    assert answer["worker"].startswith("celery@")
    found: list[dict[str, Any]] = answer["tasks"]
    return found


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """The operator's client, which also tells the tasks when to end."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as made:
        yield made


@pytest.fixture
def rower(start_worker: StartWorker) -> WorkerProcess:
    """A worker of the project, ready."""
    worker = start_worker("-P", "threads", "-c", "4", app="inspected")
    worker.wait_for("worker_ready")
    return worker


@pytest.mark.slow
def test_what_runs_and_what_waits(
    redis_url: str, client: Any, rower: WorkerProcess
) -> None:
    """Name, id, job and duration; an ETA, and a run whose job is taken."""
    for mark in ("one", "two"):
        words = ("--key", mark, "--param", f"mark={mark}")
        run(redis_url, "trigger", "held", *APP, *words)
        rower.wait_for("task_started" if mark == "one" else "run_waits")
    app = Celery("sender", set_as_current=False)
    smartworker.setup(app, Settings(redis_url=redis_url))
    plain = app.send_task("inspected.hold", kwargs={"mark": "three"})
    later = app.send_task("inspected.other", countdown=3600)
    app.close()
    rower.wait_for("task_started", 2)
    wait_until(lambda: client.llen("celery") == 0)

    first, second = tasks(redis_url, "active")
    assert (first["task"], first["job"]) == ("inspected.hold", "held")
    assert (second["id"], second["job"]) == (plain.id, None)
    assert 0 < second["seconds"] <= first["seconds"] < 20
    assert first["queue"] == "celery"
    text = run(redis_url, "active", *APP, *QUICK)
    assert "job held" in text
    assert plain.id in text
    assert max(map(len, text.splitlines())) <= 80

    by_eta, by_turn = tasks(redis_url, "scheduled")
    assert (by_eta["id"], by_eta["waits_for"]) == (later.id, None)
    assert datetime.fromisoformat(by_eta["eta"]) > datetime.now(UTC)
    assert (by_turn["task"], by_turn["job"]) == ("inspected.hold", "held")
    assert (by_turn["eta"], by_turn["waits_for"]) == (None, "held")
    text = run(redis_url, "scheduled", *APP, *QUICK)
    assert "in 59m" in text
    assert "an earlier run" in text

    for mark in ("one", "two", "three"):
        client.rpush(f"sign:{mark}", "1")
    rower.wait_for("task_finished", 3)
    assert tasks(redis_url, "active") == []
    assert "No task is running." in run(redis_url, "active", *APP, *QUICK)
    assert [each["id"] for each in tasks(redis_url, "scheduled")] == [later.id]


@pytest.mark.slow
def test_what_the_workers_are(
    redis_url: str, rower: WorkerProcess, counter: Counter
) -> None:
    """The tasks they know, what they are made of, and that they live."""
    assert tasks(redis_url, "registered") == ["inspected.hold", "inspected.other"]
    assert "\n  inspected.hold\n" in run(redis_url, "registered", *APP, *QUICK)
    (told,) = json.loads(run(redis_url, "stats", *APP, *QUICK, "--json"))
    assert told["stats"]["pid"] == rower.process.pid
    text = run(redis_url, "stats", *APP, *QUICK)
    assert f"{rower.process.pid}\n" in text
    assert "thread, 4 at once" in text
    assert "0 since its start" in text
    name = told["worker"]
    counter.all()
    assert (
        json.loads(run(redis_url, "health", "--ask", *APP, "--json"))["worker"] == name
    )
    assert 15 <= sum(counter.billed().values()) <= 25
    run(redis_url, "stats", *APP, *QUICK)
    assert 15 <= sum(counter.billed().values()) <= 25
    assert run(redis_url, "health", "--ask", *APP, "--worker", name) == (
        f"Redis answers, and so does {name}.\n"
    )
    text = run(
        redis_url, "health", "--ask", *APP, "--worker", "celery@x", *QUICK, status=1
    )
    assert "No worker called celery@x answered within 0.5 seconds" in text


def test_nobody_answers(redis_url: str) -> None:
    """One sentence and exit status 1."""
    for words in ALL:
        text = run(redis_url, *words, *APP, "--timeout", "0.1", status=1)
        assert text.startswith("smartworker: No worker answered within 0.1 seconds")


def test_no_server() -> None:
    """One sentence and exit status 69."""
    for words in ALL:
        assert "cannot be reached" in run(NOWHERE, *words, *APP, status=69)


def test_no_app(redis_url: str) -> None:
    """One sentence and exit status 78."""
    for words in (("active",), ("health", "--ask")):
        text = run(redis_url, *words, "-A", "nothing_here", status=78)
        assert "There is no Celery app at 'nothing_here'" in text
