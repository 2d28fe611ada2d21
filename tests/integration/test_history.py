"""What a real worker remembers of the runs of a job, whatever happens to them."""

import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from smartworker.cron.runs import HEADER
from smartworker.settings import Settings
from smartworker.store import runs
from smartworker.store.history import open_history
from tests.processes import wait_until

POOLS = ("prefork", "threads", "solo")
JOB = "book"


def publish(task, *args, job=JOB, **options):
    """Queue a run of the job as a trigger does; returns its id."""
    task_id = str(uuid4())
    run = {
        "job": job,
        "slot": "2026-11-01T00:00:00Z",
        "scheduled": True,
        "trigger": "http",
        "trigger_id": "t-1",
        "digest": "",
        "overlap": "allow",
        "limit": None,
        "retention": 3600,
    }
    headers = {HEADER: run, "job": job, "trigger_id": "t-1"}
    task.apply_async(args, task_id=task_id, headers=headers, **options)
    return task_id


@pytest.fixture
def history(counter):
    """Waits for so many runs of the job, and returns them, newest first."""

    def read(count=1, job=JOB):
        wait_until(lambda: len(runs.last(counter.client, job, 9)) >= count)
        return runs.last(counter.client, job, 9)

    return read


@pytest.mark.parametrize("pool", POOLS)
def test_a_run_is_remembered_by_one_command(
    start_worker, counter, project, history, pool
):
    """Who, when, how long, how it ended, and what it said; beside its four commands."""
    worker = start_worker("-c", "2", "-P", pool)
    counter.billed()
    before = datetime.now(UTC)
    ids = [publish(project.talk, 3) for _ in range(5)]
    worker.wait_for("task_finished", 5)
    found = history(5)
    wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))
    counts = counter.billed()
    for ours in ("keys", "xrevrange"):
        counts.pop(ours)
    assert counts.pop("xadd") == 5
    assert counts == {
        **dict.fromkeys(("lpush", "lmove", "lrem", "set"), 5),
        **{"time": 1, "zadd": 1},
    }
    answers = project.app.control.inspect(timeout=5, limit=1)._request("smart_status")
    assert next(iter(answers.values()))["commands"]["cron"] == {"xadd": 5}
    assert {run.task_id for run in found} == set(ids)
    for run in found:
        assert (run.job, run.slot) == (JOB, "2026-11-01T00:00:00Z")
        assert (run.trigger, run.state, run.error) == ("http", "SUCCESS", "")
        assert before <= datetime.fromisoformat(run.started) <= datetime.now(UTC)
        assert 0 <= run.seconds < 5
        assert [line[9:] for line in run.tail] == [
            *(f"INFO lane {n} is free, says redis://user:***@host" for n in range(3)),
            "WARNING  [2Jdone",
        ]


@pytest.mark.parametrize("pool", POOLS)
def test_a_failure_has_its_error_and_traceback(start_worker, project, history, pool):
    """The error on one line, and the end of the log with the place in the code."""
    start_worker("-c", "1", "-P", pool)
    publish(project.talk, 30, "no lane\nfor redis://u:secret-pass@h")
    (run,) = history()
    assert run.state == "FAILURE"
    assert run.error == "ValueError: no lane for redis://u:***@h"
    text = "\n".join(run.tail)
    assert len(run.tail) == 20
    assert "project.py" in text
    assert "raise ValueError(error)" in text
    assert "lane 29 is free" in text
    assert "lane 0 is free" not in text
    assert "secret-pass" not in text


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_retry_is_no_end(start_worker, project, history, pool):
    """Two attempts of one run are one record, of the second."""
    worker = start_worker("-c", "1", "-P", pool)
    publish(project.twice)
    worker.wait_for("task_finished")
    publish(project.add, 1, 1)
    worker.wait_for("task_finished", 2)
    assert [run.state for run in history(2)] == ["SUCCESS", "SUCCESS"]
    assert worker.events("task_retried")


def test_other_tasks_leave_no_trace(start_worker, counter, project):
    """No header, no record, no command; a header of another form is none."""
    worker = start_worker("-c", "1")
    counter.billed()
    for header in ({}, {HEADER: None}, {HEADER: "book"}, {HEADER: {"slot": "x"}}):
        project.talk.apply_async((1,), headers=header)
    worker.wait_for("task_finished", 4)
    wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))
    counts = counter.billed()
    counts.pop("keys")
    assert counts == {
        **dict.fromkeys(("lpush", "lmove", "lrem", "set"), 4),
        **{"time": 1, "zadd": 1},
    }


def test_a_killed_process_is_remembered_by_its_parent(start_worker, project, history):
    """Its message is not put back: a failure, once, and the next run is as ever."""
    worker = start_worker("-c", "1")
    task_id = publish(project.die)
    (run,) = history()
    assert (run.task_id, run.state) == (task_id, "FAILURE")
    assert "WorkerLostError" in run.error
    assert 0 <= run.seconds < 10
    publish(project.add, 1, 1)
    worker.wait_for("task_finished")
    assert [run.state for run in history(2)] == ["SUCCESS", "FAILURE"]


def test_a_run_that_comes_back_is_remembered_once(
    start_worker, project, history, tmp_path
):
    """Its process was killed and the message put back: the second run is its end."""
    worker = start_worker("-c", "1")
    task_id = publish(project.die_once, str(tmp_path / "died"))
    (run,) = history()
    assert (run.task_id, run.state) == (task_id, "SUCCESS")
    assert worker.stop() == 0
    assert len(history()) == 1


