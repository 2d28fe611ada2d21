"""When a cron service must call, so that a job runs at each of its times."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from smartworker.cron.fields import Dates, read_fields
from smartworker.cron.registry import Job
from smartworker.cron.schedule import Schedule
from smartworker.deploy.patterns import Pattern, moved

#: A free web service of Render sleeps after so long without a request.
IDLE = timedelta(minutes=15)

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_YEARS = 28  # of clock changes are looked at: by then each date had each weekday
# A clock change moves the slots of the hours around it.
_BEFORE, _AFTER = timedelta(hours=2), timedelta(hours=4)


@dataclass(frozen=True)
class Calls:
    """The expressions under which one job is called, all in one zone."""

    job: Job
    zone: str
    triggers: tuple[Pattern, ...]
    #: Ahead of the triggers, to wake a web service that sleeps; maybe none.
    warm: tuple[Pattern, ...]
    #: Whether some calls come when the job is not due: the server must drop them.
    gated: bool

    @property
    def doubles(self) -> bool:
        """Whether the job would run at times that its schedule does not have."""
        return self.gated and not self.job.only_when_due


def calls_of(
    job: Job, schedule: Schedule, now: datetime, *, utc: bool, lead: timedelta | None
) -> Calls:
    """The calls for a job with this schedule.

    `utc`: for a caller that knows no zones; then a job in a zone with clock changes is
    called at all hours in UTC that may be meant. `lead`: how long ahead the service
    is woken, if it may sleep by then.
    """
    fields = read_fields(schedule.expression)
    moves = _offsets(schedule.zone, now) if utc else [0]
    triggers, exact = moved(fields, moves)
    if utc:
        strays = tuple(_strays(job, schedule, triggers, now))
        triggers, exact = (*triggers, *strays), exact and not strays
    warm: tuple[Pattern, ...] = ()
    if lead is not None and may_sleep(schedule, now):
        early = lead // _MINUTE
        warm, _ = moved(fields, [move - early for move in moves])
    zone = "UTC" if utc else schedule.zone
    return Calls(job, zone, triggers, warm, gated=not exact)


def may_sleep(schedule: Schedule, now: datetime) -> bool:
    """Whether a web service that nothing else calls sleeps before some slot."""
    slots = schedule.between(now, now + 2 * _DAY)
    gaps = [late - early for early, late in pairwise(slots)]
    return not gaps or max(gaps) > IDLE


def _offsets(zone: str, now: datetime) -> list[int]:
    """Minutes from local time to UTC, all that occur within a year."""
    tz = ZoneInfo(zone)
    days = (now + day * _DAY for day in range(366))
    return sorted({-_offset(tz, day) // _MINUTE for day in days})


def _offset(tz: ZoneInfo, moment: datetime) -> timedelta:
    offset = moment.astimezone(tz).utcoffset()
    return offset if offset is not None else timedelta()


def _strays(
    job: Job, schedule: Schedule, triggers: tuple[Pattern, ...], now: datetime
) -> Iterator[Pattern]:
    """Calls for the slots that a clock change moves away from all others.

    02:30 does not exist on one night of the year, and its slot comes at 03:00.
    """
    missed: dict[tuple[int, int, int], set[int]] = defaultdict(set)
    for change in _changes(ZoneInfo(schedule.zone), now):
        slots = schedule.between(change - _BEFORE, change + _AFTER)
        for slot, following in pairwise([*slots, change + _DAY]):
            # A call counts for the last slot before it.
            last = min(slot + job.grace, following - _MINUTE)
            times = (slot + n * _MINUTE for n in range((last - slot) // _MINUTE + 1))
            if not any(each.matches(time) for time in times for each in triggers):
                missed[slot.month, slot.hour, slot.minute].add(slot.day)
    for (month, hour, minute), days in sorted(missed.items()):
        span = frozenset(range(min(days), max(days) + 1))
        yield Pattern(
            frozenset({minute}), frozenset({hour}), Dates(span, frozenset({month}))
        )


def _changes(tz: ZoneInfo, now: datetime) -> Iterator[datetime]:
    """The clock changes of the coming years, to the minute."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for _ in range(366 * _YEARS):
        early, late, day = day, day + _DAY, day + _DAY
        if _offset(tz, early) == _offset(tz, late):
            continue
        while late - early > _MINUTE:
            middle = early + (late - early) // _MINUTE // 2 * _MINUTE
            same = _offset(tz, middle) == _offset(tz, early)
            early, late = (middle, late) if same else (early, middle)
        yield late
