"""`smartworker purge`: throws away what waits in queues."""

import json
import sys
from typing import Any

import click

from smartworker.cli.connection import EXIT_STATUSES, app_option, opened
from smartworker.cli.plan_options import Checked
from smartworker.cli.shown import plain
from smartworker.worker.purge import Backlog, count, is_ours, queues_of
from smartworker.worker.purge import purge as throw_away

EMPTY = "No message waits."


def read_queues(text: str) -> tuple[str, ...]:
    """Names of queues. Raises ValueError for what is none."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(names):
        raise ValueError("a queue has a name: write them as celery,email.")
    for name in names:
        if is_ours(name):
            raise ValueError(
                f"{name!r} is no queue: smartworker keeps there what workers hold, or "
                "its records. `smartworker dead drop` throws dead letters away."
            )
    return names


@click.command(
    short_help="Throw away the messages that wait in queues.",
    epilog=f"""\b
Examples:
  smartworker purge
  smartworker purge -A shop -Q email,analytics --yes

\b
Exit statuses: 0 done, 1 it was not confirmed, 2 wrong usage,
{EXIT_STATUSES}.
""",
)
@app_option
@click.option(
    "-Q",
    "--queues",
    type=Checked("names", read_queues),
    metavar="QUEUE,...",
    help="Only these; without it all that the app consumes or sends to.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print facts for programs.")
def purge(
    app_name: str, queues: tuple[str, ...] | None, yes: bool, as_json: bool
) -> None:
    """Throw away the messages that wait in queues, after a question.

    What workers have taken stays with them, and so do tasks with an ETA that they
    hold; dead letters stay, too. What is sent after the question stays. Runs of jobs
    end as REVOKED. 1 command for each queue and priority step, 1 per 1,000 messages,
    and for each run of a job 2, or 5 if its runs must not overlap.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("It needs --yes where nobody can be asked.")
    with opened(app_name) as broker:
        backlogs = count(broker, queues or queues_of(broker.app))
        if not yes and not _confirmed(backlogs):
            return
        try:
            throw_away(broker, backlogs)
        finally:
            # Also if the server has gone: what was dropped is dropped.
            _report(backlogs, as_json)


def _confirmed(backlogs: list[Backlog]) -> bool:
    """Show what waits, and ask; false if there is nothing to ask."""
    for backlog in backlogs:
        click.echo(f"{plain(backlog.queue)}: {backlog.messages:,}", err=True)
    total = sum(backlog.messages for backlog in backlogs)
    if total:
        what = "this message" if total == 1 else f"these {total:,} messages"
        click.confirm(f"Throw {what} away, for good?", abort=True, err=True)
    else:
        click.echo(EMPTY)
    return bool(total)


def _report(backlogs: list[Backlog], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([_facts(backlog) for backlog in backlogs], indent=2))
        return
    for backlog in backlogs:
        for task, number in sorted(backlog.dropped.items()):
            click.echo(f"{plain(backlog.queue)}: {number:,} {plain(task)}")
    total = sum(backlog.dropped.total() for backlog in backlogs)
    click.echo(f"{total:,} dropped." if total else EMPTY)


def _facts(backlog: Backlog) -> dict[str, Any]:
    return {
        "queue": backlog.queue,
        "waited": backlog.messages,
        "dropped": backlog.dropped.total(),
        "tasks": dict(sorted(backlog.dropped.items())),
    }
