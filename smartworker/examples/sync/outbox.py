"""The outbox: changes that are recorded with the data and wait to be brought away."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from smartworker.examples.sync.changes import (
    PENDING,
    Action,
    Change,
    State,
    Turn,
    turn_of,
)
from smartworker.examples.sync.database import Database, outbox, schedules

#: How long a change that is over is kept for people to look at.
KEPT = timedelta(days=30)

_earlier = outbox.alias("earlier")
#: Changes that hold back nothing but themselves: the first of their object.
_first = ~sa.exists().where(
    _earlier.c.kind == outbox.c.kind,
    _earlier.c.object == outbox.c.object,
    _earlier.c.sequence < outbox.c.sequence,
    _earlier.c.state.in_(PENDING),
)


def stamp(now: datetime) -> str:
    """A time as the database has it."""
    return now.astimezone(UTC).isoformat(timespec="microseconds")


def record(
    connection: sa.Connection,
    *,
    kind: str,
    object_id: str,
    sequence: int,
    action: Action,
    payload: Mapping[str, Any],
    now: datetime,
) -> Change:
    """Add a change, in the transaction that makes it; a delete ends those that wait."""
    if action is Action.DELETE:
        connection.execute(
            outbox.update()
            .where(*_of(kind, object_id), outbox.c.state == State.WAITING)
            .values(state=State.OVERTAKEN, touched=stamp(now))
        )
    # Random as well, for the day on which somebody starts with an empty database.
    key = f"{kind}-{object_id}-{sequence}-{secrets.token_hex(8)}"
    made = connection.execute(
        outbox.insert()
        .values(
            key=key,
            kind=kind,
            object=object_id,
            sequence=sequence,
            action=action,
            payload=dict(payload),
            state=State.WAITING,
            touched=stamp(now),
        )
        .returning(outbox)
    )
    return _change(made.mappings().one())


@dataclass(frozen=True)
class Beginning:
    """What a task needs to know before it asks the roster service.

    `was_asked`: whether it may have heard of the object before this run.
    """

    change: Change
    turn: Turn
    external: str | None
    was_asked: bool


class Outbox:
    """Looks at the changes and moves them from state to state."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ready(
        self, now: datetime, limit: int = 50, of: Change | None = None
    ) -> list[Change]:
        """Changes that a message should be sent for, the oldest first.

        `of`: only one for the same object.
        """
        query = (
            outbox.select()
            .where(
                outbox.c.state == State.WAITING,
                sa.or_(outbox.c.due.is_(None), outbox.c.due <= stamp(now)),
                _first,
            )
            .order_by(outbox.c.id)
            .limit(limit)
        )
        if of is not None:
            query = query.where(*_of(of.kind, of.object))
        return self._select(query)

    def begin(self, change_id: int, now: datetime) -> Beginning | None:
        """Take a change's turn, if it has come; None where there is no such change.

        From then on the roster service may know of it, and a delete waits for its end.
        """
        with self._database.transaction() as connection:
            family = _family(connection, change_id)
            own = next((each for each in family if each.id == change_id), None)
            if own is None:
                return None
            turn = turn_of(own, family)
            if turn is Turn.APPLY and not _take(connection, own, now):
                turn = Turn.OVER  # a delete was faster
            if turn is Turn.NEEDLESS:
                self.close(connection, own, State.OVERTAKEN, now)
            if turn is Turn.NOT_YET:
                connection.execute(_again(None, now).where(*_same(own)))
            external = connection.scalar(
                sa.select(schedules.c.external).where(schedules.c.id == own.schedule_id)
            )
        was_asked = any(each.attempts for each in family)
        return Beginning(own, turn, external, was_asked)

    def queued(self, changes: Sequence[Change], now: datetime) -> None:
        """Messages were sent for these; one that is over already stays so."""
        with self._database.transaction() as connection:
            for change in changes:
                connection.execute(
                    outbox.update()
                    .where(*_same(change), outbox.c.state == State.WAITING)
                    .values(state=State.QUEUED, touched=stamp(now))
                )

    def failed(
        self, change_id: int, now: datetime, error: str, *, counts: bool = True
    ) -> Change:
        """A try did not work; the change as it is now.

        It counts as a failure unless it only came too early.
        """
        with self._database.transaction() as connection:
            update = (
                outbox.update()
                .where(outbox.c.id == change_id)
                .values(
                    failures=outbox.c.failures + int(counts),
                    error=error,
                    touched=stamp(now),
                )
                .returning(outbox)
            )
            return _change(connection.execute(update).mappings().one())

    def close(
        self,
        connection: sa.Connection,
        change: Change,
        state: State,
        now: datetime,
        error: str | None = None,
    ) -> None:
        """This change is over, as part of a transaction."""
        connection.execute(
            outbox.update()
            .where(outbox.c.id == change.id, outbox.c.state.in_(PENDING))
            .values(state=state, touched=stamp(now), error=error)
        )

    def put_back(
        self, change: Change, now: datetime, pause: timedelta = timedelta()
    ) -> None:
        """No message stands for it any more: it is to be sent again, after a pause."""
        with self._database.transaction() as connection:
            connection.execute(
                _again(stamp(now + pause) if pause else None, now).where(*_same(change))
            )

    def revive(self, now: datetime, stale: timedelta) -> int:
        """Send again, now: what rests, and what nobody has touched for so long."""
        with self._database.transaction() as connection:
            rested = connection.execute(
                outbox.update()
                .where(outbox.c.state == State.WAITING, outbox.c.due.is_not(None))
                .values(due=None)
            )
            lost = connection.execute(
                _again(None, now).where(
                    outbox.c.state == State.QUEUED,
                    outbox.c.touched < stamp(now - stale),
                )
            )
            return int(rested.rowcount + lost.rowcount)

    def forget(self, now: datetime) -> None:
        """Delete what has been over for long."""
        with self._database.transaction() as connection:
            connection.execute(
                outbox.delete().where(
                    outbox.c.state.not_in(PENDING),
                    outbox.c.touched < stamp(now - KEPT),
                )
            )

    def counts(self) -> dict[str, int]:
        """How many changes are in each state."""
        query = sa.select(outbox.c.state, sa.func.count()).group_by(outbox.c.state)
        with self._database.transaction() as connection:
            found = {row[0]: row[1] for row in connection.execute(query)}
        return {state.value: found.get(state, 0) for state in State}

    def _select(self, query: sa.Select[Any]) -> list[Change]:
        with self._database.transaction() as connection:
            rows = connection.execute(query).mappings().all()
        return [_change(row) for row in rows]


