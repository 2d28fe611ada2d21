"""`smartworker windows` and `smartworker simulate`: what the plan does and costs."""

import json
import os
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

import click

from smartworker.budget import Forecast
from smartworker.budget import simulate as forecast_of
from smartworker.cli.plan_jobs import WhatIfJob, read_job, share_of
from smartworker.cli.plan_options import (
    Checked,
    read_day,
    read_instant,
    read_month,
    what_if,
)
from smartworker.clock import system_clock
from smartworker.policy import Policy
from smartworker.settings import Settings


def load(
    spans: str | None, quiet_poll: str | None, timezone: str | None
) -> tuple[Settings, Policy]:
    """The settings of the environment, with the options laid over them."""
    options = {
        "SMARTWORKER_WINDOWS": spans,
        "SMARTWORKER_QUIET_POLL": quiet_poll,
        "SMARTWORKER_TIMEZONE": timezone,
    }
    given = {name: text for name, text in options.items() if text is not None}
    settings = Settings.from_environment({**os.environ, **given})
    return settings, Policy(settings.windows, settings.quiet_poll)


@click.command(
    epilog="Example: smartworker windows --at 2026-11-01T01:30:00-04:00 --json"
)
@click.option(
    "--at", type=Checked("instant", read_instant), help="Ask for this, not for now."
)
@what_if
def windows(
    at: datetime | None,
    spans: str | None,
    quiet_poll: str | None,
    timezone: str | None,
    as_json: bool,
) -> None:
    """Show which window is open, since when and until when."""
    _, policy = load(spans, quiet_poll, timezone)
    now = at or system_clock.now()
    if as_json:
        click.echo(json.dumps(describe(policy, now)))
    else:
        from smartworker.cli.plan_print import print_windows

        print_windows(policy, now)


def describe(policy: Policy, now: datetime) -> dict[str, Any]:
    """The decision as plain values; the contract of `windows --json`."""
    decision = policy.decide(now)
    local = policy.windows.local
    return {
        "window": decision.window,
        "poll_seconds": _seconds(decision.poll),
        "since": decision.since and local(decision.since).isoformat(),
        "until": decision.until and local(decision.until).isoformat(),
        "at": local(now).isoformat(),
        "timezone": str(policy.windows.zone),
        "reason": decision.reason,
    }


@click.command(
    epilog="""\b
Examples:
  smartworker simulate --from 2026-11-01 --days 1
  smartworker simulate --month 2026-11 --tasks 200
  smartworker simulate --workers 2 --job 'sync=* * * * *' --windows 8:00-20:00=1m
"""
)
@click.option(
    "--from", "first", type=Checked("day", read_day), help="First day; default today."
)
@click.option(
    "--days", type=click.IntRange(1, 366), help="How many local days; default 1."
)
@click.option(
    "--month", type=Checked("month", read_month), help="A calendar month: 2026-11."
)
@click.option("--workers", type=click.IntRange(1, 1000), default=1, show_default=True)
@click.option(
    "--tasks",
    type=click.IntRange(0, 10**9),
    default=0,
    show_default=True,
    help="Tasks a day, each with a stored result.",
)
@click.option(
    "--job",
    "jobs",
    type=Checked("job", read_job),
    multiple=True,
    help="A job more, such as 'sync=*/5 * * * *'; several times for several.",
)
@click.option(
    "--doorbell",
    type=click.Choice(("keyspace", "publish")),
    help="Instead of SMARTWORKER_DOORBELL: who rings.",
)
@click.option(
    "--running",
    is_flag=True,
    help="The workers are ready before; without it they get ready when it begins.",
)
@what_if
def simulate(
    first: date | None,
    days: int | None,
    month: date | None,
    workers: int,
    tasks: int,
    jobs: tuple[WhatIfJob, ...],
    doorbell: str | None,
    running: bool,
    spans: str | None,
    quiet_poll: str | None,
    timezone: str | None,
    as_json: bool,
) -> None:
    """Forecast the polls and commands of a day, some days or a month.

    With --windows, --quiet-poll, --workers, --job or --doorbell also how much that
    differs from the present plan: the settings of the environment and one worker.
    """
    if month and (first or days):
        raise click.UsageError("--month goes without --from and --days.")
    settings, policy = load(spans, quiet_poll, timezone)
    first = month or first or policy.windows.local(system_clock.now()).date()
    length = _days_of_month(first) if month else (days or 1)
    what = WhatIf(workers, tasks * length, jobs, doorbell, running)
    forecast = _forecast(settings, policy, first, length, what)
    present = None
    if workers > 1 or jobs or doorbell or spans or quiet_poll:
        plan = load(None, None, timezone)
        alone = WhatIf(tasks=tasks * length, running=running)
        present = _forecast(*plan, first, length, alone)
    if as_json:
        click.echo(json.dumps(describe_forecast(policy, forecast, present)))
    else:
        from smartworker.cli.plan_print import print_forecast

        print_forecast(policy, forecast, length, present)


@dataclass(frozen=True)
class WhatIf:
    """What else there is beside the settings; `tasks` are those of the whole time."""

    workers: int = 1
    tasks: int = 0
    jobs: tuple[WhatIfJob, ...] = ()
    doorbell: str | None = None
    running: bool = False


def _forecast(
    settings: Settings, policy: Policy, first: date, days: int, what: WhatIf
) -> Forecast:
    start = policy.windows.midnight(first)
    end = policy.windows.midnight(first + timedelta(days=days))
    rings = (what.doorbell or settings.doorbell) == "publish"
    return forecast_of(
        policy,
        start,
        end,
        workers=what.workers,
        tasks=what.tasks,
        budget=settings.monthly_budget,
        rings=rings,
        running=what.running,
        jobs=tuple(
            share_of(job, settings, start, end, workers=what.workers, rings=rings)
            for job in what.jobs
        ),
    )


def _days_of_month(first: date) -> int:
    return ((first + timedelta(days=31)).replace(day=1) - first).days


def describe_forecast(
    policy: Policy, forecast: Forecast, present: Forecast | None = None
) -> dict[str, Any]:
    """The forecast as plain values; the contract of `simulate --json`."""
    local = policy.windows.local
    now = None if present is None else present.month_commands
    return {
        "polls": forecast.polls,
        "commands": forecast.commands,
        "row": forecast.row,
        "from": local(forecast.start).isoformat(),
        "until": local(forecast.end).isoformat(),
        "timezone": str(policy.windows.zone),
        "workers": forecast.workers,
        "tasks": forecast.tasks,
        "monthly_budget": forecast.budget,
        "budget_share": round(forecast.budget_share, 6),
        "month_commands": forecast.month_commands,
        "present_month_commands": now,
        "month_difference": None if now is None else forecast.month_commands - now,
        "dollars": round(forecast.dollars, 6),
        "windows": [
            {
                "window": share.window,
                "poll_seconds": _seconds(share.poll),
                "open_seconds": _seconds(share.open),
                "polls": share.polls,
            }
            for share in forecast.shares
        ],
        "jobs": [{**asdict(job), "commands": job.commands} for job in forecast.jobs],
        "hours": forecast.hours,
    }


def _seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())
