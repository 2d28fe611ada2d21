"""`smartworker health`: whether Redis and a worker answer, for checks of containers."""

import json

import click

from smartworker.cli.connection import app_option, load, refused
from smartworker.cli.shown import plain
from smartworker.cli.status import NoAnswer
from smartworker.clock import system_clock
from smartworker.store.client import RedisError


@click.command(
    short_help="Tell whether Redis and a worker answer.",
    epilog="""\b
Examples:
  smartworker health -A shop
  smartworker health --worker celery@$HOSTNAME --timeout 10

\b
Exit statuses: 0 Redis and a worker answer, 1 no worker answers, 2 wrong usage,
69 Redis cannot be reached, 78 a setting is wrong or Redis refused it.
""",
)
@app_option
@click.option(
    "--worker",
    "name",
    metavar="NAME",
    help="This worker must answer, such as celery@host; without it any.",
)
@click.option(
    "--timeout",
    default=5.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="Seconds to wait for the answer; the first one ends it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print facts for programs.")
def health(app_name: str, name: str | None, timeout: float, as_json: bool) -> None:
    """Ask Redis and a worker for a sign of life.

    About 20 commands, so a check each minute is 860,000 a month: ask each ten minutes
    (86,000) or less often. A worker of the solo pool answers between two tasks only,
    so give it a --timeout that is longer than its tasks.
    """
    begun = system_clock.monotonic()
    worker = ask(app_name, name, timeout)
    seconds = round(system_clock.monotonic() - begun, 3)
    if as_json:
        facts = {"status": "ok", "worker": worker, "seconds": seconds}
        click.echo(json.dumps(facts))
    else:
        click.echo(f"Redis answers, and so does {plain(worker)}.")


def ask(app_name: str, name: str | None, timeout: float) -> str:
    """The name of the first worker that answers. Raises NoAnswer, and as `load`."""
    from smartworker.worker.asking import ping
    from smartworker.worker.program import check_broker

    app = load(app_name)
    check_broker(app)
    try:
        answered = ping(app, name, timeout)
    except RedisError as error:
        raise refused(app.connection_for_write().as_uri(), error) from error
    if answered is not None:
        return answered
    who = "No worker" if name is None else f"No worker called {name}"
    raise NoAnswer(
        f"{who} answered within {timeout:g} seconds: none runs on this Redis, or all "
        "are busy."
    )
