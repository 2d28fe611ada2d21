"""The connection of commands that work on the broker of an app themselves."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from smartworker.cli.apps import check_tasks, find
from smartworker.cli.run import READY_MADE
from smartworker.cron.registry import Job
from smartworker.errors import (
    BrokerRefused,
    SettingsError,
    SmartworkerError,
    UnknownJob,
)
from smartworker.store.client import RedisError, ResponseError, explain
from smartworker.store.refusals import DENIED, OTHER, classify
from smartworker.worker.asking import plain_errors
from smartworker.worker.declared import jobs_of
from smartworker.worker.link import Link, open_link

#: For each command that works on a broker.
EXIT_STATUSES = "69 Redis cannot be reached, 78 a setting is wrong or Redis refused it"


def app_option(command: Callable[..., None]) -> Callable[..., None]:
    """The option that names another app than the ready-made one."""
    return click.option(
        "-A",
        "--app",
        "app_name",
        default=READY_MADE,
        metavar="MODULE:APP",
        help="Your Celery app; without it the ready-made one.",
    )(command)


def load(app_name: str) -> Any:
    """The app with its configuration complete. Raises SettingsError."""
    from celery import Celery

    from smartworker.worker.configuration import complete

    app = find(app_name)
    if not isinstance(app, Celery) or getattr(app, "smartworker", None) is None:
        raise SettingsError(
            f"{app_name!r} is no smartworker: call smartworker.setup(app) where it is "
            "made."
        )
    if app_name == READY_MADE:
        check_tasks()
    complete(app)
    return app


def job_of(app: Any, name: str, app_name: str) -> Job:
    """The job of this name. Raises UnknownJob, with the nearest name or where to look.

    `app_name`: what was given as -A.
    """
    jobs = jobs_of(app)
    try:
        return jobs.get(name)
    except UnknownJob as error:
        said = str(error)
        if said.endswith("?"):
            raise
        where = f"{spoken('jobs', app_name)} lists those that the app declares."
        raise UnknownJob(f"{said} {where}") from error


def spoken(command: str, app_name: str) -> str:
    """A command of ours as a person types it: with -A if this one came with it."""
    option = "" if app_name == READY_MADE else f" -A {app_name}"
    return f"`smartworker {command}{option}`"


@contextmanager
def opened(app_name: str, *, any_server: bool = False) -> Iterator[Link]:
    """A connection to the broker of an app; errors of the server become sentences.

    `any_server`: even one that is too old for us. 3 commands, none billed.
    """
    from smartworker.worker.program import check_broker, reach_broker

    # What is done is printed; the lines of a worker would say it once more.
    logging.getLogger("smartworker").addHandler(logging.NullHandler())
    app = load(app_name)
    (reach_broker if any_server else check_broker)(app)
    try:
        link = open_link(app)
        try:
            with plain_errors():
                yield link
        finally:
            link.close()
    except RedisError as error:
        uri = app.connection_for_write().as_uri()
        raise refused(uri, error) from error


def refused(url: str, error: RedisError) -> SmartworkerError:
    """The sentence for an error of the server while we work."""
    refusal = classify(error)
    if not isinstance(error, ResponseError) or refusal not in (DENIED, OTHER):
        return explain(url, error)
    advice = f": {refusal.advice}" if refusal is DENIED else ""
    return BrokerRefused(f"Redis refused a command ({str(error).rstrip('.')}){advice}.")
