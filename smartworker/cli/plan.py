"""`smartworker windows` and `smartworker simulate`: what the plan does and costs."""

import json
import os
from datetime import date, datetime, timedelta
from typing import Any

import click

from smartworker.budget import Forecast
from smartworker.budget import simulate as forecast_of
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


def _load(
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
    _, policy = _load(spans, quiet_poll, timezone)
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
    epilog="Examples: smartworker simulate --from 2026-11-01 --days 1; "
    "smartworker simulate --month 2026-11 --tasks 200"
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
@what_if
def simulate(
    first: date | None,
    days: int | None,
    month: date | None,
    workers: int,
    tasks: int,
    spans: str | None,
    quiet_poll: str | None,
    timezone: str | None,
    as_json: bool,
) -> None:
    """Forecast the polls and commands of a day, some days or a month."""
    if month and (first or days):
        raise click.UsageError("--month goes without --from and --days.")
    settings, policy = _load(spans, quiet_poll, timezone)
    first = month or first or policy.windows.local(system_clock.now()).date()
    length = _days_of_month(first) if month else (days or 1)
    forecast = forecast_of(
        policy,
        policy.windows.midnight(first),
        policy.windows.midnight(first + timedelta(days=length)),
        workers=workers,
        tasks=tasks * length,
        budget=settings.monthly_budget,
    )
    if as_json:
        click.echo(json.dumps(describe_forecast(policy, forecast)))
    else:
        from smartworker.cli.plan_print import print_forecast

        print_forecast(policy, forecast, length)


def _days_of_month(first: date) -> int:
    return ((first + timedelta(days=31)).replace(day=1) - first).days


def describe_forecast(policy: Policy, forecast: Forecast) -> dict[str, Any]:
    """The forecast as plain values; the contract of `simulate --json`."""
    local = policy.windows.local
    return {
        "polls": forecast.polls,
        "commands": forecast.commands,
        "from": local(forecast.start).isoformat(),
        "until": local(forecast.end).isoformat(),
        "timezone": str(policy.windows.zone),
        "workers": forecast.workers,
        "tasks": forecast.tasks,
        "monthly_budget": forecast.budget,
        "budget_share": round(forecast.budget_share, 6),
        "month_commands": forecast.month_commands,
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
        "hours": forecast.hours,
    }


def _seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())
