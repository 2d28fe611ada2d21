"""`smartworker worker` and `smartworker web`: the two processes of a deployment."""

import sys
from importlib import import_module
from pathlib import Path

import click

from smartworker import logs
from smartworker.errors import SettingsError
from smartworker.leash import die_with_parent

READY_MADE = "smartworker.app:app"
OUR_OPTIONS = {"-A": "app", "--app": "app", "--ready-file": "ready_file"}


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
    options_metavar="[-A MODULE:APP] [OPTIONS OF celery worker]",
    short_help="Run a Celery worker.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def worker(arguments: tuple[str, ...]) -> None:
    """Run a Celery worker of the ready-made app, or of another one with -A.

    Every other option is one of `celery worker`, such as -c 2 -P threads -Q a,b.
    """
    from celery import signals
    from celery.bin.celery import celery

    from smartworker.cli.apps import find

    options, rest = take_options(arguments)
    app = options.get("app", READY_MADE)
    # Celery would answer with a traceback; met here, what is wrong is a sentence.
    find(app)
    if app == READY_MADE:
        import_tasks()
    if ready_file := options.get("ready_file"):
        signals.worker_ready.connect(
            lambda **_: Path(ready_file).touch(), weak=False, dispatch_uid="ready-file"
        )
    # A killed worker's messages are delivered again: its pool must not go on.
    signals.worker_process_init.connect(
        lambda **_: die_with_parent(), weak=False, dispatch_uid="leash"
    )
    # Celery reads sys.argv again for --detach and for the process title.
    sys.argv[1:] = ["-A", app, "worker", *rest]
    celery.main(args=sys.argv[1:], auto_envvar_prefix="CELERY")


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
        if flag not in OUR_OPTIONS:
            rest.append(word)
            continue
        value = value if equals else next(words, "")
        if not value:
            raise click.UsageError(f"Option '{flag}' requires an argument.")
        ours[OUR_OPTIONS[flag]] = value
    return ours, rest


@click.command(
    short_help="Serve the triggers, the jobs and the status of tasks.",
    epilog="""\b
Examples:
  smartworker web
  PORT=9000 smartworker web -A shop --host 127.0.0.1

Exit statuses: 0 stopped, 1 failed, 2 wrong usage, 78 a setting or a declaration is
wrong.
""",
)
@click.option(
    "-A",
    "--app",
    "app_name",
    default=READY_MADE,
    metavar="MODULE:APP",
    help="Your Celery app, whose jobs are served; without it the ready-made one.",
)
@click.option(
    "--host",
    default="0.0.0.0",  # noqa: S104 - Render and containers reach us from outside
    show_default=True,
    help="The address to listen on.",
)
def web(app_name: str, host: str) -> None:
    """Serve the triggers, the jobs and the task status on $PORT (8000).

    The jobs are those of `smartworker.setup(app, jobs=...)`. Of the ready-made app they
    come from the tasks modules: the module `jobs` beside each module of
    SMARTWORKER_TASKS (or it itself) has a function `declare(jobs)`.
    """
    from smartworker.cli.connection import load
    from smartworker.worker.journal import secrets

    app = load(app_name)
    if not app.conf.broker_url:
        raise SettingsError(
            "REDIS_URL is not set: the web process could not queue anything. "
            "`smartworker dev` brings a server along."
        )
    try:
        from smartworker.web.app import create_app
        from smartworker.web.serve import serve
    except ImportError as error:
        raise SettingsError(
            f"The web process needs {error.name}: install smartworker[web]."
        ) from error
    settings = app.smartworker
    logs.configure(settings.log_format, secrets(app))
    serve(create_app(app), host, settings.port)
