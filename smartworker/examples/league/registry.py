"""The league as it stands in the database; the sample league moves in at first."""

from collections import defaultdict
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from smartworker.examples.league import tables
from smartworker.examples.league.model import League, Opening, Rules, Team, Venue
from smartworker.examples.league.sample import sample_league


def load(engine: sa.Engine, today: date) -> League:
    """The league. Raises LeagueError for one that cannot work."""
    with engine.connect() as connection:
        rules = connection.execute(sa.select(tables.season)).mappings().first()
        if rules is not None:
            return _read(connection, dict(rules))
    save(engine, sample_league(today))
    return load(engine, today)


def save(engine: sa.Engine, league: League) -> None:
    """Write a league into empty tables; if it is there already, that one stays."""
    rows: list[tuple[sa.Table, list[dict[str, Any]]]] = [
        (tables.season, [{"id": 1, **vars(league.rules)}]),
        (
            tables.venues,
            [{"id": v.id, "name": v.name, "fields": v.fields} for v in league.venues],
        ),
        (
            tables.openings,
            [{"venue": v.id, **vars(o)} for v in league.venues for o in v.openings],
        ),
        (
            tables.closures,
            [{"venue": v.id, "date": when} for v in league.venues for when in v.closed],
        ),
        (
            tables.teams,
            [
                {"id": t.id, "name": t.name, "division": t.division, "venue": t.venue}
                for t in league.teams
            ],
        ),
        (
            tables.absences,
            [{"team": t.id, "date": when} for t in league.teams for when in t.away],
        ),
    ]
    try:
        with engine.begin() as connection:
            for table, values in rows:
                if values:
                    connection.execute(table.insert(), values)
    except IntegrityError:
        return  # another process was faster


def _read(connection: sa.Connection, rules: dict[str, Any]) -> League:
    opened, closed, away = defaultdict(list), defaultdict(set), defaultdict(set)
    for row in connection.execute(sa.select(tables.openings)):
        opened[row.venue].append(Opening(row.weekday, row.opens, row.closes))
    for row in connection.execute(sa.select(tables.closures)):
        closed[row.venue].add(row.date)
    for row in connection.execute(sa.select(tables.absences)):
        away[row.team].add(row.date)
    rules.pop("id")
    return League(
        teams=tuple(
            Team(row.id, row.name, row.division, row.venue, frozenset(away[row.id]))
            for row in connection.execute(
                sa.select(tables.teams).order_by(tables.teams.c.id)
            )
        ),
        venues=tuple(
            Venue(
                row.id,
                row.name,
                row.fields,
                tuple(sorted(opened[row.id], key=lambda o: (o.weekday, o.opens))),
                frozenset(closed[row.id]),
            )
            for row in connection.execute(
                sa.select(tables.venues).order_by(tables.venues.c.id)
            )
        ),
        rules=Rules(**rules),
    )
