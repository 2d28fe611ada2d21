"""A project whose tasks stand on the base task."""

import os
import time
from pathlib import Path

from celery import Celery

import smartworker

app = smartworker.setup(Celery("retrying"))


@app.task(base=smartworker.Task, shared=False, retry_backoff_max=0)
def flaky(path, good_at):
    """Works from its run number `good_at` on; the first one is 1."""
    with Path(path).open("a+") as runs:
        runs.write("x")
        if runs.tell() < good_at:
            raise OSError("the mail server is away")
        return runs.tell()


@app.task(base=smartworker.Task, shared=False)
def wrong():
    """Fails for a reason that stays."""
    return len(None)


@app.task(base=smartworker.Task, shared=False)
def waiting(path):
    """Runs until the file is there."""
    while not os.path.exists(path):  # noqa: PTH110 - called very often
        time.sleep(0.01)


@app.task(base=smartworker.Task, bind=True, shared=False)
def asking(self):
    """Asks by itself to run again."""
    if not self.request.retries:
        raise self.retry(countdown=0, exc=OSError("not yet"))
