"""What a person sees of a month's budget, in 80 columns and without colour."""

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smartworker.cli.budget import Budget, Item

MISSING = "-"


def print_budget(budget: Budget) -> None:
    """A row for each item, the total, and what it means."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column("In 30 days", overflow="fold", ratio=1)
    table.add_column("Schedule", no_wrap=True)
    for name in ("Runs", "Each", "Commands", "Budget"):
        table.add_column(name, justify="right", no_wrap=True)
    for item in budget.items:
        table.add_row(*map(Text, _cells(budget, item)))
    table.add_section()
    total = Item(name="total", commands=budget.commands)
    table.add_row(*map(Text, _cells(budget, total)))
    Console(highlight=False, markup=False).print(table)
    click.echo(f"\n{_verdict(budget)}")


def _cells(budget: Budget, item: Item) -> tuple[str, ...]:
    commands = item.commands
    return (
        item.name,
        item.schedule or "",
        MISSING if item.runs is None and item.each else _number(item.runs),
        _number(item.each),
        "when called" if commands is None else _number(commands),
        "" if commands is None else _percent(budget, commands),
    )


def _number(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _percent(budget: Budget, commands: int) -> str:
    return f"{100 * budget.share(commands):.1f} %"


def _verdict(budget: Budget) -> str:
    limit = f"the budget of {budget.limit:,} commands (SMARTWORKER_MONTHLY_BUDGET)"
    if not budget.is_over:
        return f"That is {_percent(budget, budget.commands)} of\n{limit}."
    dearest = max(budget.items, key=lambda item: item.commands or 0)
    return (
        f"That is {budget.commands - budget.limit:,} more than\n{limit}.\n"
        f"The most goes to {dearest.name}: {_percent(budget, dearest.commands or 0)} "
        "of the budget."
    )
