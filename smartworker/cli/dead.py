"""`smartworker dead`: the messages that nobody could or may run."""

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from smartworker.broker.letters import (
    Gone,
    Outcome,
    Selection,
    dead_letters,
    drop,
    find,
    letter_id,
    missing,
    requeue,
    server_now,
)
from smartworker.broker.returns import REASONS
from smartworker.cli.connection import EXIT_STATUSES, app_option, opened
from smartworker.cli.plan_options import Checked
from smartworker.cli.shown import plain, queue_name
from smartworker.durations import parse_duration
from smartworker.worker.link import Link

EPILOG = f"""\b
Examples:
  smartworker dead list --reason max_deliveries --older-than 2d
  smartworker dead show 1764026888123-0
  smartworker dead requeue 1764026888123-0
  smartworker dead requeue --task shop.tasks.charge
  smartworker dead drop --all --yes

Exit statuses: 0 done, 1 some letters were refused or not found, 2 wrong usage,
{EXIT_STATUSES}.
"""
UNDECIDED = (
    "Name dead letters by ID, choose them with --task, --reason or --older-than, or "
    "use --all."
)
NONE = "No dead letter fits."

as_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print facts for programs."
)
id_type = Checked("id", letter_id)


@click.group(
    short_help="List, show, requeue or drop messages that nobody could run.",
    epilog=EPILOG,
)
def dead() -> None:
    """Look after dead letters: messages that nobody could or may run.

    A message dies when it cannot be read, when no worker knows its task, or when it
    was delivered too often (SMARTWORKER_MAX_DELIVERIES) and never finished. It is
    kept for 30 days.
    """


def queue(text: str) -> str:
    """The name of a queue, as it was written. Raises ValueError for none."""
    if not text.strip():
        raise ValueError("a queue has a name, such as celery.")
    return text


