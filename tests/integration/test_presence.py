"""The row of a real worker: what stands in it, what it costs, and what it survives."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from smartworker import rows
from smartworker.rows import Row
from smartworker.store import processes
from smartworker.worker.presence import look
from tests.processes import wait_until


def rows_of(counter: Any) -> list[Row]:
    """What stands in the hash."""
    return processes.read(counter.client)


def this_month() -> str:
    """The month that it is in UTC."""
    return rows.month_of(datetime.now(UTC))


def test_a_worker_says_what_it_is(start_worker: Any, counter: Any) -> None:
    """From the start on: window, poll, doorbell, queues, and what the start cost."""
    worker = start_worker("-c", "2")
    (row,) = rows_of(counter)
    ready = worker.events("worker_ready")[0]
    assert (row.kind, row.name, row.stopped) == ("worker", ready["worker"], False)
    assert (row.window, row.poll_seconds) == (ready["window"], ready["poll_seconds"])
    assert (row.doorbell, row.broker) == ("keyspace", "ok")
    assert row.queues == ready["queues"]
    assert (row.month, row.billed) == (this_month(), 6)
    assert row.last_poll is not None
    assert row.next_poll is not None
    assert datetime.fromisoformat(row.next_poll) > datetime.fromisoformat(row.last_poll)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_clean_stop_is_quick_and_counts_everything(
    start_worker: Any, counter: Any, project: Any, pool: str
) -> None:
    """The last row has what the children sent, too, and holds up nobody.

    Stopping the processes of a prefork pool alone takes up to 2 s.
    """
    worker = start_worker("-c", "2", "-P", pool)
    results = [project.add.delay(n, 1) for n in range(10)]
    assert [result.get(timeout=10) for result in results] == list(range(1, 11))
    wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))
    begun = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - begun < (4 if pool == "prefork" else 1)
    (row,) = rows_of(counter)
    assert row.stopped
    assert row.commands["result"] == row.commands["done"] == 10
    assert row.messages == {"done": 10}
    assert row.tasks == {}


@pytest.mark.parametrize("seed", ["1", "2"])
def test_what_ends_after_sigterm_is_counted(
    start_worker: Any, counter: Any, project: Any, seed: str
) -> None:
    """Result and acknowledgement of the last task, in whatever order steps stop."""
    worker = start_worker("-c", "1", PYTHONHASHSEED=seed)
    project.nap.delay(1)
    worker.wait_for("task_started")
    time.sleep(0.3)  # a signal in the very moment may make billiard wait for 30 s
    assert worker.stop() == 0
    (row,) = rows_of(counter)
    assert row.stopped
    assert row.commands["done"] == row.commands["result"] == 1


def test_a_killed_worker_takes_less_than_100_with_it(
    start_worker: Any, counter: Any, project: Any
) -> None:
    """After 400 commands, at whatever moment: SIGKILL."""
    worker = start_worker("-c", "2")
    counter.billed()
    results = [project.nothing.delay() for _ in range(173)]
    assert results
    wait_until(lambda: not counter.client.llen("celery"))
    wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))
    server = counter.billed()
    for ours in ("keys", "llen"):
        server.pop(ours)
    worker.kill_all()
    server.pop("lpush")  # sent by this process
    (row,) = rows_of(counter)
    assert sum(server.values()) > 300
    assert sum(server.values()) + 6 - row.billed < 100


def test_the_next_worker_goes_on(start_worker: Any, counter: Any, project: Any) -> None:
    """The month's sum is that of all starts."""
    start_worker("-c", "1").stop()
    (first,) = rows_of(counter)
    start_worker("-c", "1")
    both = rows_of(counter)
    assert len(both) == 2
    total = rows.spent(both, this_month())
    assert sum(total.values()) == first.billed + 6


def test_who_looks_sees_a_task_begin_and_end(
    start_worker: Any, counter: Any, project: Any
) -> None:
    """One broadcast without an answer; then the row follows."""
    start_worker("-c", "2")
    counter.billed()
    (before,) = rows_of(counter)
    look(project.app)
    wait_until(lambda: rows_of(counter)[0].written != before.written)
    asked = counter.billed()
    asked.pop("hgetall")
    assert asked == {"publish": 1, "hset": 1}
    project.nap.delay(7)
    wait_until(lambda: rows_of(counter)[0].active)
    (active,) = rows_of(counter)[0].active
    assert active["task"] == project.nap.name
    assert active["job"] is None
    wait_until(lambda: rows_of(counter)[0].tasks)
    (row,) = rows_of(counter)
    assert row.active == []
    assert row.tasks[project.nap.name]["succeeded"] == 1


def test_a_server_that_refuses_the_row_holds_up_nothing(
    start_worker: Any, counter: Any, project: Any, redis_url: str
) -> None:
    """The row cannot be written: said once, and the worker works."""
    counter.client.acl_setuser(
        "rowless",
        enabled=True,
        nopass=True,
        keys="*",
        channels="*",
        commands=["+@all", "-hset"],
    )
    worker = start_worker("-c", "2", url=redis_url.replace("//", "//rowless:x@"))
    worker.wait_for("row_not_written")
    results = [project.add.delay(n, 1) for n in range(60)]
    assert [result.get(timeout=10) for result in results] == list(range(1, 61))
    assert worker.stop() == 0
    assert len(worker.events("row_not_written")) == 1


def test_a_used_up_budget_widens_quiet_polls(
    start_worker: Any, counter: Any, project: Any
) -> None:
    """Said once a month, also by the next worker; work goes on."""
    quiet = ("--windows", "mon 4:00-4:01=30s")
    limits = {
        "SMARTWORKER_MONTHLY_BUDGET": "6",
        "SMARTWORKER_LONGEST_QUIET_POLL": "90m",
    }
    worker = start_worker("-c", "1", *quiet, **limits)
    worker.wait_for("budget_exhausted")
    worker.wait_for("interval_changed")
    (event,) = worker.events("budget_exhausted")
    assert (event["budget"], event["poll_seconds"]) == (6, 5400)
    (change,) = worker.events("interval_changed")
    assert change["poll_seconds"] == 5400
    assert change["reason"] == "the month's budget is used up"
    assert project.add.delay(1, 1).get(timeout=10) == 2
    wait_until(lambda: rows_of(counter)[0].told == 100)
    worker.stop()
    second = start_worker("-c", "1", *quiet, **limits)
    second.wait_for("interval_changed")
    assert second.events("budget_exhausted") == []
