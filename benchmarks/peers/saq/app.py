"""SAQ; a worker takes from one queue."""

import os
from typing import Any

import notebook
from saq import Queue

queue = Queue.from_url(
    os.environ["BENCH_URL"], name=os.environ["BENCH_QUEUES"].partition(",")[0]
)
# 600 s is SAQ's own default; below 0 a job is forgotten when it ends.
TTL = 600 if os.environ["BENCH_RESULTS"] == "1" else -1


async def _noop(_context: dict[str, Any], *, payload: str) -> int:
    notebook.tick()
    return 1


async def _stamp(_context: dict[str, Any], *, series: str, sent: float) -> None:
    notebook.stamp(series, sent)


async def _up(_context: dict[str, Any]) -> None:
    notebook.up()


settings = {
    "queue": queue,
    "functions": [("noop", _noop), ("stamp", _stamp)],
    "concurrency": int(os.environ["BENCH_CONCURRENCY"]),
    "startup": _up,
}


async def noop(payload: str) -> None:
    """Queue one."""
    await queue.enqueue("noop", payload=payload, ttl=TTL)


async def stamp(series: str, sent: float) -> None:
    """Queue one that notes how late it began."""
    await queue.enqueue("stamp", series=series, sent=sent, ttl=TTL)
