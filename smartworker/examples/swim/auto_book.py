"""One booking round: every member, one date."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pytz

from smartworker.examples.swim.booking import Member, choices
from smartworker.examples.swim.client import Facility, FacilityError, SlotFull
from smartworker.examples.swim.database import Booking, Database

EASTERN = pytz.timezone("America/New_York")
Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Outcome:
    """What became of one member's wish."""

    member: str
    booking: Booking | None
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """The outcome as it stands in the task's result."""
        return {
            "member": self.member,
            "status": "successful" if self.booking else "failed",
            "slot": self.booking.slot if self.booking else None,
            "confirmation": self.booking.confirmation if self.booking else None,
            "reason": self.reason,
        }


def next_day(now: datetime) -> date:
    """The date that is released next: tomorrow, as Eastern time has it."""
    return now.astimezone(EASTERN).date() + timedelta(days=1)


def book_all(
    database: Database, facility_url: str, day: date, report: Report
) -> dict[str, Any]:
    """Book for every member and sum it up; one member's failure stops no other."""
    members = database.members()
    outcomes = []
    for number, member in enumerate(members):
        report(number, len(members), f"Booking a lane for {member.name}")
        outcomes.append(book_one(database, facility_url, member, day))
    return summary(outcomes)


def book_one(
    database: Database, facility_url: str, member: Member, day: date
) -> Outcome:
    """Book the best slot that the member can still get."""
    booking = database.booking(member.name, day)
    if booking:
        return Outcome(member.name, booking, "This member had a booking already.")
    try:
        booking = _book(Facility(facility_url), member, day)
    except FacilityError as error:
        return Outcome(member.name, None, str(error))
    if booking is None:
        return Outcome(member.name, None, "No slot that suits is free.")
    database.keep(booking)
    return Outcome(member.name, booking, "The facility confirmed.")


def _book(facility: Facility, member: Member, day: date) -> Booking | None:
    facility.log_in(member.name, member.password)
    key = f"{member.name}:{day.isoformat()}"
    for slot in choices(member.preferences, facility.slots(day), day):
        try:
            booked, confirmation = facility.book(slot, day, key)
        except SlotFull:
            continue
        return Booking(member.name, day, booked, confirmation)
    return None


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """The task's result."""
    successful = sum(outcome.booking is not None for outcome in outcomes)
    failed = len(outcomes) - successful
    return {
        "status": "SUCCESS",
        "message": "Auto-booking process completed: "
        f"{successful} successful, {failed} failed",
        "results": [outcome.as_dict() for outcome in outcomes],
        "summary": {
            "total_processed": len(outcomes),
            "successful": successful,
            "failed": failed,
        },
    }
