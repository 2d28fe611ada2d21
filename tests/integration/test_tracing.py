"""One trigger_id from the call to the last line; Sentry and OpenTelemetry beside it."""

import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest
import redis
from kombu import pools
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from smartworker.cron.runs import Run
from smartworker.cron.slots import minute_of
from smartworker.store import runs
from smartworker.store.server import free_port
from smartworker.worker.publish import queue_run
from tests.commands import ENTRY, facts
from tests.integration.conftest import HERE
from tests.logged import is_ours, strange
from tests.processes import wait_until

POOLS = ("prefork", "threads", "solo")
TOKEN = "t" * 40


@pytest.fixture
def start(start_worker):
    """Starts a worker of the traced project."""

    def start(*args, **env):
        worker = start_worker("-c", "2", *args, app="traced", **env)
        worker.wait_for("worker_ready")
        return worker

    return start


@contextmanager
def web_process(url, directory, **env):
    """A real web process; yields a client, and what returns its log lines."""
    port, log = free_port(), directory / "web.log"
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE),
        "REDIS_URL": url,
        "PORT": str(port),
        "SMARTWORKER_CRON_TOKENS": TOKEN,
        **env,
    }
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [*ENTRY, "web", "--app", "traced", "--host", "127.0.0.1"],
            env=environment,
            stderr=errors,
        ) as process,
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            trust_env=False,
        ) as client,
    ):

        def lines():
            return [json.loads(line) for line in log.read_text().splitlines()]

        def is_there():
            assert process.poll() is None, log.read_text()
            try:
                return client.get("/livez").status_code == 200
            except httpx.TransportError:
                return False

        try:
            wait_until(is_there)
            yield client, lines
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture
def web(redis_url, tmp_path):
    """A real web process of the traced project."""
    with web_process(redis_url, tmp_path) as found:
        yield found


def accepted(web, job):
    """Triggers a job; returns its line of the web process."""
    client, lines = web
    answer = client.post(f"/api/cron/{job}")
    assert answer.status_code == 202, answer.text
    found = [line for line in lines() if line["event"] == "trigger_accepted"]
    assert [
        complaint for x in lines() if is_ours(x) and (complaint := strange(x))
    ] == []
    return found[-1]


def record(url, job):
    """The one run that is remembered."""
    with redis.Redis.from_url(url) as client:
        wait_until(lambda: runs.last(client, job, 9))
        (found,) = runs.last(client, job, 9)
    return found


@pytest.mark.parametrize("pool", POOLS)
def test_one_trigger_id_from_the_call_to_the_last_line(start, web, redis_url, pool):
    """Both tries, the user's own lines, the record, and all that the run queued."""
    worker = start("-P", pool)
    call = accepted(web, "book")
    trigger_id, task_id = call["trigger_id"], call["task_id"]
    worker.wait_for("task_finished", 5)
    lines = [line for line in worker.lines if line.get("trigger_id") == trigger_id]
    # In another thread the second try may begin before the first one says its last.
    of_run = Counter(line["event"] for line in lines if line["task_id"] == task_id)
    assert of_run == {
        **{"task_started": 2, "lane is free": 2, "task_retried": 1, "task_finished": 1},
        **{"water is warm at try 0": 1, "water is warm at try 1": 1},
    }
    assert {x.get("job") for x in lines if x["task_id"] == task_id} == {"book"}
    queued = [line for line in lines if line["task_id"] != task_id]
    assert Counter(line["event"] for line in queued) == {
        **dict.fromkeys(("task_started", "lane is free", "task_finished"), 4),
        **{f"water is warm at {what}": 1 for what in "abcd"},
    }
    assert {line.get("job") for line in queued} == {None}
    found = record(redis_url, "book")
    assert (found.trigger_id, found.task_id) == (trigger_id, task_id)
    assert any("lane is free" in line for line in found.tail)


