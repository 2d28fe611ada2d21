"""What the tasks do beside bookings: letters, notices, figures, cleaning, checks."""

from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any

import sqlalchemy as sa

from smartworker.examples.lessons import booking, words
from smartworker.examples.lessons.database import insert_once, put
from smartworker.examples.lessons.rules import HOUR, bounds
from smartworker.examples.lessons.tables import (
    availability,
    figures,
    happenings,
    health,
    lessons,
    letters,
    notices,
    sessions,
)
from smartworker.examples.lessons.words import Kind

DAY = 24 * HOUR
#: Lessons of the coming days whose free places are kept at hand.
WARM_DAYS = 14
#: Notices that were read go after so many days, and all others after these.
READ_DAYS, UNREAD_DAYS = 7, 90


def is_written(rows: sa.Connection, key: str) -> bool:
    """Whether a letter has gone out, or never will."""
    return rows.scalar(sa.select(letters.c.key).where(letters.c.key == key)) is not None


def note_letter(
    rows: sa.Connection, key: str, recipient: str, subject: str, outcome: str, now: int
) -> None:
    """Remember what became of a letter."""
    values = {"key": key, "recipient": recipient, "subject": subject}
    insert_once(rows, letters, {**values, "outcome": outcome, "at": now})


def tell(rows: sa.Connection, kind: Kind, number: int, now: int) -> int:
    """Write the notices about a booking; how many are new."""
    found = booking.find(rows, number)
    return sum(
        insert_once(
            rows,
            notices,
            {
                "key": f"{words.key(kind, found)}-{person}",
                "person": person,
                "text": text,
                "created_at": now,
            },
        )
        for person, text in words.notes(kind, found)
    )


def count(rows: sa.Connection, kind: Kind, number: int, now: int) -> bool:
    """Count for the figures what has happened; once."""
    found = booking.find(rows, number)
    cents = found.price_cents if kind is Kind.CONFIRMED else 0
    if kind is Kind.CANCELLED and _was_counted(rows, words.key(Kind.CONFIRMED, found)):
        cents = -found.price_cents
    values = {"key": words.key(kind, found), "kind": kind, "cents": cents, "at": now}
    return insert_once(rows, happenings, values)


def _was_counted(rows: sa.Connection, key: str) -> bool:
    query = sa.select(happenings.c.key).where(happenings.c.key == key)
    return rows.execute(query).first() is not None


def compute_figures(rows: sa.Connection, day: date, now: int) -> dict[str, Any]:
    """The figures of a day, kept in the place of earlier ones."""
    first, last = bounds(day)
    query = sa.select(happenings.c.kind, happenings.c.cents)
    found = rows.execute(query.where(_within(happenings.c.at, first, last))).all()
    counts = Counter(str(row.kind) for row in found)
    sent = sa.select(sa.func.count()).where(_within(letters.c.at, first, last))
    counts["letters"] = int(rows.scalar(sent) or 0)
    made = {
        "day": day.isoformat(),
        "counts": dict(sorted(counts.items())),
        "revenue_cents": sum(row.cents for row in found),
    }
    put(rows, figures, {**made, "computed_at": now})
    return made


def warm(rows: sa.Connection, now: int) -> int:
    """Work out the free places of all lessons to come; how many lessons these are."""
    soon = lessons.c.starts_at.between(now, now + WARM_DAYS * DAY)
    ids = list(rows.scalars(sa.select(lessons.c.id).where(soon)))
    rows.execute(availability.delete().where(availability.c.lesson.not_in(ids)))
    for lesson in ids:
        booking.refresh(rows, lesson, now)
    return len(ids)


def drop_sessions(rows: sa.Connection, now: int) -> int:
    """Forget sessions that are over; how many."""
    return rows.execute(sessions.delete().where(sessions.c.expires_at <= now)).rowcount


def drop_notices(rows: sa.Connection, now: int) -> int:
    """Forget old notices; how many."""
    read = notices.c.read_at <= now - READ_DAYS * DAY
    old = notices.c.created_at <= now - UNREAD_DAYS * DAY
    return rows.execute(notices.delete().where(sa.or_(read, old))).rowcount


def note_health(rows: sa.Connection, troubles: Mapping[str, str], now: int) -> None:
    """Remember what a check has found; no text is no trouble."""
    for part, trouble in troubles.items():
        put(rows, health, {"part": part, "trouble": trouble, "checked_at": now})


def _within(column: sa.Column[Any], first: int, last: int) -> sa.ColumnElement[bool]:
    return sa.and_(column >= first, column < last)
