"""A user's project: the tasks that the worker tests run.

Not shared with other apps: the tests import this anew, each time as another app.
"""

import time

from celery import Celery
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
