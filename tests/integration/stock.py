"""A producer and worker that have never heard of smartworker."""

import os

from celery import Celery

app = Celery("project", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])


@app.task(name="project.add")
def add(x, y):
    """The sum."""
    return x + y
