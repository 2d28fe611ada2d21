"""The same project with the line of smartworker taken out: Celery as it is."""

import os
import sys
import time
from pathlib import Path

from celery import Celery

#: What is loaded where our line stands; the commands below `celery` always are.
OURS = {"smartworker.broker", "smartworker.store", "smartworker.worker"}
RECORD = Path(os.environ["SHOP_RECORD"])
url = os.environ["REDIS_URL"]
app = Celery("shop", broker=url, backend=url)


def say(task, n):
    """One line, as in `shop.py`; for the release it says who carries messages."""
    name = "smart" if OURS.intersection(sys.modules) else "stock"
    line = f"{task.name} {n} {name} {task.request.retries} 0 {time.time()}\n"
    with RECORD.open("a") as file:
        file.write(line)


@app.task(bind=True, name="shop.note")
def note(self, n):
    """Says that it ran."""
    say(self, n)
    return "stock"


@app.task(bind=True, name="shop.late")
def late(self, n):
    """Says that it ran; nobody waits any more."""
    say(self, n)
    return "stock"


@app.task(bind=True, name="shop.again")
def again(self, n, seconds):
    """Fails once, and asks to run again after so many seconds."""
    say(self, n)
    if not self.request.retries:
        raise self.retry(countdown=seconds)
    return "stock"


@app.task(bind=True, name="shop.nightly_new")
def nightly(self):
    """The run of a job."""
    say(self, "nightly")
    return "stock"
