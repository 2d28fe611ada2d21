"""A user's project whose tasks tell how far they are."""

import time
from datetime import UTC, datetime, timedelta

from celery import Celery

import smartworker

app = smartworker.setup(Celery("progressing"))


@app.task(shared=False)
def count(reports, pause, rest):
    """Reports many times, and then goes quiet."""
    for number in range(reports):
        smartworker.progress(number + 1, reports, "counting")
        time.sleep(pause)
    time.sleep(rest)
    return reports


@app.task(shared=False, bind=True)
def later(self, seconds):
    """Asks to run again in a while, by a moment for an odd number of seconds."""
    if self.request.retries:
        return "done"
    error = TimeoutError("the facility is slow")
    if seconds % 2:
        moment = datetime.now(UTC) + timedelta(seconds=seconds)
        raise self.retry(exc=error, eta=moment, max_retries=1)
    raise self.retry(exc=error, countdown=seconds, max_retries=1)
