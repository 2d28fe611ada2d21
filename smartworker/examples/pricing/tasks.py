"""The Celery tasks; they run in any Celery app that imports this module."""

import os
from functools import cache
from typing import Any

import sqlalchemy as sa
from celery import shared_task

from smartworker import progress
from smartworker.clock import system_clock
from smartworker.examples.pricing import upkeep
from smartworker.examples.pricing.database import connect_engine
from smartworker.examples.pricing.days import today_at
from smartworker.examples.pricing.discount import LONGEST
from smartworker.examples.pricing.recompute import recompute

#: A database that restarts, or a lock that somebody holds for too long.
RETRIED: dict[str, Any] = {
    "autoretry_for": (sa.exc.OperationalError,),
    "retry_backoff": 5,
    "max_retries": 3,
}


@cache
def engine_of(url: str | None) -> sa.Engine:
    """One engine for each process and address."""
    return connect_engine(url)


def engine() -> sa.Engine:
    """The engine of DATABASE_URL."""
    return engine_of(os.environ.get("DATABASE_URL"))


@shared_task(name="pricing.recompute_all_discounts", bind=True, **RETRIED)  # type: ignore[untyped-decorator]
def recompute_all_discounts(
    self: Any, days_threshold: int | None = None
) -> dict[str, Any]:
    """Recompute the discounts of all batches that expire within so many days."""
    return recompute(
        engine(),
        # The same after a kill and in a retry: the run goes on where it was.
        run=self.request.id,
        today=today_at(system_clock.now()),
        days_threshold=LONGEST if days_threshold is None else days_threshold,
        report=progress,
    )


@shared_task(name="pricing.cleanup_expired_discounts", **RETRIED)  # type: ignore[untyped-decorator]
def cleanup_expired_discounts() -> dict[str, Any]:
    """Take the discounts of expired batches away."""
    return upkeep.remove_expired(engine(), today_at(system_clock.now()))


@shared_task(name="pricing.update_price_history", **RETRIED)  # type: ignore[untyped-decorator]
def update_price_history() -> dict[str, Any]:
    """Record each price that has changed since the last time."""
    return upkeep.record_prices(engine(), system_clock.now(), progress)