def test_a_dead_letter_is_a_failure(start_worker, project, history):
    """Its process was killed each time, until the message was given up."""
    worker = start_worker("-c", "1", SMARTWORKER_MAX_DELIVERIES="2")
    task_id = publish(project.die_always)
    worker.wait_for("message_dead")
    (run,) = history()
    assert (run.task_id, run.state, run.seconds) == (task_id, "FAILURE", None)
    assert run.error.startswith("dead letter: max_deliveries")


def test_a_hard_time_limit_is_remembered_once(start_worker, project, history):
    """The parent kills the process and says so."""
    worker = start_worker("-c", "1")
    publish(project.stubborn, 60, time_limit=1, soft_time_limit=0.5)
    (run,) = history()
    assert run.state == "FAILURE"
    assert "TimeLimitExceeded" in run.error
    assert 0.9 <= run.seconds < 10
    worker.wait_for("task_failed")
    publish(project.add, 1, 1)
    assert len(history(2)) == 2


def test_a_soft_time_limit_is_the_tasks_own_error(start_worker, project, history):
    """It ends as any other error does."""
    start_worker("-c", "1")
    publish(project.nap, 60, time_limit=30, soft_time_limit=1)
    (run,) = history()
    assert run.state == "FAILURE"
    assert "SoftTimeLimitExceeded" in run.error


def test_revoked_runs_are_remembered(start_worker, project, history):
    """Expired, revoked before it began, and stopped while it ran."""
    worker = start_worker("-c", "1")
    publish(project.add, 1, 1, expires=datetime(2026, 1, 1, tzinfo=UTC))
    (expired,) = history()
    assert (expired.state, expired.error) == ("REVOKED", "expired")
    assert expired.seconds is None
    running, waiting = publish(project.nap, 60), publish(project.add, 1, 1)
    worker.wait_for("task_started")
    project.app.control.revoke(waiting)
    project.app.control.revoke(running, terminate=True)
    found = {run.task_id: run for run in history(3)}
    assert found[waiting].state == found[running].state == "REVOKED"
    assert "terminated" in found[running].error
    assert found[running].seconds is not None


def test_the_history_outlives_its_worker(start_worker, counter, project, history):
    """Another worker adds to what the first one wrote."""
    first = start_worker("-c", "1", "-P", "threads")
    publish(project.add, 1, 1)
    first.wait_for("task_finished")
    wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))
    assert first.stop() == 0
    second = start_worker("-c", "1", "-P", "threads")
    publish(project.add, 2, 2)
    second.wait_for("task_finished")
    assert len(history(2)) == 2


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_lost_connection_is_made_again(start_worker, counter, project, history, pool):
    """The server hangs up between two runs: nobody need know."""
    worker = start_worker("-c", "1", "-P", pool)
    publish(project.add, 1, 1)
    history(1)
    wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))
    counter.client.client_kill_filter(_type="normal", skipme=True)
    publish(project.add, 2, 2)
    assert len(history(2)) == 2
    assert worker.events("history_not_written") == []


def test_a_refused_history_stops_nothing(start_worker, counter, project, history):
    """Said once; the tasks go on, and other jobs are remembered."""
    counter.client.set("smartworker:runs:book", "theirs")
    worker = start_worker("-c", "1")
    results = [project.app.AsyncResult(publish(project.add, n, 1)) for n in range(4)]
    assert [result.get(timeout=10) for result in results] == [1, 2, 3, 4]
    publish(project.add, 1, 1, job="email")
    assert len(history(job="email")) == 1
    assert len(worker.events("history_not_written")) == 1
    assert worker.stop() == 0


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_database_takes_the_history(
    start_worker, counter, project, redis_url, tmp_path, pool
):
    """DATABASE_URL is set: no command of ours, and the rest of the file stays."""
    path = tmp_path / "data.sqlite3"
    with closing(sqlite3.connect(path)) as theirs, theirs:
        theirs.execute("CREATE TABLE members (name TEXT)")
    url = f"sqlite:///{path}"
    worker = start_worker("-c", "2", "-P", pool, DATABASE_URL=url)
    counter.billed()
    publish(project.talk, 2)
    publish(project.talk, 0, "no lane")
    worker.wait_for("task_finished")
    worker.wait_for("task_failed")
    settings = Settings(redis_url=redis_url, database_url=url)
    kept = open_history(settings, lambda: pytest.fail("Redis is not asked"))
    wait_until(lambda: len(kept.last(JOB, 9)) == 2)
    wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))
    counts = counter.billed()
    counts.pop("keys")
    assert counts == {
        **dict.fromkeys(("lpush", "lmove", "lrem", "set"), 2),
        **{"time": 1, "zadd": 1},
    }
    assert {run.state for run in kept.last(JOB, 9)} == {"SUCCESS", "FAILURE"}
    assert worker.stop() == 0


def test_a_database_that_is_away_stops_nothing(start_worker, project, tmp_path):
    """Its password never shows, and the tasks end as ever."""
    (tmp_path / "locked").mkdir()
    url = f"sqlite:///{tmp_path}/locked"
    worker = start_worker("-c", "1", DATABASE_URL=url)
    begun = time.monotonic()
    for number in range(3):
        result = project.app.AsyncResult(publish(project.add, number, 1))
        assert result.get(timeout=10) == number + 1
    assert time.monotonic() - begun < 10
    worker.wait_for("history_not_written")
    assert len(worker.events("history_not_written")) == 1


def test_a_database_nobody_can_use_leaves_the_history_in_redis(
    start_worker, project, history
):
    """Said once at the start, without the password."""
    url = "nosuch://me:of-the-database@db.example/app"
    worker = start_worker("-c", "1", DATABASE_URL=url)
    publish(project.add, 1, 1)
    assert len(history()) == 1
    (line,) = worker.events("history_in_redis")
    assert "'nosuch'" in line["reason"]
    assert "of-the-database" not in worker.text
