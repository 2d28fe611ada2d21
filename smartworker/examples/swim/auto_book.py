"""One booking round: every member, one date, at the moment of the release."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from smartworker.clock import Clock, system_clock
from smartworker.examples.swim.attempt import Attempt, Evening
from smartworker.examples.swim.booking import Member
from smartworker.examples.swim.client import Facility, FacilityError
from smartworker.examples.swim.database import Booking, Database
from smartworker.examples.swim.release import StartSignal, local_text, usual_release

#: How long after the release, or after the start if that is later, bookings are tried.
WINDOW = timedelta(minutes=2)
#: A release further ahead is not waited for: together with the window this has to stay
#: below the task's soft time limit of 25 minutes.
LONGEST_WAIT = timedelta(minutes=20)
# What is under way at the end of the window may come to its own end.
SLACK_SECONDS = 1.0
# Most rounds are over within a second, and a report costs a command.
QUIET_SECONDS = 1.0
#: Threads; further members have their turn when the first are done.
MOST_AT_ONCE = 200

Running = Future[Booking | None]
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


def book_all(
    database: Database,
    facility_url: str,
    day: date,
    report: Report,
    *,
    only: str | None = None,
    clock: Clock = system_clock,
) -> dict[str, Any]:
    """Book for every member and sum it up; one member's failure stops no other.

    Waits for the release if that is near. `only` names the one member to book for.
    """
    members = [each for each in database.members() if only in (None, each.name)]
    found = {each.name: database.booking(each.name, day) for each in members}
    had = "This member had a booking already."
    outcomes = {
        name: Outcome(name, booking, had) for name, booking in found.items() if booking
    }
    waiting = [each for each in members if each.name not in outcomes]
    if waiting:
        round_ = Round(database, facility_url, day, report, clock)
        for outcome in round_.run(waiting):
            outcomes[outcome.member] = outcome
    return summary([outcomes[each.name] for each in members])


@dataclass(frozen=True)
class Round:
    """The members that have no booking yet, in parallel."""

    database: Database
    facility_url: str
    day: date
    report: Report
    clock: Clock

    def run(self, members: Sequence[Member]) -> Iterable[Outcome]:
        """One outcome for each member, in any order."""
        self.report(0, len(members), f"Logging {len(members)} members in")
        try:
            evening, deadline = self._evening()
        except FacilityError as error:
            return [Outcome(each.name, None, str(error)) for each in members]
        return list(self._outcomes(members, evening, deadline))

    def _evening(self) -> tuple[Evening, float]:
        now = self.clock.now()
        usual = usual_release(self.day)
        deadline = None
        if abs(usual - now) < LONGEST_WAIT:
            # At another hour nothing is lost if a facility that is away ends the run.
            deadline = self._deadline(max(usual, now))
        facility = Facility(self.facility_url, deadline=deadline, clock=self.clock)
        with closing(facility), self._cut_off([facility]):
            timetable = facility.timetable(self.day)
        now = self.clock.now()
        release = None if timetable.released else timetable.released_at or usual
        if release is not None and release - now > LONGEST_WAIT:
            raise FacilityError(
                f"The slots of {self.day} are released at {local_text(release)}, "
                "which is too far ahead to wait for."
            )
        evening = Evening(self.day, timetable, release, StartSignal(), self.clock)
        return evening, self._deadline(max(release or now, now))

    def _deadline(self, moment: datetime) -> float:
        """The end of the window that begins then, on the monotonic clock."""
        ahead = moment + WINDOW - self.clock.now()
        return self.clock.monotonic() + ahead.total_seconds()

    def _outcomes(
        self, members: Sequence[Member], evening: Evening, deadline: float
    ) -> Iterator[Outcome]:
        attempts = [
            Attempt(
                member,
                number,
                Facility(self.facility_url, deadline=deadline, clock=self.clock),
                evening,
            )
            for number, member in enumerate(members)
        ]
        facilities = [attempt.facility for attempt in attempts]
        with self._cut_off(facilities), _running(attempts, evening.start) as futures:
            if evening.release is not None:
                at = local_text(evening.release)
                self.report(0, len(members), f"Waiting for the release at {at}")
                evening.start.give(evening.release, self.clock)
            begun = self.clock.monotonic()
            for done, future in enumerate(as_completed(futures), 1):
                yield self._outcome(futures[future], future)
                if self.clock.monotonic() - begun > QUIET_SECONDS:
                    self.report(done, len(members), f"{done} members are done")

    @contextmanager
    def _cut_off(self, facilities: Sequence[Facility]) -> Iterator[None]:
        """Ends what goes on beyond the deadline, such as an answer byte by byte."""
        rest = max(facility.deadline for facility in facilities)
        seconds = max(rest - self.clock.monotonic(), 0.0) + SLACK_SECONDS
        timer = threading.Timer(seconds, _give_up, (facilities,))
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _outcome(self, attempt: Attempt, future: Running) -> Outcome:
        name = attempt.member.name
        try:
            booking = future.result()
        except FacilityError as error:
            return Outcome(name, None, str(error))
        if booking is None:
            return Outcome(name, None, "No slot that suits is free.")
        reason = "The facility confirmed."
        if (release := attempt.evening.release) is not None:
            seconds = (self.clock.now() - release).total_seconds()
            reason = f"The facility confirmed {seconds:.2f} s after the release."
        return Outcome(name, self.database.keep(booking), reason)


@contextmanager
def _running(
    attempts: Sequence[Attempt], start: StartSignal
) -> Iterator[dict[Running, Attempt]]:
    """All attempts in threads; none goes on after the end, however that comes."""
    pool = ThreadPoolExecutor(min(len(attempts), MOST_AT_ONCE))
    try:
        yield {pool.submit(attempt.run): attempt for attempt in attempts}
    finally:
        start.call_off()
        _give_up([attempt.facility for attempt in attempts])
        pool.shutdown()
        for attempt in attempts:
            attempt.facility.close()


def _give_up(facilities: Iterable[Facility]) -> None:
    for facility in facilities:
        facility.give_up()


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
