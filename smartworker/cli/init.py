"""`smartworker init`: the files with which a platform runs the project."""

import platform as machine
import re
from pathlib import Path, PurePosixPath
from typing import Any

import click

from smartworker.cli.apps import find
from smartworker.cli.connection import app_option, load
from smartworker.cli.cron import read_variable
from smartworker.cli.init_print import print_written
from smartworker.cli.plan_options import Checked
from smartworker.cli.run import READY_MADE
from smartworker.clock import system_clock
from smartworker.deploy.platforms import (
    PLATFORMS,
    Platform,
    files_of,
    missing,
    warnings_of,
)
from smartworker.deploy.project import (
    LONGEST_NAME,
    SERVICES,
    Project,
    install_of,
    name_of,
)
from smartworker.deploy.writing import write_all
from smartworker.worker.configuration import brings_broker
from smartworker.worker.declared import jobs_of

#: https://render.com/docs/regions
REGIONS = ("frankfurt", "ohio", "oregon", "singapore", "virginia")
OLDEST_PYTHON = (3, 11)

BROKER = (
    "{app} names its broker itself: leave that to smartworker.setup, or see that the "
    "app reads the same variables as these files set."
)

_NAME = re.compile(rf"[a-z](-?[a-z0-9]){{0,{LONGEST_NAME - 1}}}", re.ASCII)
#: As Debian's adduser takes it, and some more.
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)
#: What ends a value in supervisor's file, and cannot be escaped there.
_COMMENT = re.compile(r"\s[;#]")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)", re.ASCII)


def read_name(text: str) -> str:
    """A name that services, files, users and containers may have."""
    if not _NAME.fullmatch(text) or len(text) > LONGEST_NAME:
        raise ValueError(
            f"{text!r} is no name for services: write small letters, digits and single "
            f"hyphens, a letter first, {LONGEST_NAME} at most."
        )
    return text


def read_user(text: str) -> str:
    """A user of the server, who need not be there here."""
    if not _USER.fullmatch(text):
        raise ValueError(f"{text!r} is no user such as shop or www-data.")
    return text


def read_python(text: str) -> str:
    """A version of Python that smartworker runs on, with its patch."""
    found = _VERSION.fullmatch(text)
    if not found or (int(found[1]), int(found[2])) < OLDEST_PYTHON:
        raise ValueError(f"{text!r} is no version such as 3.13.9, from 3.11 up.")
    return text


def read_home(text: str) -> str:
    """An absolute path on the server, which need not be there here."""
    if not PurePosixPath(text).is_absolute() or not text.isprintable():
        raise ValueError(f"{text!r} is no path such as {SERVICES}/shop.")
    if _COMMENT.search(text):
        raise ValueError(f"supervisor would read a comment in {text!r}: name another.")
    return str(PurePosixPath(text))


@click.command(
    short_help="Write the files with which a platform runs the project.",
    epilog="""\b
Examples:
  smartworker init render -A shop:app
  smartworker init render -A shop:app --single
  smartworker init docker -A shop:app --env STRIPE_KEY
  smartworker init systemd -A shop:app --home /srv/shop

Exit statuses: 0 written, 1 a file is there already or cannot be written, 2 wrong usage,
78 the app cannot be imported, or a setting or a declaration is wrong.
""",
)
@click.argument("target", type=click.Choice(list(PLATFORMS)), metavar="PLATFORM")
@app_option
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    show_default="this one",
    help="The folder to write into.",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.option(
    "--name",
    type=Checked("name", read_name),
    help="What the services are called; without it as the app's module.",
)
@click.option(
    "--single",
    is_flag=True,
    help="Web and worker as one service, which Render's free plan allows.",
)
@click.option(
    "--env",
    "variables",
    multiple=True,
    type=Checked("name", read_variable),
    metavar="NAME",
    help="A further variable that your app needs; may be repeated.",
)
@click.option(
    "--python",
    type=Checked("version", read_python),
    help="For render, docker, heroku: the Python version; without it this one's.",
)
@click.option(
    "--cron",
    is_flag=True,
    help="For render: cron services for the jobs, too, $1 a month each or more.",
)
@click.option(
    "--region",
    type=click.Choice(REGIONS),
    help="For render: where the services run; oregon if not given.",
)
@click.option(
    "--home",
    type=Checked("path", read_home),
    help="For systemd and supervisor: where the project, with its virtual environment "
    f".venv, is on the server; {SERVICES}/NAME if not given.",
)
@click.option(
    "--user",
    type=Checked("name", read_user),
    help="For supervisor: who runs the programs; NAME if not given.",
)
def init(target: str, app_name: str, into: Path, force: bool, **options: Any) -> None:
    """Write the files with which PLATFORM runs web process, worker and jobs.

    PLATFORM is render, docker, systemd, supervisor or heroku. A file that is there is
    never replaced without --force: then nothing is written at all. No secret is in any
    of them, and no server is asked.
    """
    platform = PLATFORMS[target]
    _check_options(platform, options)
    project = project_of(app_name, options)
    now = system_clock.now()
    made = files_of(platform, project, now)
    files = missing(made, Path(), into)
    write_all(into, files, force=force)
    print_written(platform, project, [into / file.path for file in files])
    warnings = warnings_of(platform, project, now)
    if project.app is not None and brings_broker(find(project.app)):
        warnings.append(BROKER.format(app=project.app))
    for warning in warnings:
        click.echo(f"smartworker: {warning}", err=True)


def project_of(app_name: str, options: dict[str, Any]) -> Project:
    """The project in the current folder, with the jobs that its app declares.

    Raises SettingsError or JobError if the app cannot be used.
    """
    jobs = tuple(jobs_of(load(app_name)))
    app = None if app_name == READY_MADE else app_name
    name = options["name"] or name_of(app)
    return Project(
        name=name,
        app=app,
        jobs=jobs,
        install=install_of(Path()),
        python=options["python"] or machine.python_version().rstrip("+"),
        single=options["single"],
        cron=options["cron"],
        variables=options["variables"],
        home=options["home"] or f"{SERVICES}/{name}",
        region=options["region"] or Project.region,
        user=options["user"] or name,
    )


def _check_options(platform: Platform, options: dict[str, Any]) -> None:
    """Refuse an option that this platform's files would not show."""
    for each in ("python", "cron", "region", "home", "user"):
        if options[each] and each not in platform.options:
            where = [name for name, one in PLATFORMS.items() if each in one.options]
            raise click.UsageError(f"--{each} goes with {' or '.join(where)}.")