@pytest.mark.parametrize("pool", POOLS)
def test_a_failure_has_it_too(start, web, redis_url, pool):
    """The last line of a run that raised an error."""
    worker = start("-P", pool)
    call = accepted(web, "bad")
    worker.wait_for("task_failed")
    (failed,) = worker.events("task_failed")
    for name in ("trigger_id", "task_id", "job"):
        assert failed[name] == call[name]
    assert record(redis_url, "bad").trigger_id == call["trigger_id"]


def test_a_killed_process_leaves_it_to_its_parent(start, web, redis_url):
    """The parent says how it ended, with all its names, and nothing else has them."""
    worker = start()
    call = accepted(web, "killed")
    worker.wait_for("task_failed")
    (failed,) = worker.events("task_failed")
    for name in ("trigger_id", "task_id", "job"):
        assert failed[name] == call[name]
    assert record(redis_url, "killed").trigger_id == call["trigger_id"]
    worker.stop()
    assert "trigger_id" not in worker.events("worker_stopping")[0]


def test_a_trigger_from_the_shell_has_one(start, redis_url):
    """The command says it, the worker's lines and the record carry it."""
    worker = start()
    told = facts(redis_url, "trigger", "bad", "--app", "traced", PYTHONPATH=str(HERE))
    worker.wait_for("task_failed")
    started, failed = worker.events("task_started") + worker.events("task_failed")
    for line in (started, failed):
        assert line["trigger_id"] == told["trigger_id"]
    found = record(redis_url, "bad")
    assert (found.trigger, found.trigger_id) == ("command", told["trigger_id"])


def test_a_history_that_is_away_says_whose_run_it_lost(start, web, tmp_path):
    """The line about the record has the names of the run, too."""
    away = f"sqlite:///{tmp_path}/no-such-directory/runs.sqlite3"
    worker = start(DATABASE_URL=away)
    call = accepted(web, "bad")
    worker.wait_for("history_not_written")
    line = worker.events("history_not_written")[0]
    for name in ("trigger_id", "task_id", "job"):
        assert line[name] == call[name]


# -- Sentry Crons ----------------------------------------------------------------------


