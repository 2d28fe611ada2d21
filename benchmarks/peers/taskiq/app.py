"""taskiq over Redis streams, the broker with which taskiq-redis introduces itself.

Its list broker needs a third of the commands, but acknowledges nothing, and waits with
a BRPOP without end, which the 5 s that redis-py 8 gives a socket cut off: the worker
process ends and is started again every 7 s. The stream broker waits 2 s at a time.
"""

import os

import notebook
from taskiq import TaskiqEvents, TaskiqState
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

URL = os.environ["BENCH_URL"]
FIRST, *OTHERS = os.environ["BENCH_QUEUES"].split(",")

broker = RedisStreamBroker(
    URL, queue_name=FIRST, additional_streams=dict.fromkeys(OTHERS, ">")
)
if os.environ["BENCH_RESULTS"] == "1":
    # Without a time they stay for ever: its documentation says to set one.
    broker = broker.with_result_backend(
        RedisAsyncResultBackend(URL, result_ex_time=3600)
    )


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def _up(_state: TaskiqState) -> None:
    notebook.up()


@broker.task
async def _noop(payload: str) -> int:
    notebook.tick()
    return 1


@broker.task
async def _stamp(series: str, sent: float) -> None:
    notebook.stamp(series, sent)


async def ready() -> None:
    """Connect, and make the consumer group: what is sent before it exists is lost."""
    await broker.startup()


async def noop(payload: str) -> None:
    """Queue one."""
    await _noop.kiq(payload)


async def stamp(series: str, sent: float) -> None:
    """Queue one that notes how late it began."""
    await _stamp.kiq(series, sent)
