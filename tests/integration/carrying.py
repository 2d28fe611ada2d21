"""A project whose tasks end in all ways that make a difference to their results."""

import json
import os
import time
from pathlib import Path

from celery import Celery, states
from celery.exceptions import Ignore, Reject

import smartworker

app = smartworker.setup(Celery("carrying"))
app.conf.update(json.loads(os.environ.get("CARRYING_CONF", "{}")))


@app.task(shared=False)
def give(size=1):
    """So many letters."""
    return "x" * size


@app.task(shared=False)
def total(parts):
    """The letters of a chord."""
    return sum(map(len, parts))


@app.task(shared=False, acks_late=False)
def early():
    """Acknowledged when it begins."""
    return "x"


@app.task(shared=False, bind=True, max_retries=1)
def again(self):
    """Runs twice."""
    if not self.request.retries:
        raise self.retry(countdown=0)
    return sorted(key for key in self.request.headers or {} if "luggage" in key)


@app.task(shared=False, bind=True)
def by_hand(self):
    """Stores its result by itself and says that it is done; what it reads then."""
    self.update_state(state=states.SUCCESS, meta="by hand")
    app.backend.client.set("seen", app.AsyncResult(self.request.id).state)
    raise Ignore


@app.task(shared=False)
def wait(path):
    """Runs until the file is there, and says so to another one."""
    with Path(f"{path}.runs").open("a") as runs:
        runs.write("x")
    while not Path(path).exists():
        time.sleep(0.01)
    return "x"


@app.task(shared=False, bind=True, max_retries=1)
def calls(self, end):
    """Has another task run in this process, says how far it is, and ends so."""
    give.apply((2,))
    self.update_state(state="HALFWAY", meta={"letters": 2})
    app.backend.client.rpush("seen", app.AsyncResult(self.request.id).state)
    if end == "failure":
        raise ValueError("after the other one")
    if end == "retry" and not self.request.retries:
        raise self.retry(countdown=600)
    return "x"


class Unsure(app.Task):
    """Ends well, and then has second thoughts."""

    def on_success(self, retval, task_id, args, kwargs):
        """The message goes back once."""
        if not self.request.delivery_info["redelivered"]:
            raise Reject("once more", requeue=True)


@app.task(shared=False, base=Unsure)
def unsure():
    """Ends well."""
    return "x"


class Unwell(app.Task):
    """Ends well, and then its process ends."""

    def after_return(self, *args):
        """A handler that wants to leave."""
        raise SystemExit(3)


@app.task(shared=False, base=Unwell)
def unwell(path):
    """Ends well, each time that it runs."""
    with Path(path).open("a") as runs:
        runs.write("x")
    return "x"
