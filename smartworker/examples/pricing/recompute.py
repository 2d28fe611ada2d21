"""Recomputing all discounts in bulk: in chunks, each of them one transaction."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from smartworker.examples.pricing.database import (
    batches,
    cents,
    discounts,
    money,
    recomputes,
    transaction,
    upsert,
)
from smartworker.examples.pricing.discount import LONGEST, days_between, offer

#: Batches a transaction: some tens of milliseconds, so that nobody waits long for the
#: lock, and a kill costs no more than that.
CHUNK = 2_000

Report = Callable[[int, int, str], None]


@dataclass
class Standing:
    """How far a run is; `today` and `days_threshold` stay those of its start."""

    run: str
    today: date
    days_threshold: int
    last_id: int = 0
    checked: int = 0
    changed: int = 0
    withdrawn: int = 0


def recompute(
    engine: sa.Engine,
    run: str,
    today: date,
    days_threshold: int,
    report: Report,
    chunk: int = CHUNK,
) -> dict[str, Any]:
    """Bring the discounts of all batches that expire soon up to date.

    Only what has changed is written, so a second time changes nothing. A run of the
    same name goes on where it was killed, for the day on which it began.
    """
    with engine.connect() as connection:
        standing = _begun(connection, Standing(run, today, days_threshold))
        resumed_after = standing.last_id
        total = _count(connection, standing)
        while True:
            report(
                standing.checked, total, f"Recomputing discounts of {total:,} batches"
            )
            with transaction(connection):
                done = _chunk(connection, standing, chunk)
                if done:
                    standing.withdrawn += _withdraw(connection, standing.today)
                connection.execute(upsert(connection, recomputes), vars(standing))
            if done:
                break
        report(standing.checked, total, "All discounts are up to date")
    return {
        "checked": standing.checked,
        "changed": standing.changed,
        "withdrawn": standing.withdrawn,
        "days_threshold": standing.days_threshold,
        "date": standing.today.isoformat(),
        "resumed": resumed_after > 0,
    }


def _begun(connection: sa.Connection, fresh: Standing) -> Standing:
    """What an earlier try of this run has done."""
    query = sa.select(recomputes).where(recomputes.c.run == fresh.run)
    with connection.begin():
        row = connection.execute(query).mappings().one_or_none()
    return Standing(**row) if row is not None else fresh


def _count(connection: sa.Connection, standing: Standing) -> int:
    query = sa.select(sa.func.count()).where(*_soon(standing))
    with connection.begin():
        return standing.checked + (connection.scalar(query) or 0)


def _soon(standing: Standing) -> tuple[sa.ColumnElement[bool], ...]:
    """The batches that this run still has to look at."""
    last_day = standing.today + timedelta(days=standing.days_threshold)
    return (
        batches.c.expires_on.between(standing.today, last_day),
        batches.c.id > standing.last_id,
    )


def _chunk(connection: sa.Connection, standing: Standing, size: int) -> bool:
    """Recompute the next batches; true when there are no more."""
    query = (
        sa.select(
            batches.c.id,
            batches.c.price_cents,
            batches.c.floor_cents,
            batches.c.expires_on,
            discounts.c.price_cents.label("offered_cents"),
            discounts.c.percent,
        )
        .outerjoin_from(batches, discounts)
        .where(*_soon(standing))
        .order_by(batches.c.id)
        .limit(size)
    )
    rows = connection.execute(query).mappings().all()
    wanted: list[dict[str, Any]] = []
    gone: list[dict[str, Any]] = []
    for row in rows:
        _compare(row, standing.today, wanted, gone)
    if wanted:
        connection.execute(upsert(connection, discounts), wanted)
    if gone:
        mine = discounts.c.batch_id == sa.bindparam("gone")
        connection.execute(discounts.delete().where(mine), gone)
    if rows:
        standing.last_id = rows[-1]["id"]
    standing.checked += len(rows)
    standing.changed += len(wanted)
    standing.withdrawn += len(gone)
    return len(rows) < size


def _compare(
    row: sa.RowMapping,
    today: date,
    wanted: list[dict[str, Any]],
    gone: list[dict[str, Any]],
) -> None:
    """Note what has to be written for a batch, if anything."""
    found = offer(
        money(row["price_cents"]),
        money(row["floor_cents"]),
        days_between(today, row["expires_on"]),
    )
    if found is None:
        if row["percent"] is not None:
            gone.append({"gone": row["id"]})
        return
    price = cents(found.price)
    if (price, found.percent) != (row["offered_cents"], row["percent"]):
        wanted.append(
            {"batch_id": row["id"], "price_cents": price, "percent": found.percent}
        )


def _withdraw(connection: sa.Connection, today: date) -> int:
    """Batches whose expiry date was moved out of all tiers; how many."""
    later = today + timedelta(days=LONGEST)
    moved = sa.select(batches.c.id).where(batches.c.expires_on > later)
    done = connection.execute(discounts.delete().where(discounts.c.batch_id.in_(moved)))
    return int(done.rowcount)
