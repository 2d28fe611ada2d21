"""Huey; a consumer takes from one queue, with a BRPOP of a second per thread."""

import os

import notebook
from huey import RedisHuey

huey = RedisHuey(
    os.environ["BENCH_QUEUES"].partition(",")[0],
    url=os.environ["BENCH_URL"],
    results=os.environ["BENCH_RESULTS"] == "1",
)


@huey.on_startup()
def _up() -> None:
    notebook.up()


@huey.task()
def _noop(payload: str) -> int:
    notebook.tick()
    return 1


@huey.task()
def _stamp(series: str, sent: float) -> None:
    notebook.stamp(series, sent)


def noop(payload: str) -> None:
    """Queue one."""
    _noop(payload)


def many(count: int, payload: str) -> None:
    """Queue so many in one call."""
    _noop.map([payload] * count)


def stamp(series: str, sent: float) -> None:
    """Queue one that notes how late it began."""
    _stamp(series, sent)
