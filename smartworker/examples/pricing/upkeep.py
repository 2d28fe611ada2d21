"""The other two tasks: discounts of expired batches go, prices are recorded."""

from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from smartworker.examples.pricing.database import (
    batches,
    discounts,
    price_history,
    recomputes,
    transaction,
)
from smartworker.examples.pricing.recompute import Report

#: Batches a transaction.
CHUNK = 5_000
#: For so many days it is known how far a run was.
REMEMBERED_DAYS = 7


def remove_expired(engine: sa.Engine, today: date) -> dict[str, Any]:
    """Take the discounts of expired batches away, and forget old runs."""
    expired = sa.select(batches.c.id).where(batches.c.expires_on < today)
    old = recomputes.c.today < today - timedelta(days=REMEMBERED_DAYS)
    with engine.connect() as connection, transaction(connection):
        gone = connection.execute(
            discounts.delete().where(discounts.c.batch_id.in_(expired))
        )
        forgotten = connection.execute(recomputes.delete().where(old))
    return {
        "date": today.isoformat(),
        "removed": int(gone.rowcount),
        "forgotten_runs": int(forgotten.rowcount),
    }


def record_prices(
    engine: sa.Engine, now: datetime, report: Report, chunk: int = CHUNK
) -> dict[str, Any]:
    """Add an entry to the history of each batch whose price is another one now.

    The batch remembers what was recorded, in the same transaction, so a repeated or a
    killed run records nothing twice.
    """
    recorded = last_id = 0
    with engine.connect() as connection:
        with connection.begin():
            most = connection.scalar(sa.select(sa.func.max(batches.c.id))) or 0
        while last_id < most:
            report(last_id, most, "Recording prices")
            with transaction(connection):
                recorded += _record(connection, last_id, last_id + chunk, now)
            last_id += chunk
        report(most, most, "All prices are recorded")
    return {"recorded": recorded, "at": now.isoformat(timespec="seconds")}


def _record(connection: sa.Connection, after: int, last: int, now: datetime) -> int:
    offered = (
        sa.select(discounts.c.price_cents)
        .where(discounts.c.batch_id == batches.c.id)
        .scalar_subquery()
    )
    price = sa.func.coalesce(offered, batches.c.price_cents)
    changed = (
        batches.update()
        .where(batches.c.id > after, batches.c.id <= last)
        .where(batches.c.recorded_cents.is_distinct_from(price))
        .values(recorded_cents=price)
        .returning(batches.c.id, batches.c.recorded_cents)
    )
    entries = [
        {"batch_id": batch_id, "price_cents": cents, "recorded_at": now}
        for batch_id, cents in connection.execute(changed)
    ]
    if entries:
        connection.execute(price_history.insert(), entries)
    return len(entries)
