"""cronsim's home: when a job is due, in the job's own zone.

Clock changes are those of Debian's cron: a time inside the missing hour comes right
after it, one inside the repeated hour comes once; schedules by the hour or the minute
follow the real time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from smartworker.windows import find_zone, to_utc

FIELDS = 5
_STEP = timedelta(microseconds=1)
#: cronsim is not asked from within so long after a clock change: from inside the
#: repeated hour it answers with times before that, or leaves some out.
_CHANGE = timedelta(hours=3)


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
        moment = to_utc(moment)
        return next(time for time in self._times(self._calm(moment)) if time > moment)

    def last(self, moment: datetime) -> datetime:
        """The last time up to and including this moment, in UTC."""
        moment = to_utc(moment)
        calm = self._calm(moment)
        found = next(self._times(calm + _STEP, reverse=True))
        if calm < moment:
            for time in self._times(calm):
                if time > moment:
                    break
                found = time
        return found

    def between(self, start: datetime, end: datetime) -> list[datetime]:
        """All times later than `start` up to and including `end`, in UTC."""
        found: list[datetime] = []
        moment = to_utc(start)
        # One walk, not a question for each: a month of each minute is 43,200 times.
        for time in self._times(self._calm(moment)):
            if time > end:
                return found
            if time > moment:
                found.append(time)
                moment = time
        return found

    def a_month(self, now: datetime) -> int:
        """How often it comes in the 30 days after `now`."""
        return len(self.between(now, now + timedelta(days=30)))

    def _calm(self, moment: datetime) -> datetime:
        """This moment, or one before the clock change that was a short while ago."""
        before = moment - _CHANGE
        offsets = {time.astimezone(self._tz).utcoffset() for time in (before, moment)}
        return moment if len(offsets) == 1 else before

    def _times(self, moment: datetime, *, reverse: bool = False) -> Iterator[datetime]:
        local = moment.astimezone(self._tz)
        for time in CronSim(self.expression, local, reverse=reverse):
            yield time.astimezone(UTC)
