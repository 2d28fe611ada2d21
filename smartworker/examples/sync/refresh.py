"""The hourly look: what got stuck goes on, and what differs is put right."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from smartworker.examples.sync import outbox as box
from smartworker.examples.sync.changes import PENDING, SCHEDULE, Action
from smartworker.examples.sync.client import Roster
from smartworker.examples.sync.database import Database, outbox, schedules
from smartworker.examples.sync.delivery import reference_of

Report = Callable[[int, int, str], None]
Settled = dict[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Repair:
    """What is to be done about a schedule that differs; `row` is how it was seen."""

    row: Mapping[str, Any]
    action: Action
    fields: Mapping[str, str]


def settled(database: Database) -> Settled:
    """All schedules of which no change is on its way, by their reference."""
    busy = sa.exists().where(
        outbox.c.kind == SCHEDULE,
        outbox.c.object == sa.cast(schedules.c.id, sa.String),
        outbox.c.state.in_(PENDING),
    )
    with database.transaction() as connection:
        rows = connection.execute(schedules.select().where(~busy)).mappings().all()
    return {reference_of(row["id"]): dict(row) for row in rows}


def listed(roster: Roster, report: Report) -> list[dict[str, str]]:
    """All schedules of the roster service."""
    found: list[dict[str, str]] = []
    for total, page in roster.all():
        found += page
        report(len(found), total, f"Compared {len(found)} of {total} schedules")
    return found


def differences(here: Settled, there: list[dict[str, str]]) -> list[Repair]:
    """What the roster service has to learn to be like us. Pure.

    What it has and we never heard of stays: it is somebody else's.
    """
    repairs = []
    known = {each["reference"]: each for each in there}
    for reference, row in here.items():
        other = known.get(reference)
        wanted = {"employee": row["employee"], "starts_at": row["starts_at"]}
        if other is None and row["live"]:
            fields = {"event": row["event"], **wanted}
            repairs.append(Repair(row, Action.CREATE, fields))
        elif other is not None and not row["live"]:
            repairs.append(Repair(row, Action.DELETE, {}))
        elif other is not None:
            differ = {key: text for key, text in wanted.items() if other[key] != text}
            if differ:
                repairs.append(Repair(row, Action.UPDATE, differ))
    return repairs


def repair(database: Database, repairs: list[Repair], now: datetime) -> int:
    """Record changes for what differs and has not been changed meanwhile; how many."""
    return sum(_repair(database, each, now) for each in repairs)


def _repair(database: Database, each: Repair, now: datetime) -> bool:
    with database.transaction() as connection:
        table, row = schedules.c, each.row
        values: dict[str, Any] = {"version": table.version + 1}
        if each.action is Action.CREATE:
            values["external"] = None
        same = (table.id == row["id"], table.version == row["version"])
        bumped = connection.execute(schedules.update().where(*same).values(**values))
        if not bumped.rowcount:
            return False
        box.record(
            connection,
            kind=SCHEDULE,
            object_id=str(row["id"]),
            sequence=row["version"] + 1,
            action=each.action,
            payload=each.fields,
            now=now,
        )
        return True