def choice(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose letters by what is known of them."""
    for option in (
        click.option(
            "--older-than",
            type=Checked("duration", parse_duration),
            help="Only those that died longer ago than this, such as 2d.",
        ),
        click.option(
            "--reason", type=click.Choice(REASONS), help="Only those that died of it."
        ),
        click.option("--task", help="Only those of this task."),
    ):
        command = option(command)
    return command


def bulk(command: Callable[..., None]) -> Callable[..., None]:
    """The arguments and options of what changes letters."""
    for option in (
        as_json_option,
        app_option,
        click.option("--yes", "-y", is_flag=True, help="Do not ask with --all."),
        click.option(
            "--all", "everything", is_flag=True, help="All there are; asks first."
        ),
        choice,
        click.argument("ids", nargs=-1, type=id_type, metavar="[ID]..."),
    ):
        command = option(command)
    return command


@dead.command("list", short_help="List dead letters, oldest first.", epilog=EPILOG)
@choice
@app_option
@as_json_option
def list_(app_name: str, as_json: bool, **chosen: Any) -> None:
    """List dead letters, oldest first. 1 command per 100, and 1."""
    selection = Selection(**chosen)
    with opened(app_name) as broker:
        now = server_now(broker.channel)
        found = find(dead_letters(broker.channel), selection, now)
        # Without the bytes: 10,000 letters may have many of them.
        letters = (letter for _, letter in found if letter)
        if as_json:
            facts = [letter.as_json() for letter in letters]
            click.echo(json.dumps(facts, indent=2))
        else:
            from smartworker.cli.dead_print import print_list

            bare = [replace(letter, raw=b"") for letter in letters]
            print_list(bare, now, filtered=not selection.everything)


@dead.command(short_help="Show one dead letter with its message.", epilog=EPILOG)
@click.argument("wanted", type=id_type, metavar="ID")
@app_option
@as_json_option
def show(wanted: str, app_name: str, as_json: bool) -> None:
    """Show the facts, the history and the message of one dead letter. 1 command."""
    from smartworker.cli.dead_print import contents, print_letter

    with opened(app_name) as broker:
        letter = dead_letters(broker.channel).get(wanted)
        zone = broker.app.smartworker.windows.zone
    if letter is None:
        raise Gone(missing(wanted))
    if as_json:
        facts = {**letter.as_json(), **contents(letter.raw)}
        click.echo(json.dumps(facts, indent=2))
    else:
        print_letter(letter, zone)


@dead.command("requeue", short_help="Put dead letters back.", epilog=EPILOG)
@bulk
@click.option(
    "--queue",
    type=Checked("name", queue),
    help="Into this queue, not into their own.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Also what died within an hour of being requeued, and what cannot be read.",
)
def requeue_(
    ids: tuple[str, ...],
    everything: bool,
    yes: bool,
    app_name: str,
    as_json: bool,
    queue: str | None,
    force: bool,
    **chosen: Any,
) -> None:
    """Put dead letters back into their queues, with fresh attempts.

    8 commands a letter, at most. One that died again within an hour of being
    requeued is refused.
    """
    selection = chosen_by(ids, everything=everything, yes=yes, **chosen)
    outcomes: list[Outcome] = []
    with opened(app_name) as broker:
        now = server_now(broker.channel)
        ask(broker, "Requeue", selection, yes=yes)
        try:
            for outcome in requeue(
                broker.channel, selection, now, queue=queue, forced=force
            ):
                outcomes.append(outcome)
                if not as_json:
                    tell(outcome)
        finally:
            # Also if the server has gone: what was done is done.
            report([outcome.as_json() for outcome in outcomes], "requeued", as_json)
    if not outcomes and not as_json:
        click.echo(NONE)
    sys.exit(int(any(outcome.outcome != "requeued" for outcome in outcomes)))


@dead.command("drop", short_help="Throw dead letters away.", epilog=EPILOG)
@bulk
def drop_(
    ids: tuple[str, ...],
    everything: bool,
    yes: bool,
    app_name: str,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Throw dead letters away, for good. 1 command per 100, and 1 per ID."""
    selection = chosen_by(ids, everything=everything, yes=yes, **chosen)
    lost: list[str] = []
    gone: list[str] = []
    with opened(app_name) as broker:
        now = server_now(broker.channel)
        ask(broker, "Drop", selection, yes=yes)
        letters = dead_letters(broker.channel)
        for wanted, letter in find(letters, selection, now):
            (lost if letter is None else gone).append(wanted)
        drop(letters, gone)
    outcomes = [{"id": wanted, "outcome": "dropped"} for wanted in gone]
    outcomes += [{"id": wanted, "outcome": "missing"} for wanted in lost]
    if not as_json:
        for wanted in lost:
            complain(missing(wanted))
    report(outcomes, "dropped", as_json)
    if not outcomes and not as_json:
        click.echo(NONE)
    sys.exit(int(bool(lost)))


def chosen_by(
    ids: tuple[str, ...], *, everything: bool, yes: bool, **chosen: Any
) -> Selection:
    """The selection; wrong usage if nobody can know, or ask, what is meant."""
    selection = Selection(ids, **chosen)
    if everything and not selection.everything:
        raise click.UsageError(
            "--all goes without IDs, --task, --reason, --older-than."
        )
    if selection.everything and not everything:
        raise click.UsageError(UNDECIDED)
    if everything and not yes and not sys.stdin.isatty():
        raise click.UsageError("--all needs --yes where nobody can be asked.")
    return selection


def ask(broker: Link, verb: str, selection: Selection, *, yes: bool) -> None:
    """Let a person confirm that all letters are meant. 1 command."""
    if yes or not selection.everything:
        return
    count = dead_letters(broker.channel).count()
    if count:
        what = "the only dead letter" if count == 1 else f"all {count:,} dead letters"
        click.confirm(f"{verb} {what}?", abort=True, err=True)


def tell(outcome: Outcome) -> None:
    """One line about one letter."""
    if outcome.outcome != "requeued":
        complain(plain(outcome.detail))
        return
    where = queue_name(outcome.queue or "")
    task = f" ({plain(outcome.task)})" if outcome.task else ""
    click.echo(f"{outcome.id}{task} went to {where}")


def complain(sentence: str) -> None:
    """A sentence that is no result."""
    click.echo(f"smartworker: {sentence}", err=True)


def report(outcomes: list[dict[str, Any]], done: str, as_json: bool) -> None:
    """All outcomes for programs, or their numbers for people, if there are any."""
    if as_json:
        click.echo(json.dumps(outcomes, indent=2))
        return
    counts = Counter(outcome["outcome"] for outcome in outcomes)
    words = {done: done, "refused": "refused", "missing": "not found"}
    parts = [f"{counts[name]:,} {word}" for name, word in words.items() if counts[name]]
    if parts:
        click.echo(f"{', '.join(parts)}.")
