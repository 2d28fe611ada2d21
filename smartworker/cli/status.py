"""`smartworker status`: what the running workers say about themselves."""

import json
from datetime import datetime, timedelta, tzinfo
from itertools import chain
from typing import Any

import click
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from smartworker.cli.asking import ask, question
from smartworker.cli.connection import EXIT_STATUSES, load
from smartworker.cli.shown import plain
from smartworker.durations import format_duration

COMMAND = "smart_status"
TIMES = {
    "since": "since",
    "until": "until",
    "last_poll": "last poll",
    "next_poll": "next poll",
}


@click.command(
    short_help="Ask the running workers what they do and what it costs.",
    epilog=f"Exit statuses: 0 a worker answered, 1 none did, 2 wrong usage, "
    f"{EXIT_STATUSES}.",
)
@question
def status(app_name: str, timeout: float, as_json: bool) -> None:
    """Ask the running workers: window, interval, polls, commands by cause."""
    app = load(app_name)
    answers = [
        {"worker": name, **answer}
        for name, answer in ask(app, COMMAND, timeout).items()
    ]
    if as_json:
        click.echo(json.dumps(answers, indent=2))
        return
    for answer in answers:
        Console().print(panel(answer, app.smartworker.windows.zone))


def panel(answer: dict[str, Any], zone: tzinfo) -> Panel:
    """One worker for people."""
    if "error" in answer:
        text = f"No smartworker: it answers {str(answer['error'])!r}."
        return Panel(Text(text), title=Text(answer["worker"]), border_style="yellow")
    rows = Table.grid(padding=(0, 2))
    for name, value in facts(answer, zone):
        rows.add_row(Text(name, style="bold"), Text(value))
    done = answer.get("tasks")
    body = Group(
        rows,
        *([tasks(done)] if done else []),
        costs(answer["commands"], answer["billed"]),
    )
    return Panel(body, title=Text(answer["worker"]), expand=False)


def facts(answer: dict[str, Any], zone: tzinfo) -> list[tuple[str, str]]:
    """The rows about time and connection."""
    poll = format_duration(timedelta(seconds=answer["poll_seconds"]))
    return [
        ("window", answer["window"] or "none is open"),
        ("poll", f"every {poll}: {answer['reason']}"),
        *((label, shown_time(answer[name], zone)) for name, label in TIMES.items()),
        ("doorbell", answer["doorbell"]),
        ("broker", answer["broker"]),
        *trouble(answer.get("trouble"), zone),
        ("queues", ", ".join(answer["queues"])),
        ("tasks held", str(answer["held"])),
    ]


def trouble(found: dict[str, Any] | None, zone: tzinfo) -> list[tuple[str, str]]:
    """The rows about an outage; none while there is none."""
    if found is None:
        return []
    return [
        ("trouble", f"{found['kind']}: {found['error']}"),
        ("", found["advice"]),
        ("since", shown_time(found["since"], zone)),
        ("next try", shown_time(found["next_try"], zone)),
    ]


def tasks(found: dict[str, dict[str, Any]]) -> Table:
    """What became of each kind of task since the start."""
    table = Table(title="Tasks", title_justify="left")
    table.add_column("task", overflow="fold")
    for name in ("done", "failed", "tried again", "seconds each", "longest"):
        table.add_column(name, justify="right")
    for name, row in found.items():
        runs = row["succeeded"] + row["failed"] + row["retried"]
        counts = (row["succeeded"], row["failed"], row["retried"])
        times = (row["seconds"] / runs, row["longest"])
        table.add_row(
            plain(name), *map(str, counts), *(f"{seconds:.3g}" for seconds in times)
        )
    return table


def costs(commands: dict[str, dict[str, int]], billed: int) -> Table:
    """Commands by cause since the start, with the sum that Upstash bills."""
    total = sum(chain.from_iterable(counts.values() for counts in commands.values()))
    table = Table(title="Redis commands", title_justify="left", show_footer=True)
    table.add_column("cause", footer="all")
    table.add_column("commands", footer=str(total), justify="right")
    table.add_column("of them", footer=f"billed: {billed}")
    for cause, counts in sorted(commands.items()):
        names = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        table.add_row(cause, str(sum(counts.values())), names)
    return table


def shown_time(text: str | None, zone: tzinfo) -> str:
    """A moment on the clocks of the windows' zone; `-` for none."""
    if text is None:
        return "-"
    return f"{datetime.fromisoformat(text).astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"
