"""Dramatiq; a worker takes from every queue that is declared."""

import os

import dramatiq
import notebook
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

URL = os.environ["BENCH_URL"]
QUEUES = os.environ["BENCH_QUEUES"].split(",")
RESULTS = os.environ["BENCH_RESULTS"] == "1"


class Announce(dramatiq.Middleware):
    """Says that the worker takes tasks now."""

    def after_worker_boot(
        self, broker: dramatiq.Broker, worker: dramatiq.Worker
    ) -> None:
        """Its consumers run."""
        notebook.up()


broker = RedisBroker(url=URL)
broker.add_middleware(Announce())
if RESULTS:
    broker.add_middleware(Results(backend=RedisBackend(url=URL)))
dramatiq.set_broker(broker)
for name in QUEUES:
    broker.declare_queue(name)

KEEP = {"store_results": True} if RESULTS else {}


@dramatiq.actor(queue_name=QUEUES[0], **KEEP)
def _noop(payload: str) -> int | None:
    notebook.tick()
    # A value that nobody keeps is a warning in the log.
    return 1 if RESULTS else None


@dramatiq.actor(queue_name=QUEUES[0])
def _stamp(series: str, sent: float) -> None:
    notebook.stamp(series, sent)


def noop(payload: str) -> None:
    """Queue one."""
    _noop.send(payload)


def many(count: int, payload: str) -> None:
    """Queue so many in one call."""
    dramatiq.group(_noop.message(payload) for _ in range(count)).run()


def stamp(series: str, sent: float) -> None:
    """Queue one that notes how late it began."""
    _stamp.send(series, sent)
