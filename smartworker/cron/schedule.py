"""cronsim's home: when a job is due, in the job's own zone.

Clock changes are those of Debian's cron: a time inside the missing hour comes right
after it, one inside the repeated hour comes once; schedules by the hour or the minute
follow the real time.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from smartworker.windows import find_zone, to_utc

FIELDS = 5
_STEP = timedelta(microseconds=1)


@dataclass(frozen=True)
class Schedule:
    """A five-field cron expression and the zone whose clocks it means.

    Raises ValueError with one sentence if either cannot be read.
    """

    expression: str
    zone: str
    _tz: ZoneInfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read both once, so that a wrong one stops the start."""
        find_zone(self.zone)
        object.__setattr__(self, "_tz", ZoneInfo(self.zone))
        if len(self.expression.split()) != FIELDS:
            raise ValueError(
                f"{self.expression!r} has {len(self.expression.split())} fields: write "
                "five, such as '30 21 * * mon-fri'."
            )
        try:
            next(CronSim(self.expression, datetime(2026, 1, 1, tzinfo=UTC)))
        except (CronSimError, StopIteration) as error:
            raise ValueError(
                f"{self.expression!r} is no schedule that ever comes "
                f"({error or 'no such date'}): write minute, hour, day, month and "
                "weekday, such as '30 21 * * mon-fri'."
            ) from error

    def after(self, moment: datetime) -> datetime:
        """The first time later than this moment, in UTC."""
        return self._step(moment, reverse=False)

    def last(self, moment: datetime) -> datetime:
        """The last time up to and including this moment, in UTC."""
        return self._step(moment + _STEP, reverse=True)

    def between(self, start: datetime, end: datetime) -> list[datetime]:
        """All times later than `start` up to and including `end`, in UTC."""
        found = []
        moment = self.after(start)
        while moment <= end:
            found.append(moment)
            moment = self.after(moment)
        return found

    def a_month(self, now: datetime) -> int:
        """How often it comes in the 30 days after `now`."""
        return len(self.between(now, now + timedelta(days=30)))

    def _step(self, moment: datetime, *, reverse: bool) -> datetime:
        local = to_utc(moment).astimezone(self._tz)
        found: datetime = next(CronSim(self.expression, local, reverse=reverse))
        return found.astimezone(UTC)
