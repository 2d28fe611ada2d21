"""What is said about bookings, in letters and in notices. Pure."""

from collections.abc import Iterator
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from enum import StrEnum

from smartworker.examples.lessons.booking import Booking
from smartworker.examples.lessons.rules import ZONE

SENDER = "Lessons <lessons@example.com>"


class Kind(StrEnum):
    """What has happened to a booking, or will."""

    CONFIRMED = "confirmed"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    REMINDER = "reminder"
    NO_SHOW = "no-show"
    ATTENDED = "attended"


_SUBJECTS = {
    Kind.CONFIRMED: "You have a place in {title}",
    Kind.DECLINED: "There is no place for you in {title}",
    Kind.CANCELLED: "You have cancelled {title}",
    Kind.REMINDER: "{title} begins soon",
    Kind.NO_SHOW: "We have missed you in {title}",
}
#: What the teacher hears of, too.
_FOR_TEACHERS = {
    Kind.CONFIRMED: "{student} comes to {title}.",
    Kind.CANCELLED: "{student} does not come to {title}.",
    Kind.NO_SHOW: "{student} was not in {title}.",
}
_BODY = """Hello {student},

{subject}: with {teacher}, on {when}.
Your booking has the number {number}.
"""


def letter(kind: Kind, booking: Booking, now: int) -> EmailMessage:
    """The letter to the student; sent again it has the same Message-ID."""
    words = _words(booking)
    subject = _SUBJECTS[kind].format(**words)
    message = EmailMessage()
    message["From"] = SENDER
    message["To"] = booking.student_email
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.fromtimestamp(now, ZONE))
    message["Message-ID"] = f"<{key(kind, booking)}@lessons.example.com>"
    message.set_content(_BODY.format(subject=subject, **words))
    return message


def notes(kind: Kind, booking: Booking) -> Iterator[tuple[int, str]]:
    """Who is told what in the application."""
    words = _words(booking)
    if kind in _SUBJECTS:
        yield booking.student, _SUBJECTS[kind].format(**words) + "."
    if kind in _FOR_TEACHERS:
        yield booking.teacher, _FOR_TEACHERS[kind].format(**words)


def key(kind: Kind, booking: Booking) -> str:
    """What this is about: said once, however often its task runs."""
    return f"{kind}-{booking.id}"


def _words(booking: Booking) -> dict[str, str]:
    when = datetime.fromtimestamp(booking.starts_at, ZONE)
    return {
        # A header has one line.
        "title": " ".join(booking.title.split()),
        "student": booking.student_name,
        "teacher": booking.teacher_name,
        "when": f"{when:%A, %d %B, %H:%M}",
        "number": str(booking.id),
    }
