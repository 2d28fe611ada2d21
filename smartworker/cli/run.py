"""`smartworker worker`: Celery's worker, with a word of ours before and beside it."""

import os
import sys
from importlib import import_module
from pathlib import Path

import click

from smartworker.cli.worker_help import WorkerCommand
from smartworker.errors import SettingsError
from smartworker.leash import die_with_parent

READY_MADE = "smartworker.app:app"
OUR_OPTIONS = {"-A": "app", "--app": "app", "--ready-file": "ready_file"}
OUR_FLAGS = {"--no-doctor": "no_doctor", "--help": "help", "-h": "help"}


@click.command(
    cls=WorkerCommand,
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
    options_metavar="[-A MODULE:APP] [OPTIONS]",
    short_help="Run a Celery worker.",
    epilog="""\b
Examples:
  smartworker worker
  smartworker worker -A shop -c 2 -Q orders,mail
  smartworker worker -A shop -P threads -c 8 --quiet-poll 1h

Exit statuses: 0 stopped by SIGTERM, 1 by Ctrl-C or with running tasks dropped, 2 wrong
usage, 69 Redis cannot be reached, 70 the worker was stuck, 78 a setting is wrong or
Redis refused it.
""",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="")
@click.pass_context
def worker(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Run a Celery worker of the ready-made app, or of another one with -A.

    SIGTERM and Ctrl-C stop it: what has not begun goes back, running tasks end. A
    second one drops them, and they go back too.
    """
    from celery.bin.celery import celery

    from smartworker.cli.apps import find

    options, rest = take_options(arguments)
    if "help" in options:
        click.echo(ctx.get_help())
        return
    app = options.get("app", READY_MADE)
    # Celery would answer with a traceback; met here, what is wrong is a sentence.
    found = find(app)
    if app == READY_MADE:
        import_tasks()
    # A stock app is Celery's matter alone.
    looks = "no_doctor" not in options and hasattr(found, "smartworker")
    listen(options.get("ready_file"), looks=looks)
    # Celery reads sys.argv again for --detach and for the process title.
    sys.argv[1:] = ["-A", app, "worker", *rest]
    celery.main(args=sys.argv[1:], auto_envvar_prefix="CELERY")


def listen(ready_file: str | None, *, looks: bool) -> None:
    """Do what belongs to moments of the worker's life, when they come.

    The ready file is empty while tasks are taken, and says so when that ends.
    """
    from celery import signals

    from smartworker.cli.first_look import look_aside

    if ready_file:
        note = Path(ready_file)
        signals.worker_ready.connect(
            lambda **_: note.touch(), weak=False, dispatch_uid="ready-file"
        )
        signals.worker_shutting_down.connect(
            lambda **_: note.write_text("stopping", "utf-8"),
            weak=False,
            dispatch_uid="note",
        )
    if looks:
        # Not before: a pool is forked while the worker starts.
        signals.worker_ready.connect(
            lambda sender, **_: look_aside(sender.app, os.environ, kind="worker"),
            weak=False,
            dispatch_uid="doctor",
        )
    # A killed worker's messages are delivered again: its pool must not go on.
    signals.worker_process_init.connect(
        lambda **_: die_with_parent(), weak=False, dispatch_uid="leash"
    )


def import_tasks() -> None:
    """Import the tasks modules; one that is missing is a sentence."""
    from smartworker.app import settings

    for module in settings.tasks:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"SMARTWORKER_TASKS names {module!r}, and there is no {error.name!r}."
            ) from error


def take_options(arguments: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    """Our own options by name, and everything that is Celery's, untouched."""
    ours: dict[str, str] = {}
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if word in OUR_FLAGS:
            ours[OUR_FLAGS[word]] = word
            continue
        if flag not in OUR_OPTIONS:
            rest.append(word)
            continue
        value = value if equals else next(words, "")
        if not value:
            raise click.UsageError(f"Option '{flag}' requires an argument.")
        ours[OUR_OPTIONS[flag]] = value
    return ours, rest
