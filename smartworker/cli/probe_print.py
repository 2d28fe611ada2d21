"""How the answers of `smartworker doctor --probe` look in a terminal."""

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from smartworker.cli.shown import plain
from smartworker.durations import format_duration
from smartworker.store.probe import Bell, Silence

if TYPE_CHECKING:
    from smartworker.cli.probe import Results


def print_probe(found: "Results") -> None:
    """A row for each question."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    middle, longest = (1000 * seconds for seconds in found.latency)
    rows = Table.grid(padding=(0, 2))
    answers: list[tuple[str, str]] = [
        ("round trip", f"{middle:.1f} ms, at most {longest:.1f} ms.")
    ]
    answers += [("refused", refused_words(found.refused))]
    if found.bell is not None:
        answers += [("keyspace events", bell_words(found.bell))]
    answers += [(f"silent {each.kind}", silence_words(each)) for each in found.silence]
    for name, text in answers:
        rows.add_row(Text(name), Text(plain(text)))
    Console(highlight=False, markup=False).print(rows)


def refused_words(refused: dict[str, str]) -> str:
    """Which commands, and what the server says of the first."""
    if not refused:
        return "nothing; all commands of smartworker pass."
    names = ", ".join(name.replace("|", " ").upper() for name in refused)
    said = next(iter(refused.values())).rstrip(".")
    return f"{names} ({said[:120]})."


def bell_words(bell: Bell) -> str:
    """Whether they came, and which flags are set."""
    if bell.before is None:
        flags = "CONFIG is refused, so the flags are unknown"
    elif bell.before != bell.after:
        flags = f"flags were {bell.before or 'off'}, and are {bell.after} now"
    else:
        flags = f"flags are {bell.after or 'off'}"
    if bell.error is not None:
        return f"unknown: {bell.error.rstrip('.')}; {flags}."
    return f"they {'arrive' if bell.rang else 'do not arrive'}; {flags}."


def silence_words(silence: Silence) -> str:
    """How long it lived."""
    passed = format_duration(timedelta(seconds=silence.seconds))
    if silence.alive:
        return f"alive after {passed}."
    return f"{'closed' if silence.told else 'dead, without a word,'} after {passed}."


def print_step(told: dict[str, Any]) -> None:
    """What the counter should say now."""
    if told["error"] is not None:
        click.echo(f"{told['name']}: refused ({plain(told['error'])[:120]}).")
        return
    click.echo(f"{told['name']}: the counter goes up by")
    for text, count in told["expected"].items():
        click.echo(f"  {count:>9,}  {text}")


def ask_for_counter(when: str) -> None:
    """Let a person read the provider's counter, which may lag by a minute."""
    click.echo(f"Read the counter now, {when}, then press Enter.", err=True)
    sys.stdin.readline()
