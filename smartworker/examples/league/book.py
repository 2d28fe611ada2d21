"""Schedules that were made, and what became of the runs that were asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from smartworker.examples.league import tables
from smartworker.examples.league.model import Game, League

OPEN, DONE, FAILED, CANCELLED = "open", "done", "failed", "cancelled"
#: Schedules that are kept; older ones go when a new one comes.
KEPT = 20


class Cancelled(Exception):
    """Somebody has cancelled this run."""


@dataclass(frozen=True)
class Run:
    """A run that was asked for: its state, and its schedule or error."""

    task_id: str
    state: str
    schedule: int | None = None
    error: str | None = None


class Book:
    """Reads and writes; each method is a transaction of its own."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def open(self, task_id: str) -> Run:
        """Note that a run is asked for, unless it is known; how it stands."""
        try:
            with self._engine.begin() as connection:
                connection.execute(
                    tables.runs.insert().values(task_id=task_id, state=OPEN)
                )
        except IntegrityError:
            found = self.run(task_id)
            if found is not None:
                return found
        return Run(task_id, OPEN)

    def forget(self, task_id: str) -> None:
        """The run could not be queued."""
        self._change(tables.runs.delete(), task_id)

    def run(self, task_id: str) -> Run | None:
        """How a run stands; None for one that nobody has asked for here."""
        query = sa.select(tables.runs).where(tables.runs.c.task_id == task_id)
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else Run(**row)

    def cancel(self, task_id: str) -> bool:
        """Cancel an open run; whether it is cancelled now."""
        self._change(tables.runs.update().values(state=CANCELLED), task_id)
        run = self.run(task_id)
        return run is not None and run.state == CANCELLED

    def fail(self, task_id: str, error: str) -> None:
        """The run has ended without a schedule."""
        failed = tables.runs.update().values(state=FAILED, error=error)
        self._change(failed, task_id)

    def newest(self) -> int | None:
        """The number of the stored schedule."""
        query = sa.select(sa.func.max(tables.schedules.c.id))
        with self._engine.connect() as connection:
            found: int | None = connection.execute(query).scalar()
        return found

    def reuse(self, task_id: str, schedule: int) -> None:
        """End a run with a schedule that is there. Raises Cancelled."""
        with self._engine.begin() as connection:
            _end(connection, task_id, schedule)

    def keep(
        self,
        task_id: str,
        league: League,
        games: Sequence[Game],
        *,
        seed: int,
        seconds: float,
        validation: dict[str, Any],
    ) -> int:
        """Store a schedule and end its run; its number.

        Both in one transaction: of a cancelled run nothing is stored. Raises Cancelled.
        """
        made = tables.schedules.insert().values(
            seed=seed, seconds=seconds, validation=validation
        )
        with self._engine.begin() as connection:
            schedule = _number(connection.execute(made))
            rows = [_row(league, schedule, *each) for each in enumerate(games, 1)]
            if rows:
                connection.execute(tables.games.insert(), rows)
            _end(connection, task_id, schedule)
            _prune(connection, schedule - KEPT)
        return schedule

    def schedule(self, number: int) -> dict[str, Any] | None:
        """A schedule as it is answered."""
        head = sa.select(tables.schedules).where(tables.schedules.c.id == number)
        body = (
            sa.select(tables.games)
            .where(tables.games.c.schedule == number)
            .order_by(tables.games.c.number)
        )
        with self._engine.connect() as connection:
            found = connection.execute(head).first()
            if found is None:
                return None
            games = [_told(row) for row in connection.execute(body)]
        return {
            "success": True,
            "total_games": len(games),
            "games": games,
            "validation": found.validation,
            "generation_time": found.seconds,
        }

    def _change(self, change: Any, task_id: str) -> None:
        """Change a run that is open."""
        runs = tables.runs.c
        with self._engine.begin() as connection:
            connection.execute(
                change.where(runs.task_id == task_id, runs.state == OPEN)
            )


def _number(made: sa.CursorResult[Any]) -> int:
    key = made.inserted_primary_key
    assert key is not None  # noqa: S101 - an insert of one row has one
    return int(key[0])


def _end(connection: sa.Connection, task_id: str, schedule: int) -> None:
    runs = tables.runs
    done = connection.execute(
        runs.update()
        .where(runs.c.task_id == task_id, runs.c.state != CANCELLED)
        .values(state=DONE, schedule=schedule, error=None)
    )
    if not done.rowcount:
        raise Cancelled


def _prune(connection: sa.Connection, last: int) -> None:
    for column in (tables.games.c.schedule, tables.runs.c.schedule):
        connection.execute(column.table.delete().where(column <= last))
    old = tables.schedules.c.id <= last
    connection.execute(tables.schedules.delete().where(old))


def _row(league: League, schedule: int, number: int, game: Game) -> dict[str, Any]:
    return {
        "schedule": schedule,
        "number": number,
        "round": game.round,
        "division": game.division,
        "home_team": league.team[game.home].name,
        "away_team": league.team[game.away].name,
        "venue": league.venue[game.venue].name,
        "date": game.date,
        "time": game.time,
    }


def _told(row: Any) -> dict[str, Any]:
    return {
        "game": row.number,
        "round": row.round,
        "division": row.division,
        "home_team": row.home_team,
        "away_team": row.away_team,
        "venue": row.venue,
        "date": row.date.isoformat(),
        "time": f"{row.time:%H:%M}",
    }
