"""Five-field expressions that are moved in time: to UTC, or ahead of a slot.

Each move is by minutes; where it crosses midnight the days move too. What cannot be
said in five fields becomes an expression that comes more often, and is marked.
"""

from calendar import monthrange
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from smartworker.cron.fields import (
    DAYS,
    HOURS,
    MINUTES,
    MONTHS,
    WEEKDAYS,
    Dates,
    Fields,
)

DAY = 24 * 60
_LEAP_YEAR = 2028
#: Days whose neighbour on this side is another one in leap years.
_AMBIGUOUS = {1: {(2, 28), (2, 29)}, -1: {(2, 29), (3, 1)}}
_RUN = 3  # so many values are written as a range, or as a step

#: Minutes since midnight, by the days on which they come.
Times = dict[Dates, frozenset[int]]


@dataclass(frozen=True)
class Pattern:
    """The five fields of one expression."""

    minutes: frozenset[int]
    hours: frozenset[int]
    dates: Dates

    @property
    def expression(self) -> str:
        """As every cron reads it: numbers, ranges, lists and steps over everything."""
        return " ".join(
            (
                _text(self.minutes, MINUTES),
                _text(self.hours, HOURS),
                _text(self.dates.days, DAYS),
                _text(self.dates.months, MONTHS),
                _text(self.dates.weekdays, WEEKDAYS),
            )
        )

    @property
    def gap(self) -> int:
        """The fewest minutes between two of its times; 60 if it is an hour or more."""
        times = sorted(self.minutes)
        if any((hour + 1) % 24 in self.hours for hour in self.hours):
            times.append(times[0] + 60)
        return min((late - early for early, late in pairwise(times)), default=60)

    def matches(self, moment: datetime) -> bool:
        """Whether it comes in this minute, read on the clock of the moment."""
        return (
            moment.minute in self.minutes
            and moment.hour in self.hours
            and moment.month in self.dates.months
            and moment.day in self.dates.days
            and moment.isoweekday() % 7 in self.dates.weekdays
        )


def moved(fields: Fields, moves: Iterable[int]) -> tuple[tuple[Pattern, ...], bool]:
    """The expressions that come at all of these moves, in minutes, of a schedule.

    And whether they come at nothing else: that is so if all moves are the same
    times, and five fields can say them. Each move is shorter than a day.
    """
    exact = fields.exact
    alternatives = []
    for move in sorted(set(moves)):
        times, is_exact = _move(fields, move)
        exact &= is_exact
        alternatives.append(times)
    exact &= all(times == alternatives[0] for times in alternatives)
    together: dict[Dates, frozenset[int]] = defaultdict(frozenset)
    for times in alternatives:
        for dates, minutes in times.items():
            together[dates] |= minutes
    found = [pattern for item in together.items() for pattern in _rectangles(*item)]
    return tuple(sorted(found, key=_order)), exact


def wrapped(patterns: Iterable[Pattern]) -> Pattern:
    """One expression that comes whenever one of these does, and at other times."""
    several = tuple(patterns)
    days, weekdays = (
        frozenset().union(*(getattr(each.dates, name) for each in several))
        for name in ("days", "weekdays")
    )
    mixed = days == DAYS and any(each.dates.days != DAYS for each in several)
    return Pattern(
        frozenset().union(*(each.minutes for each in several)),
        frozenset().union(*(each.hours for each in several)),
        Dates(
            days,
            frozenset().union(*(each.dates.months for each in several)),
            WEEKDAYS if mixed else weekdays,
        ),
    )


def _move(fields: Fields, move: int) -> tuple[Times, bool]:
    """The times of a schedule after one move."""
    by_day: dict[int, set[int]] = defaultdict(set)
    for hour in fields.hours:
        for minute in fields.minutes:
            days, time = divmod(hour * 60 + minute + move, DAY)
            by_day[days].add(time)
    times: dict[Dates, frozenset[int]] = defaultdict(frozenset)
    exact = True
    for days, minutes in by_day.items():
        for dates in fields.dates:
            moved_dates, is_exact = _other_day(dates, days)
            exact &= is_exact
            for each in moved_dates:
                times[each] |= minutes
    return dict(times), exact


