"""What a person sees of the workers' answers, in 80 columns and without colour."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smartworker.cli.inspect import Answer
from smartworker.cli.shown import about, plain

MISSING = "-"
Rows = list[tuple[Answer, Any]]


def print_active(rows: Rows) -> None:
    """A table for each worker."""

    def runs_for(task: dict[str, Any]) -> str:
        seconds = task["seconds"]
        return MISSING if seconds is None else about(timedelta(seconds=seconds))

    _print_tasks(rows, "Runs for", runs_for, "running")


def print_scheduled(rows: Rows, now: datetime) -> None:
    """A table for each worker."""

    def waits(task: dict[str, Any]) -> str:
        if task["waits_for"] is not None:
            return "an earlier run"
        try:
            eta = datetime.fromisoformat(task["eta"])
            return f"in {about(eta - now)}"
        except (TypeError, ValueError):
            return plain(task["eta"] or MISSING)

    _print_tasks(rows, "Waits for", waits, "waiting")


def print_registered(rows: Rows) -> None:
    """A line for each task, under the name of its worker."""
    for number, (answer, tasks) in enumerate(rows):
        _head(answer, number)
        for task in tasks:
            click.echo(f"  {plain(task)}")


def print_stats(rows: Rows) -> None:
    """Some lines for each worker."""
    for number, (answer, facts) in enumerate(rows):
        _head(answer, number)
        if answer.error is None:
            for name, value in _facts(facts):
                click.echo(f"  {name:<10} {value}")


def _facts(facts: dict[str, Any]) -> list[tuple[str, str]]:
    pool = plain(facts["pool"] or MISSING)
    if facts["processes"]:
        pool += f", {plain(facts['processes'])} at once"
    if str(facts["tasks_per_child"]).isdecimal():
        pool += f", a new child after {int(facts['tasks_per_child']):,} tasks"
    up = facts["uptime"]
    memory = facts["memory_kb"]
    tasks = facts["tasks"]
    lines = [
        ("pid", plain(facts["pid"] or MISSING)),
        (
            "up for",
            about(timedelta(seconds=up)) if isinstance(up, int) else MISSING,
        ),
        ("pool", pool),
        ("prefetch", plain(facts["prefetch"] or MISSING)),
        ("memory", f"{memory // 1024:,} MB" if isinstance(memory, int) else MISSING),
        ("tasks", f"{sum(tasks.values()):,} since its start"),
    ]
    return lines + [("", f"{count:,} {plain(name)}") for name, count in tasks.items()]


def _print_tasks(
    rows: Rows, heading: str, told: Callable[[dict[str, Any]], str], doing: str
) -> None:
    for number, (answer, tasks) in enumerate(rows):
        _head(answer, number)
        if answer.error is None and not tasks:
            click.echo(f"  No task is {doing}.")
        if not tasks:
            continue
        table = Table(box=box.SIMPLE_HEAD, pad_edge=True, show_edge=False)
        table.add_column("Task", overflow="fold", ratio=1)
        table.add_column(heading, no_wrap=True)
        table.add_column("Id", no_wrap=True)
        for task in tasks:
            job = f"\njob {plain(task['job'])}" if task["job"] else ""
            table.add_row(
                Text(plain(task["task"]) + job),
                Text(told(task)),
                Text(plain(task["id"])),
            )
        Console(highlight=False, markup=False).print(table)


def _head(answer: Answer, number: int) -> None:
    click.echo(f"{chr(10) if number else ''}{plain(answer.worker)}")
    if answer.error is not None:
        click.echo(f"  It cannot say: {plain(answer.error)}")
