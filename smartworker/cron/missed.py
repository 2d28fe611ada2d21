"""Which slots somebody has to look after: nobody may have called for them.

Nothing is asked here and no clock is read. A slot is looked at twice at the most: when
its grace is over (it is late) and when its deadline is (it is missed).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from smartworker.cron.registry import Job
from smartworker.cron.schedule import Schedule
from smartworker.cron.slots import EARLY, Slot

#: A call that came at the last moment may still be under way.
SLACK = timedelta(seconds=2)
#: How long after its deadline a slot is looked at in any case, if the look was not
#: possible in time.
DELAY = timedelta(minutes=5)
#: Other clocks may be ahead of ours by so much.
_AHEAD = timedelta(minutes=1)


@dataclass(frozen=True)
class Look:
    """A slot whose grace or deadline is over; somebody has to ask for its record."""

    job: Job
    slot: Slot
    #: Whether its deadline is over, and not only its grace.
    missed: bool


class Lookout:
    """The slots of all jobs with a schedule, as one worker sees them."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs: dict[str, Job] = {}
        self._schedules: dict[str, Schedule] = {}
        for job in jobs:
            if job.schedule is not None:
                self._jobs[job.name], self._schedules[job.name] = job, job.schedule
        self._seen: dict[str, set[datetime]] = {name: set() for name in self._jobs}
        self._since: dict[str, datetime] = {}
        self._until: datetime | None = None

    def __bool__(self) -> bool:
        return bool(self._jobs)

    @property
    def times(self) -> dict[str, str]:
        """job -> when it is due, in words that only change when that does."""
        return {name: _times(job) for name, job in self._jobs.items()}

    def know(self, since: Mapping[str, datetime]) -> None:
        """Slots up to these times are nobody's business: the job was not known yet."""
        self._since = dict(since)

    def see(self, job: str, time: datetime) -> None:
        """This worker has the message of a slot: nobody has to ask for it."""
        if job in self._seen:
            self._seen[job].add(time)

    def due(self, now: datetime) -> list[Look]:
        """The slots to ask for, by job and time.

        The first time these are the ones that were missed while no worker ran.
        """
        return [look for job in self._jobs.values() for look in self._of(job, now)]

    def done(self, now: datetime) -> None:
        """All looks that were due by `now` have been taken."""
        self._until = now
        for name, job in self._jobs.items():
            begin, end = now - job.patience - SLACK, now + _AHEAD
            # A message may come in another thread meanwhile.
            seen = tuple(self._seen[name])
            self._seen[name] = {time for time in seen if begin < time < end}

    def next_look(self, now: datetime) -> datetime | None:
        """When the next slot is to be looked at; None if there are no jobs."""
        until = now if self._until is None else self._until
        times = [
            self._schedules[name].after(until - wait - SLACK) + wait + SLACK
            for name, job in self._jobs.items()
            for wait in {job.grace, job.patience}
        ]
        return min(times, default=None)

    def counts(self, look: Look) -> bool:
        """Whether the job was known when the slot came."""
        since = self._since.get(look.job.name)
        return since is None or look.slot.time > since

    def _of(self, job: Job, now: datetime) -> Iterator[Look]:
        missed = self._passed(job, job.patience, now)
        # What was missed long ago was looked for, or is beyond what may be made up.
        for time in missed[-job.catch_up_cap :]:
            yield from self._look(job, time, missed=True)
        if job.patience > job.grace and self._until is not None:
            for time in self._passed(job, job.grace, now):
                if time > now - job.patience - SLACK:
                    yield from self._look(job, time, missed=False)

    def _look(self, job: Job, time: datetime, *, missed: bool) -> Iterator[Look]:
        look = Look(job, Slot(time, scheduled=True), missed)
        allowed = job.windows is None or job.windows.at(time) is not None
        if allowed and time not in self._seen[job.name] and self.counts(look):
            yield look

    def _passed(self, job: Job, wait: timedelta, now: datetime) -> list[datetime]:
        """The slots whose time to wait has ended since the last look."""
        start = now - _reach(job)
        if job.name in self._since:
            start = max(start, self._since[job.name])
        if self._until is not None:
            start = max(start, self._until - wait - SLACK)
        return self._schedules[job.name].between(start, now - wait - SLACK)


def plan(looks: Iterable[Look], now: datetime) -> list[tuple[Look, bool]]:
    """What becomes of missed slots that have no record: (slot, is it made up for)."""
    by_job: dict[str, list[Look]] = {}
    for look in looks:
        by_job.setdefault(look.job.name, []).append(look)
    return [
        (
            look,
            _made_up(look, now) and (look.job.catch_up == "all" or look is group[-1]),
        )
        for group in by_job.values()
        for look in group
    ]


def _made_up(look: Look, now: datetime) -> bool:
    job = look.job
    if job.catch_up == "skip" or now - look.slot.time > job.catch_up_within:
        return False
    return job.windows is None or job.windows.at(now) is not None


def _times(job: Job) -> str:
    parts = [job.schedule.expression, job.schedule.zone] if job.schedule else []
    spans = job.windows.spans if job.windows else ()
    return " ".join([*parts, *(span.name for span in spans)])


def _reach(job: Job) -> timedelta:
    """How far back slots are looked for; what is older has no record any more."""
    wanted = max(job.catch_up_within, job.patience + DELAY)
    return min(wanted, job.retention - EARLY)
