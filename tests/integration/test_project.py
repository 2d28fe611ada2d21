"""What a user's project does all day, with real workers."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
import redis
from kombu import pools

from smartworker.store.dead import DeadLetters

TASKS = '''
"""Tasks that write down what happened to them."""

import os
import time
from pathlib import Path

from celery import Celery, chain, chord, group
from kombu import Queue

import smartworker

app = smartworker.setup(Celery("project"))
app.conf.worker_prefetch_multiplier = 1
app.conf.broker_transport_options = {"priority_steps": [0, 3, 6, 9]}
NOTES = Path(os.environ["NOTES"])


def note(text):
    with NOTES.open("a") as notes:
        notes.write(f"{text}\\n")


@app.task(shared=False)
def add(x, y):
    return x + y


@app.task(shared=False)
def total(numbers):
    return sum(numbers)


@app.task(shared=False)
def noted(text, seconds=0):
    note(text)
    time.sleep(seconds)
    return text


@app.task(shared=False, bind=True, max_retries=3)
def stubborn(self):
    note(self.request.retries)
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task(shared=False, bind=True)
def fatal(self, until):
    attempts = self.request.headers and self.request.headers.get("smartworker_attempts")
    note(f"{os.getpid()} {self.request.id} {attempts}")
    if len(NOTES.read_text().splitlines()) < until:
        time.sleep(60)
    return until
'''


class Mine:
    """The user's module, here and in the workers."""

    def __init__(self, folder, start_worker, module):
        self.folder, self.module, self._start = folder, module, start_worker
        self.app = module.app

    def start(self, *args, **env):
        """A worker of the module."""
        folder, notes = str(self.folder), str(self.notes)
        return self._start(*args, app="mine", PYTHONPATH=folder, NOTES=notes, **env)

    def worker(self, *args, **env):
        """A worker that is ready."""
        worker = self.start(*args, **env)
        worker.wait_for("worker_ready")
        return worker

    @property
    def notes(self):
        """Where the tasks write."""
        return self.folder / "notes"

    def noted(self):
        """What they have written so far, line by line."""
        return self.notes.read_text().splitlines() if self.notes.exists() else []


@pytest.fixture
def mine(tmp_path, start_worker, redis_url, monkeypatch):
    """A user's module, written for this test."""
    (tmp_path / "mine.py").write_text(TASKS)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("mine", None)
    module = importlib.import_module("mine")
    yield Mine(tmp_path, start_worker, module)
    module.app.close()
    pools.reset()
    module.app.backend.client.connection_pool.disconnect()
    sys.modules.pop("mine", None)


