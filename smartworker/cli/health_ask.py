"""`smartworker health --ask`: whether Redis and a worker answer, over Redis."""

import json

import click

from smartworker.cli.asking import NoAnswer
from smartworker.cli.connection import load, refused
from smartworker.cli.run import READY_MADE
from smartworker.cli.shown import plain
from smartworker.clock import system_clock
from smartworker.store.client import RedisError


def print_answer(
    app_name: str | None, name: str | None, timeout: float, as_json: bool
) -> None:
    """Ask, and print who answered. `timeout` in seconds. Raises as `ask`."""
    begun = system_clock.monotonic()
    worker = ask(app_name or READY_MADE, name, timeout)
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