def read(path):
    """The objects in a file of one a line."""
    return (
        [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []
    )


@pytest.mark.parametrize(
    ("pool", "in_web"),
    [("prefork", False), ("prefork", True), ("threads", True), ("solo", False)],
)
def test_sentry_hears_how_a_run_goes(start, redis_url, tmp_path, pool, in_web):
    """Begun, and how it ended, as one check-in at the monitor that the job names."""
    path, web_path = tmp_path / "check-ins", tmp_path / "web-check-ins"
    worker = start("-P", pool, CHECK_INS=str(path))
    env = {"CHECK_INS": str(web_path)} if in_web else {}
    with web_process(redis_url, tmp_path, **env) as web:
        call = accepted(web, "bad")
        worker.wait_for("task_failed")
        wait_until(lambda: len(read(path)) == 2)
        begun, ended = read(path)
        assert [begun["status"], ended["status"]] == ["in_progress", "error"]
        assert begun["check_in_id"] == ended["check_in_id"]
        assert 0 <= ended["duration"] < 20
        for sent in (begun, ended):
            assert sent["monitor_slug"] == "bad-job"
            assert sent["monitor_config"] == {
                "schedule": {"type": "crontab", "value": "0 21 * * *"},
                "timezone": "America/New_York",
                "checkin_margin": 15,
            }
        assert worker.events("task_failed")[0]["trigger_id"] == call["trigger_id"]
        call = accepted(web, "book")
        worker.wait_for("task_finished", 5)
        wait_until(lambda: len(read(path)) == 5)
        again = read(path)[2:]
        # A retry at once may end on another thread before the first try is reported.
        first, *ends = (x["status"] for x in again)
        assert (first, sorted(ends)) == ("in_progress", ["error", "ok"])
        assert {x["monitor_slug"] for x in again} == {"book-lanes"}
        assert len({x["check_in_id"] for x in again} - {begun["check_in_id"]}) == 1
        # The names of the run survive what Sentry does to the headers.
        finished = [x for x in worker.events("task_finished") if x.get("job") == "book"]
        assert [x["trigger_id"] for x in finished] == [call["trigger_id"]]
    assert read(web_path) == []


def test_a_run_that_could_not_say_its_end_does_not_say_its_begin(start, web, tmp_path):
    """Without `monitor_beat_tasks` Sentry would take it for one that hangs."""
    path = tmp_path / "check-ins"
    worker = start(CHECK_INS=str(path), MONITOR="false")
    accepted(web, "bad")
    worker.wait_for("task_failed")
    worker.stop()
    assert read(path) == []


def test_a_job_without_a_monitor_carries_nothing(start, web, redis_url, tmp_path):
    """No header, no check-in."""
    worker = start(CHECK_INS=str(tmp_path / "check-ins"))
    accepted(web, "plain")
    worker.wait_for("task_finished")
    worker.stop()
    assert read(tmp_path / "check-ins") == []


def test_a_monitor_costs_no_command(web, counter):
    """The headers travel with the message."""
    accepted(web, "plain")
    counter.billed()
    costs = []
    for job in ("plain", "bad"):
        answer = web[0].post(f"/api/cron/{job}", headers={"Idempotency-Key": job})
        assert answer.status_code == 202
        costs.append(counter.billed())
    # The job with a monitor has a schedule: its slot has a record of its own, or not.
    assert costs[0] == {"eval": 1, "set": 1, "lpush": 1}
    assert costs[1] in ({**costs[0], "set": 2}, costs[0])


# -- OpenTelemetry ---------------------------------------------------------------------


@pytest.fixture
def traced(redis_url, monkeypatch):
    """The project as a producer in this process, fresh for each test."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.syspath_prepend(str(HERE))
    sys.modules.pop("traced", None)
    import traced

    yield traced
    traced.app.close()
    pools.reset()
    traced.app.backend.client.connection_pool.disconnect()
    sys.modules.pop("traced", None)


@pytest.fixture
def published(traced):
    """The spans of this process, which publishes."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = CeleryInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield exporter.get_finished_spans
    instrumentor.uninstrument()


def by_trigger(traced, name):
    """Queue a run as the web process and the command do."""
    now = datetime.now(UTC)
    job = traced.jobs.get(name)
    run = Run(job=job, slot=minute_of(now), task_id=str(uuid4()), trigger="manual")
    assert queue_run(traced.app, run, now=now).pushed


def by_delay(traced, name):
    """Queue a task as any program does."""
    traced.app.tasks[f"traced.{name}"].delay()


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("publish", [by_trigger, by_delay])
def test_a_run_is_the_child_of_its_publication(
    start, traced, published, tmp_path, pool, publish
):
    """One trace over the message, and on into what the run itself publishes."""
    path = tmp_path / "spans"
    worker = start("-P", pool, SPANS=str(path))
    publish(traced, "nested")
    worker.wait_for("task_finished", 2)
    wait_until(lambda: len(read(path)) == 3)
    (sent,) = published()
    assert sent.name == "apply_async/traced.nested"
    spans = {span["name"]: span for span in read(path)}
    trace, parent = f"0x{sent.context.trace_id:032x}", f"0x{sent.context.span_id:016x}"
    for name in ("run/traced.nested", "apply_async/traced.tell", "run/traced.tell"):
        assert spans[name]["context"]["trace_id"] == trace
        assert spans[name]["parent_id"] == parent
        parent = spans[name]["context"]["span_id"]


@pytest.mark.parametrize("pool", POOLS)
def test_headers_of_others_reach_the_task(start, traced, pool):
    """Whatever a tracing library puts on the message, unchanged, beside ours."""
    start("-P", pool)
    theirs = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "x-list": ["ü", 1]}
    answer = traced.plain.apply_async(headers=theirs)
    assert answer.get(timeout=20) == theirs
    inside = {"headers": {"baggage": "a=1"}, "trigger_id": "t-1", "job": "plain"}
    answer = traced.plain.apply_async(headers=inside)
    assert answer.get(timeout=20) == {
        "baggage": "a=1",
        "trigger_id": "t-1",
        "job": "plain",
    }
