"""What the endpoints show: lessons, bookings, notices, figures, health."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from smartworker.examples.lessons.booking import Booking
from smartworker.examples.lessons.tables import (
    availability,
    figures,
    health,
    lessons,
    notices,
    people,
)

#: A check is made each minute; after so many seconds nobody knows.
FRESH = 180


def lessons_to_come(rows: sa.Connection, now: int) -> list[dict[str, Any]]:
    """The lessons, with the free places as they were last worked out."""
    query = (
        sa.select(
            lessons, people.c.name, availability.c.free, availability.c.computed_at
        )
        .join(people, people.c.id == lessons.c.teacher)
        .outerjoin(availability, availability.c.lesson == lessons.c.id)
        .where(lessons.c.starts_at > now)
        .order_by(lessons.c.starts_at, lessons.c.id)
    )
    return [
        {
            "lesson_id": row.id,
            "title": row.title,
            "teacher": row.name,
            "starts_at": moment(row.starts_at),
            "places": row.places,
            "free": row.free,
            "free_as_of": row.computed_at and moment(row.computed_at),
            "price_cents": row.price_cents,
        }
        for row in rows.execute(query)
    ]


def booking_page(booking: Booking) -> dict[str, Any]:
    """A booking as its student sees it."""
    return {
        "booking_id": booking.id,
        "status": booking.status,
        "lesson_id": booking.lesson_id,
        "title": booking.title,
        "teacher": booking.teacher_name,
        "starts_at": moment(booking.starts_at),
    }


def notices_of(rows: sa.Connection, person: int) -> list[dict[str, Any]]:
    """What somebody was told, the newest first."""
    query = sa.select(notices).where(notices.c.person == person)
    return [
        {
            "notification_id": row.id,
            "text": row.text,
            "created_at": moment(row.created_at),
            "read": row.read_at is not None,
        }
        for row in rows.execute(query.order_by(notices.c.id.desc()))
    ]


def mark_read(rows: sa.Connection, notice: int, person: int, now: int) -> bool:
    """Whether somebody has such a notice; it is read now."""
    mine = notices.c.id == notice, notices.c.person == person
    return bool(
        rows.execute(notices.update().where(*mine).values(read_at=now)).rowcount
    )


def figures_of(rows: sa.Connection, day: str) -> dict[str, Any] | None:
    """The figures of a day, if they have been worked out."""
    found = rows.execute(sa.select(figures).where(figures.c.day == day)).first()
    if found is None:
        return None
    return {
        "day": found.day,
        "counts": found.counts,
        "revenue_cents": found.revenue_cents,
        "computed_at": moment(found.computed_at),
    }


def health_page(rows: sa.Connection, now: int) -> dict[str, Any]:
    """Whether all was well a moment ago."""
    found = rows.execute(sa.select(health)).all()
    parts = {
        row.part: row.trouble or "ok"
        if now - row.checked_at <= FRESH
        else f"not checked since {moment(row.checked_at)}"
        for row in found
    }
    well = bool(parts) and all(said == "ok" for said in parts.values())
    return {"status": "ok" if well else "degraded", "parts": parts}


def moment(seconds: int) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