def _of(kind: str, object_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return outbox.c.kind == kind, outbox.c.object == object_id


def _same(change: Change) -> tuple[sa.ColumnElement[bool], ...]:
    """The row as it was read: a new round is somebody else's business."""
    return outbox.c.id == change.id, outbox.c.round == change.round


def _family(connection: sa.Connection, change_id: int) -> list[Change]:
    """A change and all others of its object."""
    query = outbox.select().join(
        _earlier,
        sa.and_(_earlier.c.kind == outbox.c.kind, _earlier.c.object == outbox.c.object),
    )
    rows = connection.execute(query.where(_earlier.c.id == change_id)).mappings()
    return [_change(row) for row in rows]


def _take(connection: sa.Connection, change: Change, now: datetime) -> bool:
    taken = connection.execute(
        outbox.update()
        .where(outbox.c.id == change.id, outbox.c.state.in_(PENDING))
        .values(state=State.QUEUED, attempts=outbox.c.attempts + 1, touched=stamp(now))
    )
    return bool(taken.rowcount)


def _again(due: str | None, now: datetime) -> sa.Update:
    """A new round: a key that was published once cannot be published again."""
    return (
        outbox.update()
        .where(outbox.c.state.in_(PENDING))
        .values(
            state=State.WAITING,
            round=outbox.c.round + 1,
            failures=0,
            due=due,
            touched=stamp(now),
        )
    )


def _change(row: sa.RowMapping) -> Change:
    names = ("id", "key", "kind", "object", "sequence", "payload", "round")
    return Change(
        **{name: row[name] for name in (*names, "attempts", "failures")},
        action=Action(row["action"]),
        state=State(row["state"]),
    )
