"""A project whose worker can be made to stand still."""

import os
import time

import redis
from celery import Celery
from celery.worker.control import control_command

import smartworker
from smartworker.worker import stuck

# Minutes in earnest.
stuck.PATIENCE = float(os.environ.get("PATIENCE", "2"))
stuck.LOOK = 0.5

app = smartworker.setup(Celery("stuck"))


@control_command(name="freeze", args=[("seconds", float)])
def freeze(state, seconds):
    """Blocks the loop of the main process."""
    time.sleep(seconds)


@control_command(name="forget")
def forget(state):
    """The poller never rings again, though the loop turns."""
    poller = state.consumer.pacemaker.poller
    poller._next_poll.set(None)
    poller._next_poll.loop = None


@app.task(shared=False)
def note(number, seconds=0.0):
    """Says that it began, takes its time, and says that it is done."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.rpush("begun", number)
        time.sleep(seconds)
        client.rpush("done", number)
