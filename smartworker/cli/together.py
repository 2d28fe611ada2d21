"""A recipe from its start to its end: parts that live and stop as one."""

import http.client
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from subprocess import DEVNULL

import click

from smartworker.cli.processes import IDLE_SECONDS, STDERR, Ended, Group, Signals
from smartworker.cli.recipe import Recipe
from smartworker.errors import SettingsError, SmartworkerError
from smartworker.store.server import HOST, EmbeddedServer

LOOK_SECONDS = 0.05
# Together below the 5 seconds after which people pull the plug.
PATIENCE = 3.5
BACKING_PATIENCE = 0.5
# Where a part has ended by itself. The second time a worker gives back what still runs,
# which takes it 10 s at the most; together as long as Render waits before it kills.
UNHURRIED = (20.0, 10.0)

Watcher = Callable[[], Ended | None]


class PartEnded(SmartworkerError):
    """A part of the set-up ended although nobody stopped it.

    The exit status is that of the part; 1 if it was killed, or ended with 0.
    """

    def __init__(self, ended: Ended) -> None:
        super().__init__(f"The {ended.name} {ended.how}, so the rest was stopped.")
        self.exit_status = max(ended.status, SmartworkerError.exit_status)


def together(decide: Callable[[Path], Recipe]) -> None:
    """Run what `decide` makes of a scratch directory, until a signal comes.

    The greeting, if there is one, is printed when everything is ready. Raises
    SmartworkerError when it cannot be started, or when a part ends by itself.
    """
    with ExitStack() as stack:
        signals = stack.enter_context(Signals())
        recipe = decide(Path(stack.enter_context(scratch_directory())))
        main, watchers = start(recipe, signals, stack)
        if recipe.text:
            while not is_ready(recipe):
                if stopped(signals, watchers, LOOK_SECONDS):
                    return
            click.echo(recipe.greeting())
        while not (asked := stopped(signals, watchers, IDLE_SECONDS)):
            pass
        if recipe.text:
            click.echo("Stopping.")
        if recipe.unhurried:
            main.end(asked)


def scratch_directory() -> "tempfile.TemporaryDirectory[str]":
    """For the files of this run. Raises SettingsError where nothing can be written."""
    try:
        return tempfile.TemporaryDirectory(prefix="smartworker-dev-")
    except OSError as error:
        raise SettingsError(
            f"TMPDIR names no directory that can be written to: {error.strerror}."
        ) from error


def start(
    recipe: Recipe, signals: Signals, stack: ExitStack
) -> tuple[Group, list[Watcher]]:
    """Start all parts; the stack stops them, the ones that others need last.

    Gives the group of those that nobody else needs, and what tells who has ended.
    """
    environment = dict(recipe.environment)
    backing, main = Group(signals), Group(signals)
    watchers: list[Watcher] = [main.ended, backing.ended]
    if recipe.own_server:
        server = stack.enter_context(EmbeddedServer())
        environment["REDIS_URL"] = server.url
        watchers.append(lambda: _server_ended(server))
    stack.callback(backing.stop, BACKING_PATIENCE)
    stack.callback(main.stop, *(UNHURRIED if recipe.unhurried else (PATIENCE,)))
    for part in recipe.parts:
        command = [sys.executable, "-m", *part.command]
        group = backing if part.backing else main
        # Our own is for the greeting, where there is one.
        stdout = DEVNULL if part.backing else STDERR if recipe.text else None
        group.start(part.name, command, environment, stdout=stdout, note=part.note)
    return main, watchers


def stopped(signals: Signals, watchers: list[Watcher], seconds: float) -> set[int]:
    """Wait; the signals that asked to stop. Raises PartEnded when a part ended."""
    asked = signals.wait(seconds)
    for watcher in () if asked else watchers:
        if ended := watcher():
            raise PartEnded(ended)
    return asked


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
