"""A real worker on a real server: what it costs, and that it does its work."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from smartworker.store.meter import ledger
from tests.programs import fake_time_library

POOLS = ("prefork", "threads", "solo")
#: What the first message of a busy stretch costs beside its own commands.
LEASE = {"time": 1, "zadd": 1}
SERVERS = pytest.mark.every_server


def smart_status(project):
    """What the only worker says of itself."""
    answers = project.app.control.inspect(timeout=3, limit=1)._request("smart_status")
    return next(iter(answers.values()))


@SERVERS
def test_boot_to_idle_costs_at_most_15(start_worker, counter):
    """A start with seven queues of four priority steps, doorbell included."""
    start_worker("-c", "2")
    billed = counter.billed()
    assert sum(billed.values()) <= 15
    row = {"hgetall": 1, "hset": 1}
    assert billed == {"sadd": 2, "subscribe": 1, "psubscribe": 1, "exists": 1, **row}


@SERVERS
def test_100_tasks_with_results_cost_400(start_worker, counter, project):
    """LPUSH, LMOVE, LREM and SET, and one lease for all, whoever sends it.

    The worker's row is written after each 90 commands of its own, which are 300.
    """
    start_worker("-c", "2")
    counter.billed()
    results = [project.add.delay(n, 1) for n in range(100)]
    wait_until(lambda: all_stored(counter.client, results))
    counts = counter.billed()
    assert counts.pop("hset") in (2, 3)
    assert counts.pop("exists")  # both from all_stored
    assert counts.pop("keys")
    assert counts == {"lpush": 100, "lmove": 100, "lrem": 100, "set": 100, **LEASE}
    assert results[7].get(timeout=5) == 8


@pytest.mark.parametrize("pool", POOLS)
def test_every_pool_works_at_four_a_task(start_worker, counter, project, pool):
    """Prefork, threads and solo cost the same and stop clean."""
    worker = start_worker("-c", "2", "-P", pool)
    counter.billed()
    results = [project.add.delay(n, n) for n in range(20)]
    wait_until(lambda: all_stored(counter.client, results))
    counts = counter.billed()
    assert counts.pop("exists")
    assert counts.pop("keys")
    assert counts == {"lpush": 20, "lmove": 20, "lrem": 20, "set": 20, **LEASE}
    assert worker.stop() == 0
    assert counter.client.keys("smartworker:inflight:*") == []


def test_a_task_without_result_costs_three(start_worker, counter, project):
    """Ignored results are not stored."""
    worker = start_worker("-c", "1", "-P", "threads")
    counter.billed()
    for _ in range(10):
        project.nothing.delay()
    worker.wait_for("task_finished", 10)
    wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))
    counts = counter.billed()
    counts.pop("keys")
    assert counts == {"lpush": 10, "lmove": 10, "lrem": 10, **LEASE}


def test_first_publish_costs_at_most_10(counter, project):
    """The web process's first `.delay()`, with everything it asks before."""
    project.add.delay(1, 1)
    assert counter.billed() == {"lpush": 1}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_the_ledger_equals_the_servers_count(
    start_worker, counter, project, pool, older_server
):
    """Producer's and worker's ledgers together, command by command."""
    start_worker("-c", "2", "-P", pool)
    ledger.drain()
    results = [project.add.delay(n, 1) for n in range(30)]
    assert [result.get(timeout=10) for result in results] == list(range(1, 31))
    wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))
    status = smart_status(project)
    total = dict(ledger.by_command())
    for commands in status["commands"].values():
        for command, count in commands.items():
            total[command] = total.get(command, 0) + count
    server = counter.all()
    server.pop("keys")
    server.pop("ping")  # this counter's own connection is among them
    total.pop("ping")
    total.pop("info")  # the counter asks this itself, and leaves it out
    # The answer itself leaves the worker after it has counted, and what our own
    # side of the question runs inside a script is the script's.
    asked = {
        "lpush",
        "smembers",
        "evalsha",
        "sadd",
        "zadd",
        "time",
        "script|load",
        "script|exists",
    }
    for name in asked - {"lpush"}:
        server.pop(name, 0), total.pop(name, 0)
    server["lpush"] -= 1
    if older_server:  # it counts the commands of CONFIG and CLIENT together
        total = {name: count for name, count in total.items() if "|" not in name}
    assert total == server
    assert status["broker"] == "connected"
    assert status["doorbell"] == "keyspace"


def test_a_stock_producer_wakes_the_worker(start_worker, redis_url):
    """Celery without smartworker publishes; the server rings."""
    worker = start_worker("-c", "1", "-P", "threads", "--quiet-poll", "30m")
    code = "from stock import add; print(add.delay(20, 22).get(timeout=10))"
    assert run_python(code, redis_url) == "42"
    assert worker.events("task_finished")


def test_a_stock_worker_takes_what_we_publish(start_worker, project):
    """Taking smartworker out again needs no migration."""
    result = project.add.delay(20, 22)
    start_worker("-P", "solo", app="stock")
    wait_until(lambda: result.state == "SUCCESS")
    assert result.result == 42


