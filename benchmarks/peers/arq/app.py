"""arq; a worker takes from one queue and looks for jobs twice a second."""

import os
from typing import Any

import notebook
from arq import ArqRedis, create_pool
from arq.connections import RedisSettings
from arq.worker import func

SETTINGS = RedisSettings.from_dsn(os.environ["BENCH_URL"])
QUEUE = os.environ["BENCH_QUEUES"].partition(",")[0]
pool: ArqRedis


async def _noop(_context: dict[str, Any], payload: str) -> int:
    notebook.tick()
    return 1


async def _stamp(_context: dict[str, Any], series: str, sent: float) -> None:
    notebook.stamp(series, sent)


async def _up(_context: dict[str, Any]) -> None:
    notebook.up()


class WorkerSettings:
    """What `arq app.WorkerSettings` runs; an hour is arq's own default for results."""

    functions = (func(_noop, name="noop"), func(_stamp, name="stamp"))
    redis_settings = SETTINGS
    queue_name = QUEUE
    max_jobs = int(os.environ["BENCH_CONCURRENCY"])
    keep_result = 3600 if os.environ["BENCH_RESULTS"] == "1" else 0
    on_startup = _up


async def ready() -> None:
    """Connect, before the first job is queued."""
    global pool
    pool = await create_pool(SETTINGS, default_queue_name=QUEUE)


async def noop(payload: str) -> None:
    """Queue one."""
    await pool.enqueue_job("noop", payload)


async def stamp(series: str, sent: float) -> None:
    """Queue one that notes how late it began."""
    await pool.enqueue_job("stamp", series, sent)
