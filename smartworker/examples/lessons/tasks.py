"""The Celery tasks: what they do stands in the modules beside this one."""

import os
from datetime import date, timedelta
from functools import cache
from typing import Any

from celery import shared_task

import smartworker
from smartworker.clock import system_clock
from smartworker.errors import SettingsError
from smartworker.examples.lessons import booking, office, words
from smartworker.examples.lessons.database import DEFAULT_URL, Database
from smartworker.examples.lessons.post import LetterRefused, Post
from smartworker.examples.lessons.rules import day_of
from smartworker.examples.lessons.words import Kind

#: Nobody asks for these results; what was done stands in the database.
UNASKED = {"base": smartworker.Task, "ignore_result": True}
#: For the jobs: each run has its entry in the history, and the STARTED of a task that
#: takes milliseconds would be 57,000 commands a month.
PERIODIC = {"base": smartworker.Task, "track_started": False}


@cache
def database() -> Database:
    """The database of DATABASE_URL, or lessons.sqlite3 in the working directory."""
    return Database(os.environ.get("DATABASE_URL", "").strip() or DEFAULT_URL)


def post() -> Post:
    """The mail server of LESSONS_MAIL_URL."""
    address = os.environ.get("LESSONS_MAIL_URL", "").strip()
    if not address:
        raise SettingsError(
            "LESSONS_MAIL_URL is not set: write the mail server's address, such as "
            "smtp://127.0.0.1:2525."
        )
    return Post(address)


@shared_task(name="lessons.settle_booking", base=smartworker.Task)  # type: ignore[untyped-decorator]
def settle_booking(number: int) -> dict[str, Any]:
    """Answer a request for a place, and tell everybody."""
    with database().transaction() as rows:
        status = booking.settle(rows, number, _now())
    # Also if it was answered before: that run may have died before it told.
    tell_all(Kind(status), number)
    return {"booking_id": number, "status": status}


@shared_task(name="lessons.send_letter", max_retries=5, **UNASKED)  # type: ignore[untyped-decorator]
def send_letter(kind: str, number: int) -> None:
    """Send the student a letter, unless it was sent before."""
    with database().transaction() as rows:
        found = booking.find(rows, number)
        key = words.key(Kind(kind), found)
        if office.is_written(rows, key):
            return
    letter = words.letter(Kind(kind), found, _now())
    outcome = "sent"
    try:
        post().send(letter)
    except LetterRefused as error:
        outcome = str(error)
    with database().transaction() as rows:
        recipient = found.student_email
        office.note_letter(rows, key, recipient, letter["Subject"], outcome, _now())


@shared_task(name="lessons.notify", **UNASKED)  # type: ignore[untyped-decorator]
def notify(kind: str, number: int) -> None:
    """Tell student and teacher in the application."""
    with database().transaction() as rows:
        office.tell(rows, Kind(kind), number, _now())


@shared_task(name="lessons.count", **UNASKED)  # type: ignore[untyped-decorator]
def count(kind: str, number: int) -> None:
    """Count for the figures."""
    with database().transaction() as rows:
        office.count(rows, Kind(kind), number, _now())


@shared_task(name="lessons.remind_of_bookings", **PERIODIC)  # type: ignore[untyped-decorator]
def remind_of_bookings() -> dict[str, int]:
    """Remind of the lessons that are near."""
    with database().transaction() as rows:
        due = booking.to_remind(rows, _now())
        # Inside: if they cannot be queued, nobody counts as reminded.
        for number in due:
            tell_all(Kind.REMINDER, number)
    return {"reminded": len(due)}


@shared_task(name="lessons.check_no_shows", **PERIODIC)  # type: ignore[untyped-decorator]
def check_no_shows() -> dict[str, int]:
    """Find out who did not come."""
    with database().transaction() as rows:
        due = booking.missed(rows, _now())
        for number in due:
            tell_all(Kind.NO_SHOW, number)
    return {"no_shows": len(due)}


@shared_task(name="lessons.daily_analytics", **PERIODIC)  # type: ignore[untyped-decorator]
def daily_analytics(day: str | None = None) -> dict[str, Any]:
    """Work out the figures of a day; of yesterday, if none is given."""
    now = _now()
    wanted = date.fromisoformat(day) if day else day_of(now) - timedelta(days=1)
    with database().transaction() as rows:
        return office.compute_figures(rows, wanted, now)


@shared_task(name="lessons.warm_availability", **PERIODIC)  # type: ignore[untyped-decorator]
def warm_availability() -> dict[str, int]:
    """Have the free places of all lessons to come at hand."""
    with database().transaction() as rows:
        return {"lessons": office.warm(rows, _now())}


@shared_task(name="lessons.clean_up_sessions", **PERIODIC)  # type: ignore[untyped-decorator]
def clean_up_sessions() -> dict[str, int]:
    """Forget the sessions that are over."""
    with database().transaction() as rows:
        return {"dropped": office.drop_sessions(rows, _now())}


@shared_task(name="lessons.clean_up_notifications", **PERIODIC)  # type: ignore[untyped-decorator]
def clean_up_notifications() -> dict[str, int]:
    """Forget old notices."""
    with database().transaction() as rows:
        return {"dropped": office.drop_notices(rows, _now())}


@shared_task(name="lessons.check_health", max_retries=0, **PERIODIC)  # type: ignore[untyped-decorator]
def check_health() -> dict[str, str]:
    """Ask all that the marketplace needs; Redis has shown by now that it is there."""
    troubles = {"worker": "", "mail": ""}
    try:
        post().check()
    except (OSError, SettingsError) as error:
        troubles["mail"] = str(error)
    with database().transaction() as rows:
        office.note_health(rows, troubles, _now())
    return troubles


def tell_all(kind: Kind, number: int) -> None:
    """Queue all that follows when something happened to a booking."""
    if kind is not Kind.ATTENDED:
        send_letter.delay(kind, number)
        notify.delay(kind, number)
    if kind is not Kind.REMINDER:
        count.delay(kind, number)


def _now() -> int:
    return int(system_clock.now().timestamp())
