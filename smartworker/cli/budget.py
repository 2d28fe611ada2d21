"""`smartworker budget`: what this month costs, or what the plan says, item by item."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import click

from smartworker.budget import MONTH, simulate
from smartworker.cli.connection import EXIT_STATUSES, app_option, load, opened
from smartworker.cli.month import month_from
from smartworker.clock import system_clock
from smartworker.errors import SettingsError
from smartworker.policy import Policy
from smartworker.settings import Settings
from smartworker.store import processes
from smartworker.worker.declared import jobs_of
from smartworker.worker.overview import Row, declared

OVER = 1
#: The item of what keeping the sum of the month costs.
ROW = "rows of the processes"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that costs; `runs` and `commands` are of a month of 30 days."""

    name: str
    schedule: str | None = None
    runs: int | None = None
    each: int | None = None
    #: None for a job that runs whenever it is called.
    commands: int | None


@dataclass(frozen=True)
class Budget:
    """All items against what a month may cost."""

    items: tuple[Item, ...]
    limit: int

    @property
    def commands(self) -> int:
        """What can be foreseen of a month."""
        return sum(item.commands or 0 for item in self.items)

    @property
    def is_over(self) -> bool:
        """Whether a month costs more than it may."""
        return self.commands > self.limit

    def share(self, commands: int) -> float:
        """The part of the limit; 1.0 is all of it."""
        return commands / self.limit

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "monthly_budget": self.limit,
            "commands": self.commands,
            "budget_share": round(self.share(self.commands), 6),
            "over": self.is_over,
            "items": [
                {
                    **asdict(item),
                    "budget_share": None
                    if item.commands is None
                    else round(self.share(item.commands), 6),
                }
                for item in self.items
            ],
        }


@click.command(
    short_help="What this month has cost and will cost: by cause and by job.",
    epilog=f"""\b
Examples:
  smartworker budget
  smartworker budget -A shop --json
  smartworker budget --offline --workers 2 --tasks 500

Exit statuses: 0 within the budget, 1 the forecast is over it, 2 wrong usage,
{EXIT_STATUSES}.
""",
)
@app_option
@click.option(
    "--offline", is_flag=True, help="Ask no server: what the plan costs in 30 days."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    help="How many workers run; default as many as there are, and 1 offline.",
)
@click.option(
    "--tasks",
    type=click.IntRange(0, 10**9),
    default=0,
    help="Offline: tasks a day beside the jobs, each with a stored result.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def budget(
    app_name: str, offline: bool, workers: int | None, tasks: int, as_json: bool
) -> None:
    """Say what this month has cost, what it will cost, and for what.

    The limit is SMARTWORKER_MONTHLY_BUDGET; a forecast that is over it ends with exit
    status 1. 1 command; with --offline none, and only the plan is known.
    """
    app = load(app_name)
    if not offline and app.conf.broker_url:
        if tasks:
            raise click.UsageError("--tasks goes with --offline: tasks are measured.")
        over = tell_month(app_name, workers, as_json=as_json)
    else:
        load_tasks(app, app_name)
        if not offline and not as_json:
            click.echo("No broker is set (REDIS_URL), so this is the plan.", err=True)
        over = _tell_plan(app, workers or 1, tasks, as_json=as_json)
    if over:
        sys.exit(OVER)


def tell_month(app_name: str, workers: int | None, *, as_json: bool) -> bool:
    """Print this month, as it was recorded and will be; whether it is over."""
    with opened(app_name) as broker:
        rows = processes.read(broker.client, broker.prefix, processes.LOOK_CAUSE)
    app, now = broker.app, system_clock.now()
    load_tasks(app, app_name)
    found = month_from(app, rows, now, workers)
    if as_json:
        plan = plan_of(app, now, workers or found.workers)
        click.echo(json.dumps({**plan.as_json(), **found.as_json()}, indent=2))
    else:
        from smartworker.cli.month_print import print_month

        print_month(found)
    return found.outlook.is_over


def _tell_plan(app: Any, workers: int, tasks: int, *, as_json: bool) -> bool:
    made = plan_of(app, system_clock.now(), workers, tasks)
    if as_json:
        click.echo(json.dumps(made.as_json(), indent=2))
    else:
        from smartworker.cli.budget_print import print_budget

        print_budget(made)
    return made.is_over


def plan_of(app: Any, now: datetime, workers: int, tasks: int = 0) -> Budget:
    """What the plan of an app costs in 30 days; asks nobody."""
    rows = declared(jobs_of(app), app.smartworker, now, workers=workers, app=app)
    return budget_of(app.smartworker, rows, now, workers=workers, tasks=tasks)


def budget_of(
    settings: Settings,
    rows: Sequence[Row],
    now: datetime,
    *,
    workers: int = 1,
    tasks: int = 0,
) -> Budget:
    """The 30 days that begin today."""
    return Budget(
        tuple(_items(settings, rows, now, workers, tasks)), settings.monthly_budget
    )


def load_tasks(app: Any, app_name: str) -> None:
    """Import the tasks: what a run costs depends on them. Raises SettingsError."""
    try:
        app.loader.import_default_modules()
    except Exception as error:  # whatever a module does when it is imported
        raise SettingsError(
            f"The tasks of {app_name!r} cannot be imported: "
            f"{type(error).__name__}: {error}."
        ) from error


def _items(
    settings: Settings, rows: Sequence[Row], now: datetime, workers: int, tasks: int
) -> Iterator[Item]:
    policy = Policy(settings.windows, settings.quiet_poll)
    first = policy.windows.midnight(policy.windows.local(now).date())
    plan = simulate(
        policy,
        first,
        first + MONTH,
        workers=workers,
        tasks=tasks * MONTH.days,
        work=sum(row.month_commands or 0 for row in rows),
    )
    yield Item(name="idle polls", runs=plan.polls, each=1, commands=plan.polls)
    yield Item(name=ROW, commands=plan.row)
    for row in rows:
        schedule, month = row.job.schedule, row.month_commands
        yield Item(
            name=row.job.name,
            schedule=schedule.expression if schedule else None,
            runs=None if month is None else month // row.run_commands,
            each=row.run_commands,
            commands=month,
        )
    if tasks:
        commands = plan.task_commands + plan.lease_commands
        yield Item(name="tasks", runs=plan.tasks, commands=commands)
