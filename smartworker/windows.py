"""Windows of the day: when to poll fast, in local time, and when that changes.

The only module that knows local time. It takes aware datetimes and returns UTC.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from difflib import get_close_matches
from functools import lru_cache

import pytz

from smartworker.durations import parse_duration

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = frozenset(range(7))
DAY = timedelta(days=1)
EASTERN = "America/New_York"
EXAMPLE = "20:00-23:00=30s or mon-fri 20:00-23:00=30s"

# A weekly span that a clock change swallows comes again after a fortnight: nothing
# in three weeks is nothing for ever. Most changes are found within two days.
_HORIZONS = (2, 21)
_INSTANT = timedelta(microseconds=1)
_ANY = "1m"  # hours in which something is allowed have no poll
_SPAN = re.compile(
    r"(?:(?P<days>[a-z][a-z\s,-]*)\s)?\s*(?P<start>\d{1,3}:\d{1,3})"
    r"\s*-\s*(?P<end>\d{1,3}:\d{1,3})",
    re.ASCII,
)


@dataclass(frozen=True)
class Span:
    """A rule: these minutes of these local days. An end before the start is tomorrow's.

    Weekdays count from 0 for Monday and are those of the start.
    """

    days: frozenset[int]
    start: int
    end: int
    poll: timedelta
    zone: tzinfo
    own_zone: bool = False

    @property
    def name(self) -> str:
        """As a person writes it, without the poll: `mon-fri 20:00-23:00`."""
        days = "" if self.days == EVERY_DAY else f"{_format_days(self.days)} "
        zone = f"@{self.zone}" if self.own_zone else ""
        return f"{days}{_format_minutes(self.start)}-{_format_minutes(self.end)}{zone}"


@dataclass(frozen=True)
class Window:
    """One occurrence of a span, open from `start` up to and without `end`, in UTC."""

    name: str
    poll: timedelta
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Windows:
    """All spans. Where they overlap, the shortest poll wins, then the first span."""

    spans: tuple[Span, ...]
    zone: tzinfo = pytz.utc

    @classmethod
    def parse(cls, text: str, zone: str) -> "Windows":
        """The windows that `text` means in this zone; spans are separated by `;`.

        Raises ValueError with a sentence that names the wrong piece.
        """
        home = find_zone(zone)
        spans: dict[str, Span] = {}
        for piece in filter(None, map(str.strip, text.split(";"))):
            span = _parse_span(piece, home)
            if spans.setdefault(span.name, span).poll != span.poll:
                raise ValueError(
                    f"{span.name} is there twice with different polls: keep one."
                )
        if not spans:
            raise ValueError(f"there is no window in it: write {EXAMPLE}.")
        return cls(tuple(spans.values()), home)

    @classmethod
    def hours(cls, text: str, zone: str) -> "Windows":
        """Windows in which something is allowed, written without polls.

        Raises ValueError with a sentence that names the wrong piece.
        """
        pieces = [piece for piece in map(str.strip, text.split(";")) if piece]
        for piece in pieces:
            if "=" in piece:
                raise ValueError(f"{piece!r} has a poll: write mon-fri 08:00-18:00.")
        marked = (
            f"{span}={_ANY}{at}{zone_name}"
            for span, at, zone_name in (piece.partition("@") for piece in pieces)
        )
        return cls.parse(";".join(marked), zone)

    def at(self, now: datetime) -> Window | None:
        """The window that is open at this instant, or None."""
        now = to_utc(now)
        found = (
            window for window in self._around(now) if window.start <= now < window.end
        )
        return min(found, key=lambda window: window.poll, default=None)

    def next_change(self, after: datetime) -> datetime | None:
        """The first instant later than `after` at which window or poll change."""
        after = to_utc(after)
        for days in _HORIZONS:
            edges = self._edges(after, ahead=days)
            limit = after + days * DAY
            for edge in edges:
                if after < edge <= limit and self._changes_at(edge):
                    return edge
        return None

    def last_change(self, before: datetime) -> datetime | None:
        """The last instant up to `before` at which window or poll change."""
        before = to_utc(before)
        for days in _HORIZONS:
            edges = self._edges(before, back=days)
            limit = before - days * DAY
            for edge in reversed(edges):
                if limit <= edge <= before and self._changes_at(edge):
                    return edge
        return None

    def local(self, instant: datetime) -> datetime:
        """The same instant as the clocks of the zone show it."""
        return to_utc(instant).astimezone(self.zone)

    def midnight(self, day: date) -> datetime:
        """The instant at which this local day begins, in UTC."""
        return _first(self.zone, _wall(day.toordinal(), 0))

    def _changes_at(self, edge: datetime) -> bool:
        return _key(self.at(edge - _INSTANT)) != _key(self.at(edge))

    def _edges(self, now: datetime, back: int = 0, ahead: int = 0) -> list[datetime]:
        found = self._around(now, back, ahead)
        return sorted({edge for window in found for edge in (window.start, window.end)})

    def _around(self, now: datetime, back: int = 0, ahead: int = 0) -> Iterator[Window]:
        """The occurrences that can touch the days around `now`.

        One that began yesterday may still be open; a clock set back over midnight
        returns to the day before, hence one day more on both sides.
        """
        for span in self.spans:
            today = now.astimezone(span.zone).toordinal()
            for day in range(today - back - 2, today + ahead + 2):
                window = _occurrence(span, day)
                if window is not None:
                    yield window


def to_utc(instant: datetime) -> datetime:
    """The same instant in UTC. Raises ValueError for a naive datetime."""
    if instant.utcoffset() is None:
        raise ValueError(f"{instant!r} has no time zone: pass an aware datetime")
    return instant.astimezone(UTC)


def find_zone(name: str) -> tzinfo:
    """The zone of this name. Raises ValueError with the nearest name there is."""
    try:
        return pytz.timezone(name.strip())
    except pytz.UnknownTimeZoneError:
        near = _nearest_zone(name.strip().lower().replace(" ", "_"))
        hint = f"did you mean {near}?" if near else f"write a name such as {EASTERN}."
        raise ValueError(f"{name!r} is not a time zone: {hint}") from None


def _nearest_zone(name: str) -> str | None:
    """The zone that was meant, also by its city alone or in a nickname."""
    zones = {zone.rpartition("/")[2].lower(): zone for zone in pytz.common_timezones}
    zones |= {zone.lower(): zone for zone in pytz.common_timezones}
    # US/Eastern is left out of newer system databases, so it is never suggested.
    zones |= dict.fromkeys(("et", "edt", "eastern", "us/eastern"), EASTERN)
    near = get_close_matches(name, zones, n=1, cutoff=0.7)
    return zones[near[0]] if near else None


def _parse_span(piece: str, home: tzinfo) -> Span:
    rest, own_zone, zone_name = piece.partition("@")
    rest, _, poll = rest.partition("=")
    match = _SPAN.fullmatch(rest.strip().lower())
    if match is None:
        raise ValueError(f"{piece!r} is not a window: write {EXAMPLE}.")
    if not poll.strip():
        raise ValueError(f"{piece!r} has no poll: write {EXAMPLE}.")
    start = _parse_minutes(match["start"], "0:00 to 23:59 as a start", 1439)
    end = _parse_minutes(match["end"], "0:00 to 24:00 as an end", 1440)
    if start == end:
        raise ValueError(
            f"{piece!r} ends where it starts: "
            "write 00:00-24:00 for the whole day, or leave it out."
        )
    zone = find_zone(zone_name) if own_zone else home
    days = _parse_days(match["days"]) if match["days"] else EVERY_DAY
    return Span(days, start, end, _parse_poll(poll), zone, zone is not home)


def _parse_poll(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{error}: write a poll from 1s to 24h.") from None


def _parse_minutes(text: str, allowed: str, most: int) -> int:
    hours, minutes = map(int, text.split(":"))
    total = 60 * hours + minutes
    if minutes > 59 or total > most or len(text.partition(":")[2]) != 2:
        raise ValueError(f"{text!r} is not a time of day: allowed is {allowed}.")
    return total


def _parse_days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        begin = _parse_day(first)
        length = (_parse_day(last) - begin) % 7 + 1 if dash else 1
        days |= {(begin + step) % 7 for step in range(length)}
    return frozenset(days)


def _parse_day(text: str) -> int:
    if text not in WEEKDAYS:
        raise ValueError(
            f"{text!r} is not a weekday: allowed is {', '.join(WEEKDAYS)}."
        )
    return WEEKDAYS.index(text)


def _format_days(days: frozenset[int]) -> str:
    """`mon-fri`, or `sat,sun`: runs of three and more days are ranges."""
    parts = []
    for first in sorted(days):
        if (first - 1) % 7 in days:
            continue
        run = [first]
        while (run[-1] + 1) % 7 in days:
            run.append((run[-1] + 1) % 7)
        joint = "-" if len(run) > 2 else ","
        ends = (run[0], run[-1]) if len(run) > 1 else run
        parts.append(joint.join(WEEKDAYS[day] for day in ends))
    return ",".join(parts)


def _format_minutes(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _key(window: Window | None) -> tuple[str, timedelta] | None:
    return None if window is None else (window.name, window.poll)


@lru_cache(maxsize=8192)
def _occurrence(span: Span, day: int) -> Window | None:
    """What the span makes of one local day, given by its ordinal.

    It is the shortest unbroken stretch with every instant whose wall clock reads from
    start to end: it opens at the first pass of a repeated hour and closes at the last,
    a bound inside a missing hour is the jump, and a span inside it does not occur.
    """
    if date.fromordinal(day).weekday() not in span.days:
        return None
    length = (span.end - span.start) % 1440 or 1440
    start = _first(span.zone, _wall(day, span.start))
    end = _last(span.zone, _wall(day, span.start + length))
    return Window(span.name, span.poll, start, end) if start < end else None


def _wall(day: int, minutes: int) -> datetime:
    """A reading of a wall clock, carried by UTC because it belongs to no zone yet."""
    midnight = datetime.fromordinal(day).replace(tzinfo=UTC)
    return midnight + timedelta(minutes=minutes)


def _first(zone: tzinfo, wall: datetime) -> datetime:
    """The first instant at which the zone's clocks show `wall` or more."""
    before, jump, after = _offsets(zone, wall)
    return wall - before if wall - before < jump else max(jump, wall - after)


def _last(zone: tzinfo, wall: datetime) -> datetime:
    """The first instant from which on the zone's clocks never show less than `wall`."""
    before, jump, after = _offsets(zone, wall)
    return wall - after if wall - after > jump else min(jump, wall - before)


def _offsets(zone: tzinfo, wall: datetime) -> tuple[timedelta, datetime, timedelta]:
    """The offset before, the instant of the jump, and the offset after it.

    No zone is a whole day away from UTC, so a jump that matters is inside two days.
    """
    low, high = wall - DAY, wall + DAY
    before, after = _offset(zone, low), _offset(zone, high)
    if before == after:
        return before, wall - before, after
    seconds = bisect_left(
        range(2 * 86_400),
        True,
        key=lambda second: _offset(zone, low + timedelta(seconds=second)) != before,
    )
    return before, low + timedelta(seconds=seconds), after


def _offset(zone: tzinfo, instant: datetime) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)
