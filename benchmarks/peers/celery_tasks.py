"""The tasks of every peer that is a Celery app."""

import os
import time
from typing import Any

import notebook
from celery import Celery, group, signals

URL = os.environ["BENCH_URL"]
QUEUE = os.environ["BENCH_QUEUES"].partition(",")[0]

app = Celery("bench", broker=URL, backend=URL)
app.conf.task_default_queue = QUEUE
app.conf.task_ignore_result = os.environ["BENCH_RESULTS"] == "0"
if "BENCH_ACKS_LATE" in os.environ:
    # Otherwise as the peer has it: Celery early, smartworker late.
    app.conf.task_acks_late = os.environ["BENCH_ACKS_LATE"] == "1"
app.conf.worker_hijack_root_logger = True

signals.worker_ready.connect(lambda **_: notebook.up(), weak=False)


@app.task(name="bench.noop")
def _noop(payload: str) -> int:
    notebook.tick()
    return 1


@app.task(name="bench.stamp")
def _stamp(series: str, sent: float) -> None:
    notebook.stamp(series, sent)


@app.task(name="bench.sleep")
def _sleep(seconds: float) -> int:
    time.sleep(seconds)
    notebook.tick()
    return 1


def noop(payload: str) -> None:
    """Queue one."""
    _noop.delay(payload)


def many(count: int, payload: str) -> None:
    """Queue so many in one call."""
    group(_noop.s(payload) for _ in range(count)).apply_async()


def stamp(series: str, sent: float) -> None:
    """Queue one that notes how late it began."""
    _stamp.delay(series, sent)


def sleep(seconds: float) -> Any:
    """Queue one that takes so long; its id."""
    return _sleep.delay(seconds).id


def state(task_id: str) -> str:
    """Ask for the state of a task, as a status page does."""
    return str(app.AsyncResult(task_id).state)