def _other_day(dates: Dates, by: int) -> tuple[list[Dates], bool]:
    """The days before (-1), on (0) or after (1) these, and whether no other ones."""
    if by == 0:
        return [dates], True
    weekdays = frozenset((day + by) % 7 for day in dates.weekdays)
    if dates.days == DAYS and dates.months == MONTHS:
        return [Dates(weekdays=weekdays)], True
    if dates.days == DAYS and dates.weekdays != WEEKDAYS:
        edges, _ = _pairs(Dates(DAYS, dates.months), by)
        outside = [
            Dates(each.days, each.months - dates.months)
            for each in edges
            if each.months - dates.months
        ]
        return [Dates(months=dates.months, weekdays=weekdays), *outside], False
    return _pairs(dates, by)


def _pairs(dates: Dates, by: int) -> tuple[list[Dates], bool]:
    """Other days of the year, one by one; around 29 February two days may be meant."""
    pairs = {
        (month, day)
        for month in dates.months
        for day in dates.days
        if day <= _last(month)
    }
    found: dict[int, set[int]] = defaultdict(set)
    for month, day in pairs:
        for other_month, other_day in _neighbours(month, day, by):
            found[other_month].add(other_day)
    by_days: dict[frozenset[int], set[int]] = defaultdict(set)
    for month, days in found.items():
        by_days[frozenset(days)].add(month)
    several = [Dates(days, frozenset(months)) for days, months in by_days.items()]
    return several, pairs.isdisjoint(_AMBIGUOUS[by])


def _neighbours(month: int, day: int, by: int) -> list[tuple[int, int]]:
    """The days that may come after (1) or before (-1) a day of any year."""
    if (month, day, by) == (2, 28, 1):
        return [(2, 29), (3, 1)]
    if (month, day, by) == (3, 1, -1):
        return [(2, 28), (2, 29)]
    other = day + by
    if 1 <= other <= _last(month):
        return [(month, other)]
    neighbour = (month + by - 1) % 12 + 1
    return [(neighbour, 1 if by > 0 else _last(neighbour))]


def _last(month: int) -> int:
    return monthrange(_LEAP_YEAR, month)[1]


def _rectangles(dates: Dates, times: frozenset[int]) -> Iterator[Pattern]:
    """Times of the day as few expressions: hours that have the same minutes."""
    minutes: dict[int, set[int]] = defaultdict(set)
    for time in times:
        minutes[time // 60].add(time % 60)
    hours: dict[frozenset[int], set[int]] = defaultdict(set)
    for hour, found in minutes.items():
        hours[frozenset(found)].add(hour)
    for same, together in hours.items():
        yield Pattern(same, frozenset(together), dates)


def _order(pattern: Pattern) -> tuple[list[int], ...]:
    dates = pattern.dates
    sets = (dates.months, dates.days, dates.weekdays, pattern.hours, pattern.minutes)
    return tuple(map(sorted, sets))


def _text(values: frozenset[int], everything: frozenset[int]) -> str:
    if values == everything:
        return "*"
    ordered, low = sorted(values), min(everything)
    if low == 0 and len(ordered) >= _RUN:
        step = ordered[1] - ordered[0]
        if ordered == list(range(0, max(everything) + 1, step)):
            return f"*/{step}"
    return ",".join(_runs(ordered))


def _runs(ordered: list[int]) -> Iterator[str]:
    run: list[int] = []
    for value in [*ordered, None]:
        if run and value != run[-1] + 1:
            yield from [f"{run[0]}-{run[-1]}"] if len(run) >= _RUN else map(str, run)
            run = []
        if value is not None:
            run.append(value)
