"""`smartworker budget`: what an app will cost in a month, item by item."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import click

from smartworker.budget import MONTH, simulate
from smartworker.cli.connection import app_option, load
from smartworker.clock import system_clock
from smartworker.errors import SettingsError
from smartworker.policy import Policy
from smartworker.settings import Settings
from smartworker.worker.declared import jobs_of
from smartworker.worker.overview import Row, declared

OVER = 1


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
    short_help="What a month costs: idle polls, each job, and the total.",
    epilog="""\b
Examples:
  smartworker budget
  smartworker budget -A shop --workers 2 --tasks 500
  smartworker budget -A shop --json

Exit statuses: 0 within the budget, 1 over it, 2 wrong usage, 78 a setting is wrong.
""",
)
@app_option
@click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="How many workers run.",
)
@click.option(
    "--tasks",
    type=click.IntRange(0, 10**9),
    default=0,
    show_default=True,
    help="Tasks a day beside the jobs, each with a stored result.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def budget(app_name: str, workers: int, tasks: int, as_json: bool) -> None:
    """Say what a month of 30 days costs, and which part of it each job is.

    The limit is SMARTWORKER_MONTHLY_BUDGET; a plan that is over it ends with exit
    status 1. No server is asked.
    """
    app = load(app_name)
    load_tasks(app, app_name)
    now = system_clock.now()
    made = budget_of(
        app.smartworker,
        declared(jobs_of(app), app.smartworker, now, workers=workers, app=app),
        now,
        workers=workers,
        tasks=tasks,
    )
    if as_json:
        click.echo(json.dumps(made.as_json(), indent=2))
    else:
        from smartworker.cli.budget_print import print_budget

        print_budget(made)
    if made.is_over:
        sys.exit(OVER)


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
    except ImportError as error:
        raise SettingsError(
            f"The tasks of {app_name!r} cannot be imported: {error}."
        ) from error


def _items(
    settings: Settings, rows: Sequence[Row], now: datetime, workers: int, tasks: int
) -> Iterator[Item]:
    policy = Policy(settings.windows, settings.quiet_poll)
    first = policy.windows.midnight(policy.windows.local(now).date())
    plan = simulate(
        policy, first, first + MONTH, workers=workers, tasks=tasks * MONTH.days
    )
    yield Item(name="idle polls", runs=plan.polls, each=1, commands=plan.polls)
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
