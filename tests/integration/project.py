"""A user's project: the tasks that the worker tests run.

Not shared with other apps: the tests import this anew, each time as another app.
"""

import gc
import logging
import os
import signal
import time
from pathlib import Path

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.log import get_task_logger
from kombu import Queue

import smartworker

app = smartworker.setup(Celery("project"))
app.conf.task_queues = [
    Queue(name)
    for name in ("celery", "bookings", "cache", "email", "stats", "upkeep", "extra")
]


@app.task(shared=False)
def add(x, y):
    """The sum."""
    return x + y


@app.task(shared=False)
def frozen():
    """How many objects no collection of garbage looks at."""
    return gc.get_freeze_count()


@app.task(shared=False, ignore_result=True)
def nothing():
    """No result to store."""


@app.task(shared=False)
def nap(seconds):
    """A task that takes its time."""
    time.sleep(seconds)
    return seconds


@app.task(shared=False, bind=True, max_retries=1)
def twice(self):
    """Fails once and asks to run again."""
    if not self.request.retries:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task(shared=False)
def fail(secret):
    """Always fails."""
    raise ValueError(f"cannot book for {secret}")


@app.task(shared=False)
def talk(count, error=None):
    """Says something, in its own words and by a logger of Celery's."""
    log = logging.getLogger("booking")
    for number in range(count):
        log.info("lane %d is free, says redis://user:url-pass@host", number)
    get_task_logger(__name__).warning("\x1b[2Jdone")
    if error:
        raise ValueError(error)


@app.task(shared=False, reject_on_worker_lost=False)
def die():
    """The process that runs this is killed; the message is not put back."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(shared=False)
def die_once(path):
    """The process that runs this is killed the first time."""
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)


@app.task(shared=False)
def die_always():
    """The process that runs this is killed, and the message put back."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(shared=False)
def stubborn(seconds):
    """Does not care for its soft time limit."""
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        time.sleep(seconds)
