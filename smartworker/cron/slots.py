"""Which slot a call means: the scheduled time that it counts for."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from smartworker.cron.registry import Job
from smartworker.windows import to_utc

#: A caller's clock may run ahead of ours.
EARLY = timedelta(seconds=5)


@dataclass(frozen=True)
class Slot:
    """One time at which a job runs, in UTC: scheduled, or the minute of a call."""

    time: datetime
    scheduled: bool

    def __str__(self) -> str:
        return stamp(self.time)


def slot_of(job: Job, now: datetime) -> Slot | None:
    """The slot that a call at `now` counts for; None if the job is not due.

    A call counts for the last scheduled time until its grace is over, and where the
    job does not insist on being due, until its deadline. Any other call is a run of
    its own, and its slot the minute of the call.
    """
    now = to_utc(now)
    if job.schedule is not None:
        time = job.schedule.last(now + EARLY)
        if now - time <= (job.grace if job.only_when_due else job.patience):
            return Slot(time, scheduled=True)
        if job.only_when_due:
            return None
    return minute_of(now)


def minute_of(now: datetime) -> Slot:
    """The slot of a run that no schedule asked for."""
    return Slot(to_utc(now).replace(second=0, microsecond=0), scheduled=False)


def stamp(moment: datetime) -> str:
    """A moment as it stands in answers: UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