def wait_until(condition, seconds=20.0):
    """Until it is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.05)


# -- Celery's canvas ---------------------------------------------------------------


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_the_canvas(mine, pool, counter):
    """A chain, a group, a chord and a retry, each with its result."""
    mine.worker("-c", "2", "-P", pool)
    add, total = mine.module.add, mine.module.total
    chained = mine.module.chain(add.s(1, 2), add.s(3), add.s(4)).delay()
    grouped = mine.module.group(add.s(n, n) for n in range(10)).delay()
    summed = mine.module.chord((add.s(n, 1) for n in range(10)), total.s()).delay()
    stubborn = mine.module.stubborn.delay()
    assert chained.get(timeout=20) == 10
    assert grouped.get(timeout=20) == [2 * n for n in range(10)]
    assert summed.get(timeout=20) == 55
    assert stubborn.get(timeout=20) == 2
    assert mine.noted() == ["0", "1", "2"]
    wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))
    assert counter.client.llen("celery") == 0


def test_a_waiting_task_is_revoked(mine):
    """It never runs, and its state says so."""
    mine.worker("-c", "1", "-P", "threads")
    first = mine.module.noted.delay("first", 1)
    waiting = mine.module.noted.delay("second")
    wait_until(mine.noted)
    waiting.revoke()
    last = mine.module.noted.delay("third")
    assert last.get(timeout=20) == "third"
    assert first.get(timeout=20) == "first"
    wait_until(lambda: waiting.state == "REVOKED")
    assert mine.noted() == ["first", "third"]


def test_priorities_in_a_backlog(mine):
    """0 before 3 before 6 before 9, whatever was sent first."""
    for number in range(3):
        for priority in (9, 3, 6, 0):
            text = f"{priority} {number}"
            mine.module.noted.apply_async((text,), priority=priority)
    mine.worker("-c", "1", "-P", "threads")
    wait_until(lambda: len(mine.noted()) == 12)
    assert mine.noted() == [f"{p} {n}" for p in (0, 3, 6, 9) for n in range(3)]


def test_a_queue_added_at_run_time(mine):
    """`control add_consumer`: heard at once, with hours until the next poll."""
    mine.worker(
        "-c", "1", "-P", "threads", "--quiet-poll", "12h", "--windows", "03:00-03:01=1h"
    )
    replies = mine.app.control.add_consumer("fresh", reply=True, timeout=5, limit=1)
    assert "ok" in next(iter(replies[0].values()))
    result = mine.module.noted.apply_async(("heard",), queue="fresh")
    assert result.get(timeout=10) == "heard"


def test_two_workers_share_the_work(mine, counter):
    """A hundred tasks: each of them once, and both have had some."""
    workers = [mine.worker("-c", "1", "-P", "threads", "-n", f"w{n}") for n in range(2)]
    results = [mine.module.noted.delay(str(n), 0.01) for n in range(100)]
    assert [each.get(timeout=30) for each in results] == [str(n) for n in range(100)]
    assert Counter(mine.noted()) == Counter(str(n) for n in range(100))
    for worker in workers:
        worker.wait_for("task_finished", 10)
    wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))


# -- a child that dies -------------------------------------------------------------


def killed(mine, times):
    """`kill -9` for the child of each of so many attempts."""
    for number in range(1, times + 1):
        wait_until(lambda n=number: len(mine.noted()) == n)
        os.kill(int(mine.noted()[-1].split()[0]), signal.SIGKILL)


def test_a_killed_child_costs_one_attempt(mine, counter):
    """The task runs again with its count, ends well, and the worker lives."""
    worker = mine.worker("-c", "1", "-P", "prefork")
    result = mine.module.fatal.delay(3)
    killed(mine, 2)
    assert result.get(timeout=20) == 3
    assert [line.split()[1:] for line in mine.noted()] == [
        [result.id, "None"],
        [result.id, "1"],
        [result.id, "2"],
    ]
    assert len({line.split()[0] for line in mine.noted()}) == 3
    assert worker.process.poll() is None
    assert worker.events("message_dead") == []
    wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))


def test_a_task_that_kills_every_child_dies(mine, counter):
    """After as many starts as allowed it is a dead letter; others go on."""
    worker = mine.worker("-c", "1", "-P", "prefork", SMARTWORKER_MAX_DELIVERIES="2")
    result = mine.module.fatal.delay(100)
    killed(mine, 2)
    worker.wait_for("message_dead")
    assert mine.module.add.delay(1, 2).get(timeout=20) == 3
    assert len(mine.noted()) == 2
    (died,) = worker.events("message_dead")
    assert (died["attempts"], died["reason"]) == (2, "max_deliveries")
    assert died["task_id"] == result.id
    wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))
    (letter,) = DeadLetters(counter.client).all()
    assert json.loads(letter.raw)["headers"]["id"] == result.id
    assert worker.process.poll() is None
    # Whoever waits is told.
    with pytest.raises(Exception, match="max_deliveries: delivered 2 times"):
        result.get(timeout=10)
    assert worker.stop() == 0


# -- logs --------------------------------------------------------------------------


def test_a_log_file(mine, tmp_path):
    """`-f` writes the lines there, and each is one object."""
    path = tmp_path / "worker.log"
    mine.start("-P", "threads", "-f", str(path))
    wait_until(lambda: path.exists() and "worker_ready" in path.read_text())
    assert mine.module.add.delay(1, 2).get(timeout=10) == 3
    wait_until(lambda: "task_finished" in path.read_text())
    for line in path.read_text().splitlines():
        json.loads(line)


def test_the_default_log_level(mine, redis_url):
    """Without `-l` Celery's own level is WARNING; our events are there all the same."""
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "mine", "worker", "-P", "threads"],
        env={**os.environ, "PYTHONPATH": str(mine.folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with redis.Redis.from_url(redis_url) as client:
            wait_until(lambda: client.pubsub_channels("__keyspace@0__:celery"))
        assert mine.module.add.delay(1, 2).get(timeout=10) == 3
    finally:
        process.terminate()
        _, text = process.communicate(timeout=20)
    events = [json.loads(line)["event"] for line in text.splitlines()]
    assert {"worker_ready", "task_started", "task_finished"} <= set(events)
    assert process.returncode == 0
