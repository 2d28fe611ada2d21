"""What the five fields of a schedule mean, as sets that any cron can be told."""

from dataclasses import dataclass
from datetime import UTC, datetime

from cronsim import CronSim

MINUTES = frozenset(range(60))
HOURS = frozenset(range(24))
DAYS = frozenset(range(1, 32))
MONTHS = frozenset(range(1, 13))
WEEKDAYS = frozenset(range(7))

_LAST_DAYS = frozenset(range(28, 32))
_LAST_WEEKDAYS = frozenset(range(26, 32))


@dataclass(frozen=True)
class Dates:
    """Days of the year: either `days` or `weekdays` is everything, or both are."""

    days: frozenset[int] = DAYS
    months: frozenset[int] = MONTHS
    #: Sunday is 0.
    weekdays: frozenset[int] = WEEKDAYS


@dataclass(frozen=True)
class Fields:
    """The minutes and hours of a schedule, and its days as alternatives."""

    minutes: frozenset[int]
    hours: frozenset[int]
    dates: tuple[Dates, ...]
    #: Whether no other day is among them. Not so where the schedule has what most
    #: crons lack, such as `L` or `mon#2`: then they are all days that it may mean.
    exact: bool


def read_fields(expression: str) -> Fields:
    """The fields of an expression that `Schedule` has accepted."""
    parsed = CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC))
    days, exact_days = _days(parsed.days)
    weekdays, exact_weekdays = _weekdays(parsed.weekdays)
    months = frozenset(parsed.months)
    exact = exact_days and exact_weekdays
    if parsed.day_and and days < DAYS and weekdays < WEEKDAYS:
        # `*/2 * mon` means both at once here, and one of the two elsewhere.
        days, exact = DAYS, False
    alternatives = [
        Dates(days=days, months=months),
        Dates(weekdays=weekdays, months=months),
    ]
    if parsed.day_and:
        alternatives = [Dates(days, months, weekdays)]
    elif days == DAYS or weekdays == WEEKDAYS:
        alternatives = [Dates(months=months)]
    return Fields(
        frozenset(parsed.minutes), frozenset(parsed.hours), tuple(alternatives), exact
    )


def _days(found: set[int]) -> tuple[frozenset[int], bool]:
    days = frozenset(day for day in found if day > 0)
    if CronSim.LAST in found:
        days |= _LAST_DAYS
    if CronSim.LAST_WEEKDAY in found:
        days |= _LAST_WEEKDAYS
    return days, min(found) > 0


def _weekdays(
    found: set[int | tuple[int, int]],
) -> tuple[frozenset[int], bool]:
    plain = frozenset(day % 7 for day in found if isinstance(day, int))
    nth = frozenset(day[0] % 7 for day in found if isinstance(day, tuple))
    return plain | nth, not nth
