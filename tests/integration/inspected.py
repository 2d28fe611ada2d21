"""A user's project with tasks that run until they are told to end."""

import os

import redis
from celery import Celery

import smartworker

PATIENCE = 30

jobs = smartworker.Jobs()
jobs.declare("held", "inspected.hold", overlap="queue", parameters={"mark": str})
app = smartworker.setup(Celery("inspected"), jobs=jobs)


@app.task(shared=False)
def hold(mark=""):
    """Waits for a sign."""
    # Without a limit of its own, which would end the wait after 5 seconds.
    with redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=None) as client:
        client.blpop(f"sign:{mark}", PATIENCE)
    return mark


@app.task(shared=False)
def other():
    """Has nothing to do with it."""
