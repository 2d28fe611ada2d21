"""Numbers and instants of a report as a person reads them."""

from dataclasses import dataclass
from datetime import datetime, tzinfo

from smartworker.review.report import Day
from smartworker.vitals import spoken
from smartworker.windows import find_zone

USUAL_HOURS = 24


def took(seconds: float) -> str:
    """A duration, from `0 ms` over `1.25 s` to `3.5 h`."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return spoken(seconds)


def number(value: float) -> str:
    """With commas between the thousands."""
    return f"{value:,.0f}"


def percent(ratio: float) -> str:
    """One decimal below ten percent, where it matters."""
    return f"{ratio * 100:.1f} %" if ratio < 0.0995 else f"{ratio * 100:.0f} %"


def many(count: int, one: str, several: str = "") -> str:
    """`1 run`, `2 runs`."""
    return f"{number(count)} {one if count == 1 else several or one + 's'}"


def change(now: float, before: float) -> str:
    """`+3`, `-1` or `same`."""
    if now == before:
        return "same"
    sign = "+" if now > before else "\N{MINUS SIGN}"
    return f"{sign}{number(abs(now - before))}"


@dataclass(frozen=True)
class Local:
    """A day's own clock: on a day with a clock change it names the zone, too."""

    zone: tzinfo
    doubtful: bool = False

    @classmethod
    def of(cls, zone: str, day: Day) -> "Local":
        """The clock of a day. Raises ValueError for a zone that is none."""
        return cls(find_zone(zone), len(day.hours) != USUAL_HOURS)

    def time(self, instant: datetime | None) -> str:
        """`20:00`, or `01:30 EST` where that alone would not say which."""
        if instant is None:
            return "\N{EN DASH}"
        form = "%H:%M %Z" if self.doubtful else "%H:%M"
        return instant.astimezone(self.zone).strftime(form)

    def second(self, instant: datetime) -> str:
        """As `time`, with the seconds."""
        form = "%H:%M:%S %Z" if self.doubtful else "%H:%M:%S"
        return instant.astimezone(self.zone).strftime(form)

    def full(self, instant: datetime) -> str:
        """Date, time and zone."""
        return instant.astimezone(self.zone).strftime("%Y-%m-%d %H:%M %Z")
