"""One member's way through the evening: log in, wait, book."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from smartworker.clock import Clock
from smartworker.examples.swim.booking import Member, Slot, choices, first_wish
from smartworker.examples.swim.client import (
    Facility,
    FacilityError,
    SlotFull,
    Timetable,
)
from smartworker.examples.swim.database import Booking
from smartworker.examples.swim.release import StartSignal, warm_times

#: The connection is left alone from so long before the release on.
CALM_SECONDS = 0.5


@dataclass(frozen=True)
class Evening:
    """What all members of one round have in common."""

    day: date
    timetable: Timetable
    #: None: the slots are released already.
    release: datetime | None
    start: StartSignal
    clock: Clock


@dataclass(frozen=True)
class Attempt:
    """One member's attempt; `number` tells members apart where they must differ."""

    member: Member
    number: int
    facility: Facility
    evening: Evening

    def run(self) -> Booking | None:
        """The booking; None if no slot that suits is free. Raises FacilityError."""
        self.facility.log_in(self.member.name, self.member.password)
        self._wait()
        self.facility.released_since = self.evening.clock.monotonic()
        key = f"{self.member.name}:{self.evening.day.isoformat()}"
        for slot in self._wishes():
            try:
                booked, confirmation = self.facility.book(slot, self.evening.day, key)
            except SlotFull:
                continue
            return Booking(self.member.name, self.evening.day, booked, confirmation)
        return None

    def _wait(self) -> None:
        evening = self.evening
        if evening.release is None:
            return
        for moment in warm_times(evening.release, self.number, evening.clock.now()):
            pause = (moment - evening.clock.now()).total_seconds()
            if evening.clock.wait(evening.start.event, max(pause, 0.0)):
                break
            rest = (evening.release - evening.clock.now()).total_seconds()
            if rest > CALM_SECONDS:
                self.facility.keep_warm(evening.day, rest - CALM_SECONDS)
        evening.start.event.wait()
        if evening.start.called_off:
            raise FacilityError("The booking was called off.")

    def _wishes(self) -> Iterator[Slot]:
        evening, wants = self.evening, self.member.preferences
        first = None
        if evening.release is not None:
            # To ask what is free costs the time in which others book.
            first = first_wish(wants, evening.timetable.slots, evening.day, self.number)
        if first is not None:
            yield first
        for slot in choices(wants, self.facility.slots(evening.day), evening.day):
            if first is None or slot.id != first.id:
                yield slot
