"""smartworker over the same Celery app, with its own defaults."""

import os

from celery_tasks import app, many, noop, sleep, stamp, state

import smartworker
from smartworker.store.meter import ledger

os.environ["REDIS_URL"] = os.environ["BENCH_URL"]
smartworker.setup(app)


def spent() -> dict[str, dict[str, int]]:
    """What this process has sent, by cause and command."""
    return ledger.by_cause()


__all__ = ["app", "many", "noop", "sleep", "spent", "stamp", "state"]
