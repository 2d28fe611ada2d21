"""A project whose runs are pinged."""

import os
import signal
import time

from celery import Celery
from celery.exceptions import Ignore

import smartworker

jobs = smartworker.Jobs()
for name in ("well", "badly", "again", "slowly", "ignored", "killed", "poison"):
    jobs.declare(name, f"pinging.{name}")
jobs.declare("quiet", "pinging.well", ping="off")
jobs.declare("own", "pinging.well", ping=os.environ.get("OWN_PING"))

app = smartworker.setup(Celery("pinging"), jobs=jobs)


@app.task(shared=False)
def well():
    """Ends well."""


@app.task(shared=False)
def badly():
    """Fails, and says what it should not."""
    raise ValueError(f"no lane\nis free at {os.environ['SMARTWORKER_PING_URL']}")


@app.task(shared=False, bind=True, max_retries=2)
def again(self):
    """Fails twice."""
    if self.request.retries < 2:
        raise self.retry(countdown=0)


@app.task(shared=False, time_limit=1)
def slowly():
    """Takes longer than it may."""
    time.sleep(30)


@app.task(shared=False)
def ignored():
    """Keeps its state to itself."""
    raise Ignore


@app.task(shared=False, reject_on_worker_lost=False)
def killed():
    """Its process is killed."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(shared=False)
def poison():
    """Its process is killed, and the message comes back."""
    os.kill(os.getpid(), signal.SIGKILL)
