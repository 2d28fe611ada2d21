"""Schedules as they are here; each change goes to the outbox with it, or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from smartworker.errors import SmartworkerError
from smartworker.examples.sync import outbox
from smartworker.examples.sync.changes import EMPLOYEE, SCHEDULE, Action, Change
from smartworker.examples.sync.database import Database, employees, schedules
from smartworker.examples.sync.forms import Move, NewSchedule, Person


class UnknownSchedule(SmartworkerError):
    """There is no such schedule, or not any more."""


class Taken(SmartworkerError):
    """The event has a schedule already."""


@dataclass(frozen=True)
class Saved:
    """A schedule as it is now, and the changes that are on their way."""

    schedule: Mapping[str, Any]
    changes: tuple[Change, ...]


class Schedules:
    """Saves; asks nobody but the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, new: NewSchedule, now: datetime) -> Saved:
        """A new schedule. Raises Taken."""
        try:
            with self._database.transaction() as rows:
                return _saved(rows, new, now)
        except sa.exc.IntegrityError:
            raise Taken(
                f"The event {new.event} has a schedule already: reschedule that one."
            ) from None

    def reschedule(self, schedule_id: int, move: Move, now: datetime) -> Saved:
        """Another time, and somebody else if one is named. Raises UnknownSchedule."""
        with self._database.transaction() as rows:
            return _moved(rows, schedules.c.id == schedule_id, move, now)

    def reschedule_event(self, event: str, move: Move, now: datetime) -> Saved:
        """The same for the schedule of an event. Raises UnknownSchedule."""
        with self._database.transaction() as rows:
            return _moved(rows, schedules.c.event == event, move, now)

    def change_employee(self, schedule_id: int, person: Person, now: datetime) -> Saved:
        """Somebody else at the same time. Raises UnknownSchedule."""
        with self._database.transaction() as rows:
            known = _known(rows, person, now)
            values = {"employee": person.id}
            row, change = _updated(rows, schedules.c.id == schedule_id, values, now)
            return Saved(row, (*known, change))

    def trade(self, first: int, second: int, now: datetime) -> tuple[Saved, Saved]:
        """Two schedules exchange their people. Raises UnknownSchedule."""
        with self._database.transaction() as rows:
            query = (
                sa.select(schedules.c.id, schedules.c.employee)
                .where(schedules.c.id.in_((first, second)), schedules.c.live)
                .order_by(schedules.c.id)  # two trades take their locks in one order
                .with_for_update()
            )
            people = {row[0]: row[1] for row in rows.execute(query)}
            saved = {}
            for number, other in sorted(((first, second), (second, first))):
                values = {"employee": people.get(other, "")}
                row, change = _updated(rows, schedules.c.id == number, values, now)
                saved[number] = Saved(row, (change,))
            return saved[first], saved[second]

    def unschedule(self, schedule_id: int, now: datetime) -> Saved:
        """Delete it. Raises UnknownSchedule."""
        with self._database.transaction() as rows:
            row = _bumped(rows, schedules.c.id == schedule_id, {"live": False})
            return Saved(_shown(row), (_record(rows, row, Action.DELETE, {}, now),))


def _saved(rows: sa.Connection, new: NewSchedule, now: datetime) -> Saved:
    known = _known(rows, new.person, now)
    values = {
        "event": new.event,
        "employee": new.person.id,
        "starts_at": new.start,
        "version": 1,
    }
    insert = schedules.insert().values(**values).returning(schedules)
    row = rows.execute(insert).mappings().one()
    payload = {
        "event": new.event,
        "employee": new.person.id,
        "starts_at": new.start,
    }
    change = _record(rows, row, Action.CREATE, payload, now)
    return Saved(_shown(row), (*known, change))


def _moved(
    rows: sa.Connection, which: sa.ColumnElement[bool], move: Move, now: datetime
) -> Saved:
    known: tuple[Change, ...] = ()
    values = {"starts_at": move.start}
    if move.person is not None:
        known = _known(rows, move.person, now)
        values["employee"] = move.person.id
    row, change = _updated(rows, which, values, now)
    return Saved(row, (*known, change))


def _updated(
    rows: sa.Connection,
    which: sa.ColumnElement[bool],
    values: Mapping[str, str],
    now: datetime,
) -> tuple[Mapping[str, Any], Change]:
    row = _bumped(rows, which, values)
    return _shown(row), _record(rows, row, Action.UPDATE, values, now)


def _bumped(
    rows: sa.Connection, which: sa.ColumnElement[bool], values: Mapping[str, Any]
) -> sa.RowMapping:
    """The next version: the database hands out the numbers one by one."""
    update = (
        schedules.update()
        .where(which, schedules.c.live)
        .values(version=schedules.c.version + 1, **values)
        .returning(schedules)
    )
    row = rows.execute(update).mappings().one_or_none()
    if row is None:
        raise UnknownSchedule("There is no such schedule, or not any more.")
    return row


def _record(
    rows: sa.Connection,
    row: sa.RowMapping,
    action: Action,
    payload: Mapping[str, Any],
    now: datetime,
) -> Change:
    return outbox.record(
        rows,
        kind=SCHEDULE,
        object_id=str(row["id"]),
        sequence=row["version"],
        action=action,
        payload=payload,
        now=now,
    )


def _known(rows: sa.Connection, person: Person, now: datetime) -> tuple[Change, ...]:
    """See that a person is known here under the name; the change that it makes."""
    query = sa.select(employees.c.name).where(employees.c.id == person.id)
    name = rows.scalar(query.with_for_update())
    if name is not None and person.name in (None, name):
        return ()
    name = person.name or person.id
    update = (
        employees.update()
        .where(employees.c.id == person.id)
        .values(name=name, version=employees.c.version + 1)
        .returning(employees.c.version)
    )
    version = rows.scalar(update)
    if version is None:
        version = 1
        rows.execute(employees.insert().values(id=person.id, name=name, version=1))
    change = outbox.record(
        rows,
        kind=EMPLOYEE,
        object_id=person.id,
        sequence=version,
        action=Action.EMPLOYEE,
        payload={"name": name},
        now=now,
    )
    return (change,)


def _shown(row: sa.RowMapping) -> dict[str, Any]:
    return {
        "schedule_id": row["id"],
        "event_id": row["event"],
        "employee_id": row["employee"],
        "start": row["starts_at"],
    }
