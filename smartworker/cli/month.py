"""This month as the rows of all processes tell it, and how it will end."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from smartworker.forecast import Outlook, forecast
from smartworker.policy import Policy
from smartworker.rows import Row, month_before, runs_of, total_before, workers_of
from smartworker.worker.presence import timetables


@dataclass(frozen=True)
class JobCost:
    """A job this month: how its runs ended, and what all of them cost."""

    name: str
    succeeded: int
    failed: int
    retried: int
    #: None for a job that is not declared any more.
    each: int | None

    @property
    def runs(self) -> int:
        """All runs."""
        return self.succeeded + self.failed + self.retried

    @property
    def commands(self) -> int | None:
        """What they cost, at the price of the plan."""
        return None if self.each is None else self.runs * self.each


@dataclass(frozen=True)
class Month:
    """Everything that `smartworker budget` tells of a month."""

    outlook: Outlook
    jobs: tuple[JobCost, ...]
    #: Commands by kind of process.
    kinds: dict[str, int]
    #: Workers that run now, at least one.
    workers: int
    before: int

    def as_json(self) -> dict[str, Any]:
        """For programs; times in UTC."""
        return {
            **self.outlook.as_json(),
            "by_job": [
                {**asdict(job), "runs": job.runs, "commands": job.commands}
                for job in self.jobs
            ],
            "by_process": self.kinds,
            "workers": self.workers,
            "month_before": self.before,
        }


def month_from(
    app: Any, rows: Sequence[Row], now: datetime, workers: int | None = None
) -> Month:
    """The month that `now` lies in; `workers`: not as many as there are now."""
    settings = app.smartworker
    many = workers or max(workers_of(rows, now), 1)
    jobs = timetables(app, many)
    outlook = forecast(
        rows,
        now,
        policy=Policy(settings.windows, settings.quiet_poll),
        jobs=jobs,
        budget=settings.monthly_budget,
        workers=many,
    )
    kinds: Counter[str] = Counter()
    for row in rows:
        if row.month == outlook.month:
            kinds[row.kind] += row.billed
    return Month(
        outlook=outlook,
        jobs=tuple(_jobs(rows, outlook.month, {job.name: job.each for job in jobs})),
        kinds=dict(sorted(kinds.items())),
        workers=many,
        before=total_before(rows, month_before(outlook.month)),
    )


def _jobs(rows: Sequence[Row], month: str, prices: dict[str, int]) -> list[JobCost]:
    found = [
        JobCost(
            name=name,
            succeeded=outcomes.get("succeeded", 0),
            failed=outcomes.get("failed", 0),
            retried=outcomes.get("retried", 0),
            each=prices.get(name),
        )
        for name, outcomes in runs_of(rows, month).items()
    ]
    return sorted(found, key=lambda job: -(job.commands or 0))
