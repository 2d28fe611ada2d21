"""What may happen to a booking, and when. Pure; times are seconds since 1970."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

HOUR = 3600
#: A booking can be cancelled until so long before the lesson.
CANCEL_UNTIL = 2 * HOUR
#: A reminder goes out when the lesson begins within this time.
REMIND_WITHIN = 24 * HOUR
#: Who has not checked in so long after the lesson's end did not come.
NO_SHOW_AFTER = HOUR // 4
#: One may check in from so long before the lesson on.
CHECK_IN_FROM = HOUR // 2
#: The marketplace's days begin at midnight here.
ZONE = ZoneInfo("America/New_York")


class Status(StrEnum):
    """Where a booking stands."""

    REQUESTED = "requested"
    CONFIRMED = "confirmed"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    ATTENDED = "attended"
    NO_SHOW = "no-show"


#: These take a place.
TAKES_PLACE = (Status.CONFIRMED, Status.ATTENDED, Status.NO_SHOW)


@dataclass(frozen=True)
class Lesson:
    """When it is, and for how many."""

    places: int
    starts_at: int
    ends_at: int


def answer(
    lesson: Lesson, taken: int, *, has_one: bool, now: int
) -> tuple[Status, str]:
    """What a request gets: confirmed or declined, and why."""
    if now >= lesson.starts_at:
        return Status.DECLINED, "The lesson has begun."
    if has_one:
        return Status.DECLINED, "You have a place in this lesson already."
    if taken >= lesson.places:
        return Status.DECLINED, "The lesson is full."
    return Status.CONFIRMED, "You have a place."


def why_not_cancel(status: Status, lesson: Lesson, now: int) -> str | None:
    """Why a booking cannot be cancelled now; None if it can."""
    if status not in (Status.REQUESTED, Status.CONFIRMED):
        return f"The booking is {status} already."
    if status is Status.CONFIRMED and now > lesson.starts_at - CANCEL_UNTIL:
        return "A booking can be cancelled until two hours before the lesson."
    return None


def why_not_check_in(status: Status, lesson: Lesson, now: int) -> str | None:
    """Why nobody can check in now; None if one can."""
    if status is not Status.CONFIRMED:
        return f"The booking is {status}."
    if now < lesson.starts_at - CHECK_IN_FROM:
        return "One can check in from half an hour before the lesson on."
    return None


def day_of(now: int) -> date:
    """The marketplace's date."""
    return datetime.fromtimestamp(now, ZONE).date()


def bounds(day: date) -> tuple[int, int]:
    """The first second of a day, and of the next; 23 or 25 hours at clock changes."""
    days = (day, day + timedelta(days=1))
    first, last = (datetime.combine(each, time(), ZONE) for each in days)
    return int(first.timestamp()), int(last.timestamp())
