"""The measured task on stock Celery."""

import os
import time

import redis
from celery import Celery

app = Celery("bench", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.task_default_queue = os.environ["BENCH_QUEUE"]
app.conf.task_ignore_result = True
_notes = redis.Redis.from_url(os.environ["NOTES_URL"])


@app.task(name="bench.stamp")
def stamp(sent, series):
    """Note the seconds from the sender's call to here."""
    _notes.rpush(series, time.time() - sent)