@pytest.mark.parametrize("pool", POOLS)
def test_sigterm_ends_an_idle_worker_in_quiet_hours(start_worker, pool):
    """The next poll is half an hour away, the end is not."""
    worker = start_worker("-c", "1", "-P", pool, "--windows", never_open())
    assert worker.events("worker_ready")[0]["poll_seconds"] == 1800
    begun = time.monotonic()
    assert worker.stop() == 0
    # 2 s on an idle machine (0.1 s for threads and solo); room for a busy one.
    assert time.monotonic() - begun < 4


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_sigterm_gives_back_what_has_not_started(start_worker, counter, project, pool):
    """The running task ends well, the others go back in order, nothing is lost."""
    worker = start_worker("-c", "1", "-P", pool)
    results = [project.nap.delay(0.3 + n / 1000) for n in range(8)]
    worker.wait_for("task_started")
    assert worker.stop() == 0
    client = counter.client
    assert client.keys("smartworker:inflight:*") == []
    waiting = [
        json.loads(raw)["headers"]["id"] for raw in client.lrange("celery", 0, -1)
    ]
    done = [result.id for result in results if result.state == "SUCCESS"]
    assert waiting[::-1] == [result.id for result in results if result.id not in done]
    assert done


@pytest.mark.parametrize("when", ["given", "not given"])
def test_sigterm_before_a_process_was_heard(start_worker, counter, project, when):
    """What a process was given is waited for; what none was given goes back."""
    worker = start_worker("-c", "1", app="unheard", STOPPED_WHEN=when)
    worker.wait_for("worker_ready")
    result = project.app.send_task("unheard.give")
    assert worker.process.wait(20) == 0
    done = when == "given"
    assert result.state == ("SUCCESS" if done else "PENDING")
    assert counter.client.llen("celery") == (0 if done else 1)
    assert counter.client.keys("smartworker:inflight:*") == []


def test_a_retry_and_a_countdown_run_in_time(start_worker, project):
    """Both travel through the broker; the interval is half an hour."""
    start_worker("-c", "1", "-P", "threads", "--windows", never_open())
    assert project.twice.delay().get(timeout=10) == 1
    assert project.add.apply_async((1, 2), countdown=1).get(timeout=10) == 3


def test_a_retry_does_not_hide_the_result_of_the_next_run(project):
    """The next run may end before the first has stored that it asked for it."""
    backend = project.app.backend
    backend.store_result("faster", 1, "SUCCESS")
    backend.store_result("faster", None, "RETRY")
    assert backend.get_task_meta("faster")["status"] == "SUCCESS"


def test_a_window_that_opens_switches_the_interval(start_worker):
    """One event with both intervals, the window, its end and what was spent."""
    opens = datetime(2026, 11, 2, 1, 0, tzinfo=UTC)  # 8 PM in New York
    shift = opens - timedelta(seconds=6) - datetime.now(UTC)
    worker = start_worker(
        "-P",
        "threads",
        "--windows",
        "20:00-23:00=2s",
        LD_PRELOAD=fake_time_library(),
        FAKETIME=f"{shift.total_seconds():+.3f}",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    assert worker.events("worker_ready")[0]["poll_seconds"] == 1800
    worker.wait_for("interval_changed", seconds=20)
    (change,) = worker.events("interval_changed")
    assert change["old_poll_seconds"] == 1800
    assert change["poll_seconds"] == 2
    assert change["window"] == "20:00-23:00"
    assert change["until"] == "2026-11-02T04:00:00+00:00"
    assert change["reason"] == "window 20:00-23:00 is open"
    assert change["commands"] == 7  # what the start had cost, its row included
    late = datetime.fromisoformat(change["timestamp"]) - opens
    assert timedelta(0) <= late < timedelta(seconds=1)
    assert len(worker.events("doorbell_ready")) == 1  # no restart, no reconnect


def test_logs_are_json_and_keep_secrets(start_worker, counter, project, redis_url):
    """One object a line, Celery's own lines included; no password anywhere."""
    secret = "very-secret-word"
    counter.client.config_set("requirepass", secret)
    try:
        url = redis_url.replace("redis://", f"redis://:{secret}@")
        worker = start_worker("-P", "threads", url=url)
        project.app.conf.broker_url = project.app.conf.result_backend = url
        project.fail.delay(secret)
        worker.wait_for("task_failed")
        worker.stop()
    finally:
        counter.client.config_set("requirepass", "")
    assert all("text" not in line for line in worker.lines), worker.text
    assert secret not in worker.text


def test_worker_options_are_checked(redis_url):
    """A wrong option is one sentence and exit status 2."""
    for option, value in (("--windows", "25:00-26:00=1s"), ("--quiet-poll", "0s")):
        done = subprocess.run(
            [sys.executable, "-m", "celery", "-A", "project", "worker", option, value],
            env=environment(redis_url),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 2
        assert option in done.stderr
        assert "Traceback" not in done.stderr


def all_stored(client, results):
    """Whether each of these results stands in Redis and nothing is in flight."""
    keys = [f"celery-task-meta-{result.id}" for result in results]
    stored = client.exists(*keys) == len(keys)
    return stored and not client.keys("smartworker:inflight:*")


def wait_until(condition, seconds=20.0):
    """Until it is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.05)


def never_open():
    """A window that is not open now and will not open during the test."""
    start = datetime.now(UTC) + timedelta(hours=6)
    return f"{start:%H:00}-{start + timedelta(hours=1):%H:00}=30s@UTC"


def environment(url):
    """For a process that imports the project."""
    here = str(Path(__file__).parent)
    return {**os.environ, "PYTHONPATH": here, "REDIS_URL": url}


def run_python(code, url):
    """What a Python process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(url),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_pool_shares_what_was_there_before_it(start_worker, project):
    """No collection of garbage in a child writes to the objects of its parent."""
    start_worker("-c", "1")
    assert project.frozen.delay().get(timeout=10) > 10_000


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_a_pool_without_children_shares_with_nobody(start_worker, project, pool):
    """Its objects are collected as ever: the process may be somebody else's."""
    start_worker("-P", pool)
    assert project.frozen.delay().get(timeout=10) == 0
