"""The moment of the release, and how many threads wait for it together."""

import threading
from datetime import date, datetime, time, timedelta

import pytz

from smartworker.clock import Clock

EASTERN = pytz.timezone("America/New_York")
#: From here on the wait goes in steps, for a long one may end late.
NEAR_SECONDS = 0.02
STEP_SECONDS = 0.001
#: The wall clock may be set while we wait, so it is asked again.
LONGEST_SECONDS = 1.0

# Many servers close a connection that is silent for 5 seconds.
WARM_EACH = timedelta(seconds=4)
WARM_TIMES = 7
LAST_WARM = timedelta(seconds=2)
_SPREAD = timedelta(milliseconds=170)


def next_day(now: datetime) -> date:
    """The date that is released next: tomorrow, as Eastern time has it."""
    return now.astimezone(EASTERN).date() + timedelta(days=1)


def usual_release(day: date) -> datetime:
    """9 PM Eastern on the evening before, where the facility does not say it."""
    evening = datetime.combine(day - timedelta(days=1), time(21))
    moment: datetime = EASTERN.localize(evening)
    return moment


def local_text(moment: datetime) -> str:
    """A moment as people at the facility read it."""
    return moment.astimezone(EASTERN).isoformat()


def warm_times(release: datetime, number: int, now: datetime) -> list[datetime]:
    """When a member's connection is used ahead of the release, so that it stays open.

    Members differ by their number: a facility that is asked by all in the same moment
    may turn some away.
    """
    last = release - LAST_WARM - (number * _SPREAD) % LAST_WARM
    times = [last - WARM_EACH * step for step in range(WARM_TIMES)]
    return [moment for moment in reversed(times) if moment > now]


def wait_until(moment: datetime, clock: Clock, event: threading.Event) -> bool:
    """Wait until the wall clock says so, to the millisecond; true if the event came."""
    while (rest := (moment - clock.now()).total_seconds()) > 0:
        near = min(rest, STEP_SECONDS)
        far = min(rest - NEAR_SECONDS, LONGEST_SECONDS)
        if clock.wait(event, near if rest <= NEAR_SECONDS else max(far, near)):
            return True
    return event.is_set()


class StartSignal:
    """One thread watches the clock and gives the signal; all others wait for it.

    If each watched by itself they would be in each other's way at the very moment.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self.called_off = False

    def give(self, moment: datetime, clock: Clock) -> None:
        """Wait for the moment, then let all go."""
        wait_until(moment, clock, threading.Event())
        self.event.set()

    def call_off(self) -> None:
        """Let all go home; nothing happens if the signal was given."""
        if not self.event.is_set():
            self.called_off = True
            self.event.set()
