"""RQ; also the configuration file of its worker pool (`rq worker-pool -c app`)."""

import os
from typing import Any

import notebook
from redis import Redis
from rq import Queue, Worker

REDIS_URL = os.environ["BENCH_URL"]
QUEUES = os.environ["BENCH_QUEUES"].split(",")
# 500 s is RQ's own default; 0 keeps nothing.
RESULT_TTL = 500 if os.environ["BENCH_RESULTS"] == "1" else 0

queue = Queue(QUEUES[0], connection=Redis.from_url(REDIS_URL))


class Announced(Worker):
    """Says when it is about to take the first job."""

    def bootstrap(self, *arguments: Any, **options: Any) -> None:
        """Register, then say so."""
        super().bootstrap(*arguments, **options)
        notebook.up()


def _noop(payload: str) -> int:
    notebook.tick()
    return 1


def noop(payload: str) -> None:
    """Queue one."""
    queue.enqueue(_noop, payload, result_ttl=RESULT_TTL)


def many(count: int, payload: str) -> None:
    """Queue so many in one call."""
    job = Queue.prepare_data(_noop, (payload,), result_ttl=RESULT_TTL)
    queue.enqueue_many([job] * count)


def stamp(series: str, sent: float) -> None:
    """Queue one that notes how late it began."""
    queue.enqueue(notebook.stamp, series, sent, result_ttl=RESULT_TTL)
