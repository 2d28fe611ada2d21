"""What a person sees of this month's commands, in 80 columns and without colour."""

from collections.abc import Iterable

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smartworker.cli.budget import ROW
from smartworker.cli.month import JobCost, Month
from smartworker.cli.shown import plain
from smartworker.forecast import Outlook
from smartworker.rows import month_end, month_start

MISSING = "-"
NOTHING = (
    "No process has recorded anything this month: start a worker, or ask\n"
    "`smartworker budget --offline` for the plan."
)


def print_month(month: Month) -> None:
    """Spent by cause and by job, what is to come, and what it means."""
    outlook = month.outlook
    begin = month_start(outlook.month)
    click.echo(f"{begin:%B %Y} in UTC, until {outlook.now:%d %b %H:%M}.\n")
    if outlook.by_cause:
        _print(_causes(outlook))
    else:
        click.echo(NOTHING)
    if month.jobs:
        click.echo()
        _print(_jobs(month.jobs, outlook))
    for line in _besides(month):
        click.echo(line)
    click.echo()
    _print(_to_come(outlook))
    click.echo(f"\n{_verdict(outlook)}")


def _causes(outlook: Outlook) -> Table:
    table = _table("Spent, by cause", "Commands", "Budget")
    biggest = sorted(outlook.by_cause.items(), key=lambda item: -item[1])
    for cause, commands in biggest:
        _row(table, cause, commands, _percent(outlook, commands))
    table.add_section()
    _row(table, "total", outlook.spent, _percent(outlook, outlook.spent))
    return table


def _jobs(jobs: Iterable[JobCost], outlook: Outlook) -> Table:
    table = _table("Of it, by job", "Runs", "Failed", "Each", "Commands", "Budget")
    for job in jobs:
        commands = job.commands
        share = MISSING if commands is None else _percent(outlook, commands)
        _row(table, job.name, job.runs, job.failed, job.each, commands, share)
    return table


def _besides(month: Month) -> Iterable[str]:
    kinds = ", ".join(f"{name} {count:,}" for name, count in month.kinds.items())
    if kinds:
        yield f"\nBy kind of process: {kinds}."
    if month.outlook.foreign:
        yield (
            f"Other producers published about {month.outlook.foreign:,} messages "
            "(an estimate)."
        )
    if month.before:
        yield f"The month before: {month.before:,}."


def _to_come(outlook: Outlook) -> Table:
    end = month_end(outlook.month)
    table = _table(f"Until {end:%d %B}", "Commands", "Budget")
    lines = [("idle polls", outlook.polls), (ROW, outlook.row)]
    lines += outlook.jobs.items()
    lines.append(("other work, at the rate so far", outlook.other))
    for name, commands in lines:
        _row(table, name, commands, _percent(outlook, commands))
    table.add_section()
    _row(table, "the whole month", outlook.total, _percent(outlook, outlook.total))
    return table


def _verdict(outlook: Outlook) -> str:
    limit = f"the budget of {outlook.budget:,} commands (SMARTWORKER_MONTHLY_BUDGET)"
    if outlook.spent >= outlook.budget:
        return f"Used up: {limit}.\nQuiet polls are widened, and work goes on."
    if outlook.used_up == outlook.now:
        return f"Used up, with what others publish:\n{limit}."
    if outlook.used_up is not None:
        return f"On {outlook.used_up:%d %B} this uses up\n{limit}."
    return f"That is {_percent(outlook, outlook.total)} of\n{limit}."


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column(first, overflow="fold", ratio=1, min_width=16)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _row(table: Table, name: str, *cells: int | str | None) -> None:
    table.add_row(Text(plain(name)), *(Text(_cell(cell)) for cell in cells))


def _cell(cell: int | str | None) -> str:
    if cell is None:
        return MISSING
    return cell if isinstance(cell, str) else f"{cell:,}"


def _percent(outlook: Outlook, commands: int) -> str:
    return f"{100 * commands / outlook.budget:.1f} %"


def _print(table: Table) -> None:
    Console(highlight=False, markup=False).print(table)
