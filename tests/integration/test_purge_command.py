"""`smartworker purge` on a real server: what waits goes, and nothing else."""

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery

import smartworker
from smartworker.settings import Settings
from smartworker.store.backlog import throw_away
from smartworker.store.meter import is_billed
from smartworker.testing import commandstats
from tests.commands import ENTRY, environment, message, run_command
from tests.integration.conftest import HERE

PROJECT: dict[str, Any] = {"PYTHONPATH": str(HERE)}
APP = ("-A", "rowing")


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """The operator's client."""
    with redis.Redis.from_url(redis_url) as made:
        yield made


def run(url: str, *words: str, status: int = 0, **extra: str) -> str:
    """What the command prints."""
    done = run_command(url, *words, **PROJECT, **extra)
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout or done.stderr


def typed(url: str, answer: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The command in a terminal, where a person types this."""
    ours, theirs = os.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        return subprocess.run(
            [*ENTRY, "purge", *words],
            env=environment(url, **PROJECT),
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=30,
        )
    finally:
        os.close(ours)
        os.close(theirs)


def fill(client: Any, queue: str, count: int, task: str = "rowing.other") -> None:
    """Messages that wait."""
    client.lpush(queue, *(message(task, f"id-{number}") for number in range(count)))


def test_what_waits_is_dropped(redis_url: str, client: Any) -> None:
    """In all priority steps; told by queue and task, with what cannot be read."""
    fill(client, "celery", 3)
    fill(client, "celery\x06\x163", 2, "rowing.row")
    client.lpush("celery", b"nonsense")
    text = run(redis_url, "purge", *APP, "--yes")
    assert text.splitlines() == [
        "celery: 1 (unreadable)",
        "celery: 3 rowing.other",
        "celery: 2 rowing.row",
        "6 dropped.",
    ]
    assert client.keys("celery*") == []
    assert run(redis_url, "purge", *APP, "--yes") == "No message waits.\n"


def test_what_is_held_and_what_is_dead_stays(redis_url: str, client: Any) -> None:
    """In-flight lists, leases and dead letters are not touched."""
    fill(client, "smartworker:inflight:abc:celery", 2)
    client.zadd("smartworker:leases", {"smartworker:inflight:abc:celery": 9e12})
    client.xadd("smartworker:dead", {"raw": message(), "facts": "{}"})
    fill(client, "celery", 1)
    run(redis_url, "purge", *APP, "--yes")
    assert client.llen("smartworker:inflight:abc:celery") == 2
    assert client.zcard("smartworker:leases") == 1
    assert client.xlen("smartworker:dead") == 1


def test_chosen_queues(redis_url: str, client: Any) -> None:
    """The others keep theirs; the facts are for programs."""
    for queue in ("celery", "email", "cache"):
        fill(client, queue, 2)
    words = ["purge", *APP, "-Q", "email, cache", "--yes", "--json"]
    facts = json.loads(run(redis_url, *words))
    assert facts == [
        {"queue": name, "waited": 2, "dropped": 2, "tasks": {"rowing.other": 2}}
        for name in ("email", "cache")
    ]
    assert client.llen("celery") == 2


def test_the_queues_that_tasks_are_sent_to(redis_url: str, client: Any) -> None:
    """Without -Q also those of routes, whoever consumes them."""
    for queue in ("discounts", "maintenance", "analytics"):
        fill(client, queue, 1)
    app = "smartworker.examples.pricing.app"
    assert run(redis_url, "purge", "-A", app, "--yes").endswith("3 dropped.\n")


@pytest.mark.parametrize(
    ("queues", "sentence"),
    [
        ("smartworker:dead", "is no queue: smartworker keeps there"),
        ("celery,smartworker:inflight:a:celery", "is no queue"),
        ("celery,", "a queue has a name"),
    ],
)
def test_what_is_no_queue(redis_url: str, queues: str, sentence: str) -> None:
    """Wrong usage, and nothing is done."""
    text = run(redis_url, "purge", *APP, "-Q", queues, "--yes", status=2)
    assert sentence in " ".join(text.split())


def test_another_kind_of_key(redis_url: str, client: Any) -> None:
    """A key that holds no messages is left alone, with a sentence."""
    client.set("email", "x")
    text = run(redis_url, "purge", *APP, "-Q", "email", "--yes", status=78)
    assert "WRONGTYPE" in text
    assert client.get("email") == b"x"


def test_nobody_can_be_asked(redis_url: str, client: Any) -> None:
    """Without a terminal it needs --yes."""
    fill(client, "celery", 1)
    assert "--yes" in run(redis_url, "purge", *APP, status=2)
    assert client.llen("celery") == 1


def test_a_person_is_asked(redis_url: str, client: Any) -> None:
    """The numbers first; only `y` drops anything."""
    fill(client, "celery", 1200)
    said = typed(redis_url, "n", *APP)
    assert said.returncode == 1
    assert "celery: 1,200" in said.stderr
    assert "Throw these 1,200 messages away, for good?" in said.stderr
    assert client.llen("celery") == 1200
    said = typed(redis_url, "y", *APP)
    assert said.returncode == 0
    assert said.stdout.endswith("1,200 dropped.\n")
    assert typed(redis_url, "y", *APP).stdout == "No message waits.\n"


def test_runs_of_jobs_end(redis_url: str, client: Any) -> None:
    """The state is REVOKED, the history has it, and the job is free."""
    words = ("--param", "mark=x", "--param", "how=done")
    text = run(redis_url, "trigger", "skip", *APP, *words)
    task_id = text.split()[5].rstrip(".")
    assert client.exists("smartworker:running:skip")
    client.config_resetstat()
    run(redis_url, "purge", *APP, "--yes")
    counts = {k: v for k, v in commandstats(client).items() if is_billed(k)}
    assert counts == {
        "llen": 4,
        "rpop": 1,
        "set": 1,
        "eval": 1,
        "get": 1,
        "del": 1,
        "xadd": 1,
    }
    record = json.loads(client.get(f"celery-task-meta-{task_id}"))
    assert record["status"] == "REVOKED"
    assert record["run"]["job"] == "skip"
    assert client.ttl(f"celery-task-meta-{task_id}") > 80_000
    assert not client.exists("smartworker:running:skip")
    jobs = json.loads(run(redis_url, "jobs", *APP, "--json"))
    (skip,) = [job for job in jobs if job["name"] == "skip"]
    assert skip["state"] == "revoked"


def test_recorded_tasks_end(redis_url: str) -> None:
    """Where queued tasks are recorded, nobody waits for one that is gone."""
    app = Celery("sender", set_as_current=False)
    smartworker.setup(app, Settings(redis_url=redis_url, track_queued=True))
    sent = app.send_task("rowing.other")
    assert sent.state == "QUEUED"
    run(redis_url, "purge", *APP, "--yes", SMARTWORKER_TRACK_QUEUED="on")
    assert app.AsyncResult(sent.id).state == "REVOKED"
    app.close()


def test_what_comes_meanwhile_stays(client: Any, redis_url: str) -> None:
    """So many as were counted go, the oldest first."""
    fill(client, "celery", 2500)
    client.config_resetstat()
    gone = list(throw_away(client, "celery", 2400))
    assert len(gone) == 2400
    assert json.loads(gone[0])["headers"]["id"] == "id-0"
    assert client.llen("celery") == 100
    assert commandstats(client)["rpop"] == 3
    assert len(list(throw_away(client, "celery", 1000))) == 100
