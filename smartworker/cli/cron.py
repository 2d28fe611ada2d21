"""`smartworker cron`: configuration for the services that call the triggers."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import click

from smartworker.cli.connection import app_option, job_of, load
from smartworker.cli.plan_options import Checked
from smartworker.clock import system_clock
from smartworker.cron.schedule import Schedule
from smartworker.deploy.callers import CALLERS, Caller, Wishes, render
from smartworker.durations import parse_duration
from smartworker.settings import is_local
from smartworker.worker.declared import jobs_of

#: A caller, and the command for all of them.
RENDER = "render"
PLACEHOLDER = "https://your-service.example"
LONGEST_LEAD = timedelta(hours=1)
EXIT_STATUSES = (
    "Exit statuses: 0 done, 1 no such job, or none has a schedule, 2 wrong usage, 78 a "
    "setting or a declaration is wrong."
)

# What neither a shell nor YAML nor a crontab reads as anything else.
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def read_url(text: str) -> str:
    """The address of a web process, without a slash at its end."""
    if not _ADDRESS.fullmatch(text):
        raise ValueError(
            f"{text!r} is no address of a web service: write it as "
            "https://shop.onrender.com, without a query."
        )
    parts = urlsplit(text)
    if parts.scheme == "http" and not is_local(parts.hostname or ""):
        raise ValueError(f"{text!r} would send the token in the clear: write https://.")
    return text.rstrip("/")


def read_lead(text: str) -> timedelta | None:
    """How long before a slot; None for `off`."""
    if text.lower() == "off":
        return None
    try:
        lead = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{error}, and not off.") from None
    if lead > LONGEST_LEAD or lead % timedelta(minutes=1):
        raise ValueError(f"{text!r} is not 1m to 1h in whole minutes, and not off.")
    return lead


def read_variable(text: str) -> str:
    """The name of a variable or a secret."""
    if not _VARIABLE.fullmatch(text):
        raise ValueError(f"{text!r} is no name for a variable, such as CRON_TOKEN.")
    return text


def read_schedule(text: str) -> str:
    """Five fields."""
    return Schedule(text, "UTC").expression


@click.group(
    short_help="Make configuration for cron services; import Celery's schedule.",
    epilog=f"""\b
Examples:
  smartworker cron render github --url https://shop.onrender.com > cron.yml
  smartworker cron render cron-job-org -A shop --url https://shop.onrender.com | sh
  smartworker cron import -A shop > jobs.py

{EXIT_STATUSES}
""",
)
def cron() -> None:
    """Print what a cron service must be given to call the jobs at their times.

    The token is never printed: the output reads it from a secret or a variable.
    """


def wishes_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that all callers have."""
    for option in (
        app_option,
        click.option(
            "--schedule",
            type=Checked("schedule", read_schedule),
            help="For jobs that have none, such as '0 21 * * *', in the job's zone.",
        ),
        click.option(
            "--secret",
            default=Wishes.secret,
            show_default=True,
            type=Checked("name", read_variable),
            help="What the caller's variable with the token is called.",
        ),
        click.option(
            "--utc",
            is_flag=True,
            help="All expressions in UTC, for a caller that knows no zones.",
        ),
        click.option(
            "--prewarm",
            "lead",
            default="2m",
            show_default=True,
            type=Checked("duration", read_lead),
            help="Wake a sleeping web service so long before; off: never.",
        ),
        click.option(
            "--job",
            "names",
            multiple=True,
            metavar="NAME",
            help="Only this job; may be repeated.",
        ),
        click.option(
            "--url",
            type=Checked("address", read_url),
            envvar="RENDER_EXTERNAL_URL",
            help="Where the web process answers, such as https://shop.onrender.com.",
        ),
    ):
        command = option(command)
    return command


def print_for(
    caller: Caller,
    url: str | None,
    names: tuple[str, ...],
    app_name: str,
    **wishes: Any,
) -> None:
    """Print the configuration for one caller, and what to know of it."""
    app = load(app_name)
    jobs = jobs_of(app)
    chosen = [job_of(app, name, app_name) for name in names] or jobs
    wanted = Wishes(url=url or PLACEHOLDER, **wishes)
    rendered = render(caller, chosen, wanted, system_clock.now())
    click.echo(rendered.text, nl=False)
    for warning in rendered.warnings:
        click.echo(f"smartworker: {warning}", err=True)
    if url is None:
        click.echo(
            f"smartworker: Without --url the output names {PLACEHOLDER}: give --url, "
            "or replace it.",
            err=True,
        )


@cron.command(
    RENDER,
    short_help="Print the configuration for a TARGET; without one for Render.",
    epilog=EXIT_STATUSES,
)
@click.argument(
    "target",
    type=click.Choice(list(CALLERS)),
    default=RENDER,
    metavar="[TARGET]",
)
@wishes_options
def render_(target: str, **options: Any) -> None:
    """Print the configuration for a cron service; without TARGET for Render.

    TARGET is render, github, cron-job-org, qstash, google or crontab.

    `smartworker cron github` is the same as `smartworker cron render github`.
    """
    print_for(CALLERS[target], **options)


def command_for(caller: Caller) -> click.Command:
    """The subcommand that prints the configuration for one caller."""

    def print_it(**options: Any) -> None:
        print_for(caller, **options)

    print_it.__doc__ = f"Print the configuration for {caller.title}."
    return click.command(caller.name, epilog=EXIT_STATUSES)(wishes_options(print_it))


for each in CALLERS.values():
    if each.name != RENDER:
        cron.add_command(command_for(each))


@cron.command(
    "import",
    short_help="Print job declarations for Celery's beat_schedule.",
    epilog="Exit statuses: 0 done, 2 wrong usage, 78 the app cannot be imported.",
)
@app_option
def import_(app_name: str) -> None:
    """Print a module that declares the jobs of Celery's beat_schedule.

    The app need not be a smartworker yet, and no server is asked. Save the output
    as `jobs.py` beside the tasks. What a job cannot do as Beat did it stands there in
    comments.
    """
    from smartworker.cli.apps import find
    from smartworker.cli.beat import entries_of
    from smartworker.deploy.declarations import declarations

    app = find(app_name)
    entries = entries_of(app)
    text = declarations(entries, str(app.timezone))
    click.echo(text, nl=False)
    if "\n    # " in text:
        declared = text.count("\n    jobs.declare(")
        click.echo(
            f"smartworker: {declared} of {len(entries)} entries are declared; comments "
            "in the module say what is not as Beat had it.",
            err=True,
        )
