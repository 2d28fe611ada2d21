"""What a person sees of dead letters, in 80 columns and without colour."""

import json
from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smartworker.broker.envelope import Unreadable, read
from smartworker.cli.shown import about, plain, plain_lines, queue_name
from smartworker.store.dead import DeadLetter

MOMENT = "%Y-%m-%d %H:%M:%S %Z"
MISSING = "-"


def print_list(letters: list[DeadLetter], now: datetime, *, filtered: bool) -> None:
    """A row for each letter."""
    if not letters:
        click.echo("No dead letter fits." if filtered else "No dead letters.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("Id", no_wrap=True)
    table.add_column("Died", no_wrap=True)
    for name in ("Reason", "Queue", "Task"):
        table.add_column(name, overflow="fold")
    for letter in letters:
        facts = letter.facts
        table.add_row(
            letter.id,
            f"{about(now - letter.last)} ago",
            Text(plain(facts.reason)),
            Text(queue_name(facts.queue) or MISSING),
            Text(plain(facts.task or MISSING)),
        )
    Console(highlight=False, markup=False).print(table)
    count = len(letters)
    click.echo(f"\n{count:,} dead letter{'' if count == 1 else 's'}.")


def print_letter(letter: DeadLetter, zone: tzinfo) -> None:
    """Everything that is known of one letter."""
    rows = list(_rows(letter, zone))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")
    if letter.facts.history:
        click.echo("\nHistory")
        for entry in letter.facts.history:
            click.echo(f"  {_death(entry, zone)}")
    found = contents(letter.raw)
    if found["body"] is not None:
        click.echo("\nBody")
        click.echo(plain(json.dumps(found["body"], ensure_ascii=False)))
    click.echo("\nMessage")
    click.echo(plain_lines(letter.raw))


def _rows(letter: DeadLetter, zone: tzinfo) -> Iterator[tuple[str, str]]:
    facts = letter.facts
    detail = f": {plain(facts.detail)}" if facts.detail else ""
    yield "Dead letter", letter.id
    yield "Task", plain(facts.task or MISSING)
    yield "Task id", plain(facts.task_id or MISSING)
    yield "Queue", queue_name(facts.queue) or MISSING
    yield "Reason", f"{plain(facts.reason)}{detail}"
    yield "Attempts", plain(facts.attempts)
    yield "Died", letter.last.astimezone(zone).strftime(MOMENT)
    if letter.first != letter.last:
        yield "First died", letter.first.astimezone(zone).strftime(MOMENT)
    yield "Size", f"{len(letter.raw):,} bytes"


def _death(entry: dict[str, Any], zone: tzinfo) -> str:
    """One earlier death of a letter."""
    died, back = (
        datetime.fromisoformat(entry[name]).astimezone(zone).strftime(MOMENT)
        for name in ("at", "requeued")
    )
    reason = plain(entry["reason"])
    return f"{died}  {reason}, attempts {plain(entry['attempts'])}, requeued {back}"


def contents(raw: bytes) -> dict[str, Any]:
    """The message as text, and what its body says if that is JSON."""
    text = raw.decode("utf-8", "backslashreplace")
    return {"message": text, "body": _body(raw)}


def _body(raw: bytes) -> Any:
    try:
        payload = read(raw)
        body = payload.get("body") or ""
        if payload["properties"].get("body_encoding") == "base64":
            body = b64decode(body)
        return json.loads(body)
    except (Unreadable, ValueError, RecursionError):
        return None
