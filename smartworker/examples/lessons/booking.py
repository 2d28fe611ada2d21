"""Bookings: requested, answered, cancelled, attended, missed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from smartworker.examples.lessons.database import put
from smartworker.examples.lessons.rules import (
    NO_SHOW_AFTER,
    REMIND_WITHIN,
    TAKES_PLACE,
    Lesson,
    Status,
    answer,
    why_not_cancel,
    why_not_check_in,
)
from smartworker.examples.lessons.tables import (
    availability,
    bookings,
    lessons,
    people,
)

_teacher = people.alias("teacher")
_student = people.alias("student")


class NoSuchThing(LookupError):
    """No lesson or booking of one's own has this number."""


class Refused(Exception):
    """The rules do not allow it; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Booking:
    """A booking with all that is said about it."""

    id: int
    status: Status
    lesson_id: int
    title: str
    starts_at: int
    price_cents: int
    student: int
    student_name: str
    student_email: str
    teacher: int
    teacher_name: str


def request(rows: sa.Connection, lesson: int, student: int, now: int) -> int:
    """Note that a student wants a place; a task will answer."""
    if rows.scalar(sa.select(lessons.c.id).where(lessons.c.id == lesson)) is None:
        raise NoSuchThing(f"There is no lesson {lesson}.")
    values = {
        "lesson": lesson,
        "student": student,
        "status": Status.REQUESTED,
        "requested_at": now,
    }
    made = rows.execute(bookings.insert().values(values)).inserted_primary_key
    return int(made[0])  # type: ignore[index]  # a table with a key has one


def forget(rows: sa.Connection, booking: int) -> None:
    """Take a request back that nobody will answer."""
    asked = bookings.c.status == Status.REQUESTED
    rows.execute(bookings.delete().where(bookings.c.id == booking, asked))


def settle(rows: sa.Connection, booking: int, now: int) -> Status:
    """Answer a request; what was answered before stays as it is."""
    found = find(rows, booking)
    lesson = _lock(rows, found.lesson_id)
    status = _status(rows, booking)
    if status is not Status.REQUESTED:
        return status
    status, _why = answer(
        lesson,
        _taken(rows, found.lesson_id),
        has_one=_has_place(rows, found),
        now=now,
    )
    _set(rows, [booking], status)
    refresh(rows, found.lesson_id, now)
    return status


def cancel(rows: sa.Connection, booking: int, student: int, now: int) -> None:
    """Give a place back. Raises NoSuchThing or Refused."""
    found = _own(rows, booking, student)
    lesson = _lock(rows, found.lesson_id)
    if why := why_not_cancel(_status(rows, booking), lesson, now):
        raise Refused(why)
    _set(rows, [booking], Status.CANCELLED)
    refresh(rows, found.lesson_id, now)


def check_in(rows: sa.Connection, booking: int, student: int, now: int) -> None:
    """The student is there. Raises NoSuchThing or Refused."""
    found = _own(rows, booking, student)
    lesson = _lock(rows, found.lesson_id)
    if why := why_not_check_in(_status(rows, booking), lesson, now):
        raise Refused(why)
    _set(rows, [booking], Status.ATTENDED)


def to_remind(rows: sa.Connection, now: int) -> list[int]:
    """Confirmed bookings of which the lesson is near, marked as reminded."""
    due = _ids(
        rows,
        bookings.c.status == Status.CONFIRMED,
        bookings.c.reminded_at.is_(None),
        lessons.c.starts_at.between(now, now + REMIND_WITHIN),
    )
    rows.execute(
        bookings.update().where(bookings.c.id.in_(due)).values(reminded_at=now)
    )
    return due


def missed(rows: sa.Connection, now: int) -> list[int]:
    """Confirmed bookings whose student did not come, marked so."""
    due = _ids(
        rows,
        bookings.c.status == Status.CONFIRMED,
        lessons.c.ends_at <= now - NO_SHOW_AFTER,
    )
    _set(rows, due, Status.NO_SHOW)
    return due


def find(rows: sa.Connection, booking: int) -> Booking:
    """A booking by its number. Raises NoSuchThing."""
    row = rows.execute(_everything().where(bookings.c.id == booking)).mappings().first()
    if row is None:
        raise NoSuchThing(f"There is no booking {booking}.")
    return _read(row)


def of_student(rows: sa.Connection, student: int) -> list[Booking]:
    """A student's bookings, the newest first."""
    query = _everything().where(bookings.c.student == student)
    found = rows.execute(query.order_by(bookings.c.id.desc())).mappings()
    return [_read(row) for row in found]


def refresh(rows: sa.Connection, lesson: int, now: int) -> None:
    """Work out anew how many places a lesson has."""
    places = rows.scalar(sa.select(lessons.c.places).where(lessons.c.id == lesson))
    free = max((places or 0) - _taken(rows, lesson), 0)
    put(rows, availability, {"lesson": lesson, "free": free, "computed_at": now})


def _everything() -> sa.Select[Any]:
    return (
        sa.select(
            bookings.c.id,
            bookings.c.status,
            lessons.c.id.label("lesson_id"),
            lessons.c.title,
            lessons.c.starts_at,
            lessons.c.price_cents,
            _student.c.id.label("student"),
            _student.c.name.label("student_name"),
            _student.c.email.label("student_email"),
            _teacher.c.id.label("teacher"),
            _teacher.c.name.label("teacher_name"),
        )
        .join(lessons, lessons.c.id == bookings.c.lesson)
        .join(_student, _student.c.id == bookings.c.student)
        .join(_teacher, _teacher.c.id == lessons.c.teacher)
    )


def _read(row: sa.RowMapping) -> Booking:
    return Booking(**{**row, "status": Status(row["status"])})


def _own(rows: sa.Connection, booking: int, student: int) -> Booking:
    found = find(rows, booking)
    if found.student != student:
        raise NoSuchThing(f"There is no booking {booking}.")
    return found


def _lock(rows: sa.Connection, lesson: int) -> Lesson:
    """The lesson; nobody else gives or takes its places until the transaction ends."""
    query = sa.select(lessons).where(lessons.c.id == lesson).with_for_update()
    row = rows.execute(query).mappings().one()
    return Lesson(row["places"], row["starts_at"], row["ends_at"])


def _status(rows: sa.Connection, booking: int) -> Status:
    query = sa.select(bookings.c.status).where(bookings.c.id == booking)
    return Status(rows.execute(query).scalar_one())


def _taken(rows: sa.Connection, lesson: int) -> int:
    query = sa.select(sa.func.count()).where(
        bookings.c.lesson == lesson, bookings.c.status.in_(TAKES_PLACE)
    )
    return int(rows.scalar(query) or 0)


def _has_place(rows: sa.Connection, booking: Booking) -> bool:
    query = sa.select(bookings.c.id).where(
        bookings.c.lesson == booking.lesson_id,
        bookings.c.student == booking.student,
        bookings.c.status.in_(TAKES_PLACE),
    )
    return rows.scalar(query.limit(1)) is not None


def _ids(rows: sa.Connection, *conditions: sa.ColumnElement[bool]) -> list[int]:
    query = sa.select(bookings.c.id).join(lessons, lessons.c.id == bookings.c.lesson)
    return list(rows.scalars(query.where(*conditions).order_by(bookings.c.id)))


def _set(rows: sa.Connection, ids: Iterable[int], status: Status) -> None:
    rows.execute(
        bookings.update().where(bookings.c.id.in_(list(ids))).values(status=status)
    )
