"""What-if jobs of `smartworker simulate`: a cron expression, and what its runs cost."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from smartworker.budget import JobShare, run_commands
from smartworker.cron.schedule import Schedule
from smartworker.settings import Settings

_STEP = timedelta(microseconds=1)
_HOURS_OF_A_MONTH = 30 * 24


@dataclass(frozen=True)
class WhatIfJob:
    """A job that nobody has declared."""

    name: str
    expression: str


def read_job(text: str) -> WhatIfJob:
    """`NAME=EXPRESSION`, or the expression alone. Raises ValueError."""
    name, mark, expression = text.rpartition("=")
    job = WhatIfJob(name.strip() if mark else text.strip(), expression.strip())
    Schedule(job.expression, "UTC")
    if not job.name:
        raise ValueError(f"{text!r} has no name in front of the '='.")
    return job


def share_of(
    job: WhatIfJob,
    settings: Settings,
    start: datetime,
    end: datetime,
    *,
    workers: int,
    rings: bool,
) -> JobShare:
    """What the job costs from `start` up to `end`; each run stores its result."""
    schedule = Schedule(job.expression, settings.timezone)
    costs = run_commands(
        looks=workers - 1,
        history=settings.database_url is None,
        hourly=schedule.a_month(start) > _HOURS_OF_A_MONTH,
    )
    return JobShare(
        name=job.name,
        schedule=job.expression,
        runs=len(schedule.between(start - _STEP, end - _STEP)),
        each=sum(map(len, costs.values())) + rings,
    )
