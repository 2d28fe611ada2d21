"""Questions to the running workers: their options, and the answers."""

from collections.abc import Callable
from typing import Any

import click

from smartworker.cli.connection import app_option, refused
from smartworker.errors import SmartworkerError
from smartworker.store.client import RedisError
from smartworker.worker import asking


class NoAnswer(SmartworkerError):
    """No worker answered."""


def question(command: Callable[..., None]) -> Callable[..., None]:
    """The options of each command that asks."""
    for option in (
        click.option(
            "--json", "as_json", is_flag=True, help="Print facts for programs."
        ),
        click.option(
            "--timeout",
            default=2.0,
            show_default=True,
            type=click.FloatRange(min=0.1),
            help="Seconds to wait for answers.",
        ),
        app_option,
    ):
        command = option(command)
    return command


def ask(app: Any, what: str, timeout: float, **arguments: Any) -> dict[str, Any]:
    """The answer of each worker by its name, in the order of the names.

    `timeout` in seconds. About 20 commands, and 5 for each further worker. Raises
    NoAnswer, BrokerUnreachable and BrokerRefused.
    """
    from smartworker.worker.program import check_broker

    check_broker(app)
    try:
        found = asking.ask(app, what, timeout, **arguments)
    except RedisError as error:
        raise refused(app.connection_for_write().as_uri(), error) from error
    if not found:
        raise NoAnswer(
            f"No worker answered within {timeout:g} seconds: none runs on this "
            "Redis, or all are busy (--timeout waits longer)."
        )
    return dict(sorted(found.items()))
