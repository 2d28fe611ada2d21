"""Metrics and health over HTTP: right with every pool, and for no command."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
import redis
from celery import Celery
from prometheus_client.parser import text_string_to_metric_families

import smartworker
from smartworker.cron.registry import Jobs
from smartworker.cron.runs import Run
from smartworker.cron.slots import Slot
from smartworker.settings import Settings
from smartworker.store.meter import UNBILLED, ledger
from smartworker.worker.counts import counts
from smartworker.worker.publish import queue_run
from tests.integration.test_missed import Rig, job
from tests.processes import wait_until

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def free_port() -> int:
    """A port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def get(port: int, path: str, **headers: str) -> tuple[int, str]:
    """Status and body of an answer."""
    try:
        request = Request(f"http://127.0.0.1:{port}{path}", headers=headers)
        with urlopen(request, timeout=5) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def samples(text: str) -> Samples:
    """{(name, labels): value}, as Prometheus would read it."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def total(found: Samples, metric: str, /, **labels: str) -> float:
    """The sum of a metric over all series with these labels."""
    return sum(
        value
        for (each, own), value in found.items()
        if each == metric and labels.items() <= dict(own).items()
    )


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_tasks_are_counted_exactly(
    start_worker: Any, project: Any, redis_url: str, free_port: int, pool: str
) -> None:
    """12 that succeed, 3 that fail and 2 that are tried twice, wherever they run."""
    address = f"127.0.0.1:{free_port}"
    start_worker("-c", "3", "-P", pool, SMARTWORKER_METRICS_PORT=address)
    for number in range(12):
        project.add.delay(number, 1)
    for _ in range(3):
        project.fail.delay("x")
    for _ in range(2):
        project.twice.delay()
    read = lambda: samples(get(free_port, "/metrics")[1])  # noqa: E731
    wait_until(
        lambda: (
            total(found := read(), "celery_task_succeeded_total") == 14
            and total(found, "celery_task_failed_total") == 3
        )
    )
    found = read()
    task = {"name": "project.add", "queue_name": "celery"}
    assert total(found, "celery_task_succeeded_total", **task) == 12
    assert total(found, "celery_task_runtime_count", **task) == 12
    assert total(found, "celery_task_runtime_bucket", le="+Inf", **task) == 12
    failed = {"name": "project.fail", "exception": "ValueError"}
    assert total(found, "celery_task_failed_total", **failed) == 3
    assert total(found, "celery_task_retried_total", name="project.twice") == 2
    assert total(found, "celery_task_succeeded_total", name="project.twice") == 2
    assert total(found, "celery_task_received_total") == 19
    assert total(found, "celery_task_started_total") == 19
    assert total(found, "celery_worker_tasks_active") == 0
    assert total(found, "celery_worker_up") == 1


def test_ends_that_no_task_can_tell_of_are_counted(
    start_worker: Any, project: Any, free_port: int
) -> None:
    """A killed process, the hard time limit, and a task that had expired."""
    address = f"127.0.0.1:{free_port}"
    start_worker("-c", "2", SMARTWORKER_METRICS_PORT=address)
    project.die.delay()
    project.nap.apply_async((20,), time_limit=1)
    project.add.apply_async((1, 2), expires=datetime(2020, 1, 1, tzinfo=UTC))
    read = lambda: samples(get(free_port, "/metrics")[1])  # noqa: E731
    wait_until(
        lambda: (
            total(found := read(), "celery_task_failed_total") == 2
            and total(found, "celery_task_revoked_total") == 1
        )
    )
    found, failed = read(), "celery_task_failed_total"
    lost = {"name": "project.die", "exception": "WorkerLostError"}
    assert total(found, failed, **lost) == 1
    late = {"name": "project.nap", "exception": "TimeLimitExceeded"}
    assert total(found, failed, **late) == 1
    assert total(found, "celery_task_revoked_total", name="project.add") == 1
    assert total(found, "celery_task_started_total") == 2
    assert total(found, "celery_task_succeeded_total") == 0


def test_commands_are_what_the_server_counted(
    start_worker: Any, project: Any, counter: Any, free_port: int, older_server: bool
) -> None:
    """Billed and unbilled ones together are INFO commandstats, by name."""
    before = Counter(ledger.by_command())
    start_worker("-c", "3", SMARTWORKER_METRICS_PORT=f"127.0.0.1:{free_port}")
    for number in range(20):
        project.add.delay(number, 1)

    def settled() -> bool:
        found = samples(get(free_port, "/metrics")[1])
        done = total(found, "smartworker_redis_commands_total", command="lrem")
        # A child tells of its SET after the parent has heard of the task's end.
        stored = total(found, "smartworker_redis_commands_total", command="set")
        return done == stored == 20

    wait_until(settled)
    found = samples(get(free_port, "/metrics")[1])
    told = Counter(ledger.by_command()) - before
    for kind, billed in (("unbilled_", False), ("", True)):
        for (name, labels), value in found.items():
            if name == f"smartworker_redis_{kind}commands_total":
                command = dict(labels)["command"]
                assert (command.partition("|")[0] not in UNBILLED) == billed
                told[command] += int(value)
    del told["info"]  # the counter asks with it, too
    if older_server:  # it counts the commands of CONFIG and CLIENT together
        told = Counter({name: n for name, n in told.items() if "|" not in name})
    assert dict(told) == counter.all()


def test_looking_costs_nothing(start_worker: Any, counter: Any, free_port: int) -> None:
    """A scrape and the three looks at its health send no command."""
    start_worker("-c", "1", SMARTWORKER_METRICS_PORT=f"127.0.0.1:{free_port}")
    counter.all()
    for _ in range(5):
        for path in ("/metrics", "/livez", "/readyz", "/healthz"):
            assert get(free_port, path)[0] == 200
    assert counter.all() == {}


def test_health_says_why(start_worker: Any, free_port: int) -> None:
    """Window, interval and verdict as JSON; other paths and methods are refused."""
    start_worker("-c", "1", SMARTWORKER_METRICS_PORT=f"127.0.0.1:{free_port}")
    health = json.loads(get(free_port, "/healthz")[1])
    assert (health["alive"], health["ready"], health["status"]) == (True, True, "ok")
    assert health["poll_seconds"] in (30, 1800)
    assert health["broker"] == "ok"
    assert health["doorbell"] == "keyspace"
    assert health["reason"].startswith("The last poll was")
    assert json.loads(get(free_port, "/livez")[1]) == {"status": "ok"}
    assert get(free_port, "/nothing")[0] == 404
    with pytest.raises(HTTPError, match="501") as refused:
        urlopen(f"http://127.0.0.1:{free_port}/metrics", data=b"x", timeout=5)
    refused.value.close()


def test_a_worker_without_redis_is_alive_and_not_ready(
    start_worker: Any, redis_servers: Any, free_port: int
) -> None:
    """503 with the reason, and metrics that say so; 200 again when Redis is back."""
    server = redis_servers("valkey")
    worker = start_worker(
        "-c",
        "1",
        url=server.url,
        SMARTWORKER_WINDOWS="0:00-24:00=1s",
        SMARTWORKER_METRICS_PORT=f"127.0.0.1:{free_port}",
    )
    with redis.Redis.from_url(server.url) as admin:
        admin.config_set("maxclients", 1)
        admin.client_kill_filter(skipme=True)
        worker.wait_for("broker_lost")
        status, body = get(free_port, "/readyz")
        assert (status, json.loads(body)["status"]) == (503, "not ready")
        assert "Redis does not serve it" in json.loads(body)["reason"]
        assert get(free_port, "/livez")[0] == 200
        found = samples(get(free_port, "/metrics")[1])
        assert total(found, "smartworker_broker_up") == 0
        assert total(found, "smartworker_ready") == 0
        assert total(found, "smartworker_doorbell_up") == 0
        admin.config_set("maxclients", 10_000)
        worker.wait_for("broker_back")
    wait_until(lambda: get(free_port, "/readyz")[0] == 200)


def test_a_port_in_use_stops_no_worker(
    start_worker: Any, project: Any, free_port: int
) -> None:
    """One event, and the tasks run."""
    with socket.create_server(("127.0.0.1", free_port)):
        options = ("-P", "threads", "-c", "1")
        worker = start_worker(*options, SMARTWORKER_METRICS_PORT=f"{free_port}")
        assert project.add.delay(1, 2).get(timeout=10) == 3
    (event,) = worker.events("port_not_opened")
    assert (event["port"], event["level"]) == (free_port, "warning")
    assert "in use" in event["error"]
    assert worker.stop() == 0


def test_the_port_is_free_again_at_once(start_worker: Any, free_port: int) -> None:
    """Whether the worker was killed or told to stop."""
    address = f"127.0.0.1:{free_port}"
    first = start_worker("-c", "2", SMARTWORKER_METRICS_PORT=address)
    assert first.events("port_opened")
    first.send(signal.SIGKILL)
    first.process.wait(10)
    second = start_worker("-c", "1", SMARTWORKER_METRICS_PORT=address)
    assert second.events("port_opened")
    assert get(free_port, "/livez")[0] == 200
    assert second.stop() == 0
    with pytest.raises(OSError, match="refused"):
        get(free_port, "/livez")


def test_runs_of_jobs_are_counted_by_job(
    start_worker: Any, redis_url: str, free_port: int
) -> None:
    """Outcome, delay since the slot, last success; a job not declared has no name."""
    worker = start_worker(
        "-c",
        "2",
        app="smartworker.app",
        SMARTWORKER_TASKS="nightshift",
        SMARTWORKER_WINDOWS="0:00-12:00=1s; 12:00-24:00=1s",
        SMARTWORKER_METRICS_PORT=f"127.0.0.1:{free_port}",
    )
    worker.wait_for("worker_ready")
    jobs = Jobs()
    jobs.declare("add", "nightshift.add", args=(1, 1))
    jobs.declare("fail", "nightshift.fail")
    jobs.declare("from-elsewhere", "nightshift.add", args=(1, 1))
    app = smartworker.setup(
        Celery("producer", set_as_current=False), Settings(redis_url=redis_url), jobs
    )
    now = datetime.now(UTC)
    for name, seconds in (
        ("add", 90),
        ("add", 4000),
        ("fail", 0),
        ("from-elsewhere", 0),
    ):
        slot = Slot((now - timedelta(seconds=seconds)).replace(microsecond=0), False)
        run = Run(job=jobs.get(name), slot=slot, task_id=str(uuid4()))
        assert queue_run(app, run, now=now).pushed
    app.close()
    read = lambda: samples(get(free_port, "/metrics")[1])  # noqa: E731
    wait_until(lambda: total(read(), "smartworker_job_runs_total") == 4)
    found = read()
    runs = "smartworker_job_runs_total"
    assert total(found, runs, job="add", outcome="succeeded") == 2
    assert total(found, runs, job="fail", outcome="failed") == 1
    assert total(found, runs, job="", outcome="succeeded") == 1
    assert found[runs, (("job", "report"), ("outcome", "failed"))] == 0
    delays = "smartworker_start_delay_seconds_bucket"
    assert total(found, delays, job="add", le="60.0") == 0
    assert total(found, delays, job="add", le="120.0") == 1
    assert total(found, delays, job="add", le="+Inf") == 2
    last = "smartworker_job_last_success_timestamp_seconds"
    assert 0 <= found[last, (("job", "add"),)] - now.timestamp() < 20
    assert (last, (("job", "fail"),)) not in found
    assert total(found, "smartworker_job_missed_total") == 0
    assert total(found, "smartworker_window_open") == 1
    assert total(found, "smartworker_poll_interval_seconds") == 1
    assert total(found, "smartworker_doorbell_up", mode="keyspace") == 1
    assert total(found, "smartworker_ready") == 1
    assert total(found, "smartworker_messages_held") == 0
    assert total(found, "smartworker_polls_total") >= 1
    spent = total(found, "smartworker_redis_commands_total")
    assert 0 < total(found, "smartworker_budget_ratio") <= (spent + 5) / 500_000


def test_late_and_missed_slots_are_counted(redis_url: str) -> None:
    """By the worker that tells of them, once each."""
    rig = Rig(redis_url, job(deadline="1h"))
    patrol, _ = rig.patrol()
    patrol.go()
    late, missed = counts.slots("late"), counts.slots("missed")
    rig.move(12, 16)
    patrol.go()
    assert counts.slots("late") == {**late, ("book",): late.get(("book",), 0) + 1}
    assert counts.slots("missed") == missed
    rig.move(13, 1)
    patrol.go()
    assert counts.slots("missed") == {**missed, ("book",): missed.get(("book",), 0) + 1}
    rig.close()


def test_without_the_library_the_start_is_refused(redis_url: str) -> None:
    """Exit status 78 and a sentence: the operator asked for metrics."""
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from celery.__main__ import main\n"
        "sys.argv = ['celery', '-A', 'project', 'worker', '-c', '1']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parent),
            "REDIS_URL": redis_url,
            "SMARTWORKER_METRICS_PORT": "9808",
        },
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 78, done.stderr
    assert "smartworker[metrics]" in done.stderr
    assert "Traceback" not in done.stderr
