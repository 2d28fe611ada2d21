"""What a person sees of cron jobs, in 80 columns and without colour."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smartworker.cli.shown import about, plain
from smartworker.store.runs import RunRecord
from smartworker.worker.overview import Row

MISSING = "-"
NONE = (
    "No job is declared: give smartworker.setup(app, jobs=jobs) some, or declare them "
    "in a function declare(jobs), as docs/cron.md shows."
)
_DAY = timedelta(days=1)
_WEEK = timedelta(days=6)


def print_jobs(rows: list[Row], now: datetime) -> None:
    """A row for each job, and what a month of them costs."""
    if not rows:
        click.echo(NONE)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column("Job", overflow="fold", ratio=1)
    for name in ("State", "Last run", "Next due"):
        table.add_column(name, no_wrap=True)
    table.add_column("Commands", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            Text("\n".join(_what(row))),
            Text(row.state or MISSING),
            Text(_last(row, now)),
            Text(_next(row, now)),
            Text(_cost(row)),
            end_section=True,
        )
    Console(highlight=False, markup=False).print(table)
    _print_errors(rows)
    total = sum(row.month_commands or 0 for row in rows)
    many = f"{len(rows)} jobs" if len(rows) > 1 else "1 job"
    click.echo(f"\n{many}, {total:,} commands a month by their schedules.")


def _print_errors(rows: list[Row]) -> None:
    errors = [(row.job.name, row.last.error) for row in rows if row.last is not None]
    for number, (name, error) in enumerate(pair for pair in errors if pair[1]):
        click.echo(f"{'' if number else chr(10)}{name}: {plain(error)}")


def _what(row: Row) -> Iterator[str]:
    """The name, the task, and when it is due."""
    yield row.job.name
    yield plain(row.job.task)
    if row.job.schedule is None:
        yield "when called"
    else:
        yield row.job.schedule.expression
        yield row.job.schedule.zone


def _last(row: Row, now: datetime) -> str:
    """When it was, how it ended and how long it took."""
    last = row.last
    if last is None:
        return MISSING
    lines = [_ago(last, now), plain(last.state.lower())]
    if last.seconds is not None:
        lines.append(f"took {_seconds(last.seconds)}")
    return "\n".join(lines)


def _ago(last: RunRecord, now: datetime) -> str:
    try:
        started = datetime.fromisoformat(last.started)
        return f"{about(now - started)} ago"
    except (TypeError, ValueError):
        return plain(last.started)


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s"
    return about(timedelta(seconds=seconds))


def _next(row: Row, now: datetime) -> str:
    """On the clocks of the job's own zone."""
    if row.next_due is None or row.job.schedule is None:
        return MISSING
    local = row.next_due.astimezone(ZoneInfo(row.job.schedule.zone))
    if row.next_due - now < _DAY:
        day = ""
    elif row.next_due - now < _WEEK:
        day = f"{local:%a} "
    else:
        day = f"{local:%d %b} "
    return f"{day}{local:%H:%M %Z}\nin {about(row.next_due - now)}"


def _cost(row: Row) -> str:
    if row.month_commands is None:
        return f"{row.run_commands} a run"
    return f"{row.month_commands:,} a month\n{row.run_commands} a run"
