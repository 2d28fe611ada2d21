"""A recipe from its start to its end: parts that live and stop as one."""

import http.client
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from smartworker.cli.processes import Ended, Group, Signals
from smartworker.cli.recipe import Recipe
from smartworker.errors import SmartworkerError
from smartworker.store.server import HOST, EmbeddedServer

LOOK_SECONDS = 0.05
IDLE_SECONDS = 60.0
# Together below the 5 seconds after which people pull the plug.
PATIENCE = 3.5
BACKING_PATIENCE = 0.5

Watcher = Callable[[], Ended | None]


class PartEnded(SmartworkerError):
    """A part of the set-up ended although nobody stopped it."""


def together(decide: Callable[[Path], Recipe]) -> None:
    """Run what `decide` makes of a scratch directory, until a signal comes.

    The greeting is printed when everything is ready. Raises SmartworkerError when it
    cannot be started, or when a part ends by itself.
    """
    with ExitStack() as stack:
        signals = stack.enter_context(Signals())
        scratch = tempfile.TemporaryDirectory(prefix="smartworker-dev-")
        recipe = decide(Path(stack.enter_context(scratch)))
        watchers = start(recipe, signals, stack)
        while not is_ready(recipe):
            if stopped(signals, watchers, LOOK_SECONDS):
                return
        click.echo(recipe.greeting())
        while not stopped(signals, watchers, IDLE_SECONDS):
            pass
        click.echo("Stopping.")


def start(recipe: Recipe, signals: Signals, stack: ExitStack) -> list[Watcher]:
    """Start all parts; the stack stops them, the ones that others need last."""
    environment = dict(recipe.environment)
    backing, main = Group(signals), Group(signals)
    watchers: list[Watcher] = [main.ended, backing.ended]
    if recipe.own_server:
        server = stack.enter_context(EmbeddedServer())
        environment["REDIS_URL"] = server.url
        watchers.append(lambda: _server_ended(server))
    stack.callback(backing.stop, BACKING_PATIENCE)
    stack.callback(main.stop, PATIENCE)
    for part in recipe.parts:
        command = [sys.executable, "-m", *part.command]
        group = backing if part.backing else main
        group.start(part.name, command, environment, quiet=part.backing)
    return watchers


def stopped(signals: Signals, watchers: list[Watcher], seconds: float) -> bool:
    """Wait; true when asked to stop. Raises PartEnded when a part ended by itself."""
    if signals.wait(seconds):
        return True
    for watcher in watchers:
        if ended := watcher():
            raise PartEnded(f"The {ended.name} {ended.how}, so the rest was stopped.")
    return False


def is_ready(recipe: Recipe) -> bool:
    """Whether workers take tasks, servers take connections, and the web answers."""
    return (
        all(path.exists() for path in recipe.ready_files)
        and all(connects(part.port) for part in recipe.parts if part.port)
        and answers(recipe.port)
    )


def connects(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def answers(port: int) -> bool:
    """Whether the web process answers, be it that it knows no such page."""
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status < http.client.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _server_ended(server: EmbeddedServer) -> Ended | None:
    status = server.status
    return None if status is None else Ended("embedded server", status)
