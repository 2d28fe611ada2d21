"""What a month will have cost at its end: what was spent, and what is still to come."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from smartworker.budget import simulate
from smartworker.policy import Policy
from smartworker.rows import (
    Row,
    messages_of,
    month_end,
    month_of,
    month_start,
    runs_of,
    spent,
)
from smartworker.windows import to_utc

#: The rate of a shorter time says little: a start alone would cost a fortune a month.
SHORTEST_MEASURE = timedelta(days=1)
#: The cause of the polls, which the plan foretells.
POLL = "poll"
#: The cause of writing and reading the rows, which the plan foretells, too.
ROW = "row"
_STEP = timedelta(microseconds=1)


@dataclass(frozen=True)
class Timetable:
    """A job of the plan: what one run costs, and how often it comes in a stretch."""

    name: str
    each: int
    #: Runs later than the first moment, up to and including the second; None: it has
    #: no schedule.
    between: Callable[[datetime, datetime], int] | None = None


@dataclass(frozen=True)
class Outlook:
    """One month at one moment. All numbers are billed commands."""

    month: str
    now: datetime
    budget: int
    by_cause: dict[str, int]
    #: Messages that were done here and that none of our processes published: about one
    #: command each. An estimate, which leaves out what other producers send besides.
    foreign: int
    #: To come: idle polls, the jobs by name, other work at the measured rate, and the
    #: rows of the processes.
    polls: int
    jobs: dict[str, int]
    other: int
    row: int = 0

    @property
    def spent(self) -> int:
        """What all processes have recorded so far."""
        return sum(self.by_cause.values())

    @property
    def to_come(self) -> int:
        """What the rest of the month costs."""
        return self.polls + self.row + sum(self.jobs.values()) + self.other

    @property
    def total(self) -> int:
        """The whole month."""
        return self.spent + self.foreign + self.to_come

    @property
    def is_over(self) -> bool:
        """Whether the month costs more than it may."""
        return self.total > self.budget

    @property
    def used_up(self) -> datetime | None:
        """When the budget is used up at an even rate; None: not in this month."""
        left = self.budget - self.spent - self.foreign
        if left <= 0:
            return self.now
        if self.to_come <= left:
            return None
        rest = month_end(self.month) - self.now
        return self.now + rest * (left / self.to_come)

    def as_json(self) -> dict[str, Any]:
        """For programs; times in UTC."""
        used_up = self.used_up
        return {
            "month": self.month,
            "spent": self.spent,
            "spent_share": round(self.spent / self.budget, 6),
            "by_cause": self.by_cause,
            "foreign_estimate": self.foreign,
            "to_come": {
                "polls": self.polls,
                "row": self.row,
                "jobs": self.jobs,
                "other": self.other,
            },
            "forecast": self.total,
            "forecast_share": round(self.total / self.budget, 6),
            "monthly_budget": self.budget,
            "over": self.is_over,
            "used_up": used_up and used_up.isoformat(timespec="seconds"),
        }


def forecast(
    rows: Iterable[Row],
    now: datetime,
    *,
    policy: Policy,
    jobs: Iterable[Timetable],
    budget: int,
    workers: int = 1,
) -> Outlook:
    """The UTC month that `now` lies in, with what the rows say of it.

    The polls to come are those of the plan, as are the runs of jobs and the rows;
    everything else goes on as it went since the first row of the month.
    """
    rows, now = [*rows], to_utc(now)
    month, jobs = month_of(now), [*jobs]
    end = month_end(month)
    by_cause, runs = spent(rows, month), runs_of(rows, month)
    prices = {job.name: job.each for job in jobs}
    done = sum(
        prices.get(name, 0) * sum(outcomes.values()) for name, outcomes in runs.items()
    )
    planned = {
        # What comes at the month's end is of the next one.
        job.name: job.each * job.between(now, end - _STEP)
        for job in jobs
        if job.between
    }
    plain = by_cause.get(POLL, 0) + by_cause.get(ROW, 0)
    other = max(sum(by_cause.values()) - plain - done, 0)
    # Jobs that run when they are called go on as they were called.
    called = sum(
        prices[name] * sum(outcomes.values())
        for name, outcomes in runs.items()
        if name in prices and name not in planned
    )
    messages = messages_of(rows, month)
    foreign = max(messages.get("done", 0) - messages.get("published", 0), 0)
    left = (end - now) / max(now - _since(rows, month), SHORTEST_MEASURE)
    work = sum(planned.values()) + round((other + called) * left)
    plan = simulate(policy, now, end, workers=workers, work=work, running=True)
    return Outlook(
        month=month,
        now=now,
        budget=budget,
        by_cause=by_cause,
        foreign=foreign,
        polls=plan.polls,
        jobs=planned,
        other=round((other + called + foreign) * left),
        row=plan.row,
    )


def _since(rows: list[Row], month: str) -> datetime:
    """Since when this month is measured."""
    begin = month_start(month)
    starts = [datetime.fromisoformat(r.started) for r in rows if r.month == month]
    return max(min(starts, default=begin), begin)
