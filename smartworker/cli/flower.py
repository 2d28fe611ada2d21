"""`smartworker flower`: Flower on an app, closed to strangers and quiet."""

import logging
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Any

import click

from smartworker.cli.connection import EXIT_STATUSES, app_option, load
from smartworker.errors import SettingsError

LOCALHOST = "127.0.0.1"
VARIABLE = "FLOWER_BASIC_AUTH"
#: Seconds between two calls for events, for workers that came meanwhile. Flower's own
#: 5 seconds are 17,280 commands a day.
CALL_SECONDS = 300
#: Seconds until the first call: what workers tell before Flower hears them is lost.
FIRST_CALL_SECONDS = 2


@click.command(
    context_settings={"ignore_unknown_options": True},
    options_metavar="[OPTIONS] [OPTIONS OF FLOWER]",
    short_help="Run Flower, the web page about workers and tasks.",
    epilog=f"""\b
Examples:
  smartworker flower -A shop
  FLOWER_BASIC_AUTH=admin:secret smartworker flower -A shop --host 0.0.0.0

\b
Exit statuses: 0 stopped, 2 wrong usage, {EXIT_STATUSES}.
""",
)
@app_option
@click.option(
    "--host",
    default=LOCALHOST,
    show_default=True,
    help="The address to listen on; others than your own need --basic-auth.",
)
@click.option("--port", default=5555, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--basic-auth",
    envvar=VARIABLE,
    metavar="USER:PASSWORD",
    help="Who may come in; several with commas. Better in the environment variable "
    f"{VARIABLE}, for others see the command line.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def flower(
    app_name: str,
    host: str,
    port: int,
    basic_auth: str | None,
    arguments: tuple[str, ...],
) -> None:
    """Run Flower on an app; further options are Flower's own, such as --max-tasks=500.

    It costs about 300 commands a day and 300 for each worker, 250 for each look at a
    worker's page, and 2 or 3 for each task: the workers tell of them while Flower
    runs, and stop when it ends.
    """
    from smartworker.worker.program import check_broker

    check_installed()
    check_access(host, basic_auth)
    app = load(app_name)
    check_broker(app)
    if basic_auth:
        # Flower reads it there, and the list of processes does not show it.
        os.environ[VARIABLE] = basic_auth
    # Flower would print what its connections have to say, each by each.
    logging.getLogger("smartworker").setLevel(logging.WARNING)
    try:
        serve(app_name, host, port, arguments)
    finally:
        app.control.disable_events()


def check_installed() -> None:
    """Flower is an extra. Raises SettingsError."""
    if find_spec("flower") is None:
        raise SettingsError(
            "Flower is not installed: install smartworker[flower], or ask with "
            "`smartworker active` and `smartworker status`."
        )


def check_access(host: str, basic_auth: str | None) -> None:
    """Refuse an open Flower that others can reach. Raises SettingsError."""
    if basic_auth is not None:
        entries = [entry.partition(":") for entry in basic_auth.split(",")]
        if not all(user.strip() and password for user, _, password in entries):
            raise SettingsError(
                f"{VARIABLE} is not written as USER:PASSWORD, such as admin:secret."
            )
    elif not is_loopback(host):
        raise SettingsError(
            f"Flower shows what tasks are given, and stops workers, so on {host} it "
            f"needs a password: set {VARIABLE}=USER:PASSWORD, or use --host "
            f"{LOCALHOST}."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; names other than localhost may
    mean anything.
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def serve(app_name: str, host: str, port: int, arguments: tuple[str, ...]) -> None:
    """Run Flower until a signal comes."""
    from celery.bin.celery import celery

    call_rarely()
    # Ours last: the last one counts.
    words = [
        "-A",
        app_name,
        "flower",
        *arguments,
        f"--address={host}",
        f"--port={port}",
    ]
    # Flower reads sys.argv again.
    sys.argv[1:] = words
    celery.main(args=words, auto_envvar_prefix="CELERY", standalone_mode=False)


def call_rarely() -> None:
    """Let Flower call for events soon, and then hardly ever."""
    events: Any = import_module("flower.events")

    class Events(events.Events):  # type: ignore[misc]
        """Flower's own, which calls each 5 seconds."""

        events_enable_interval = CALL_SECONDS * 1000

        def start(self) -> None:
            """Listen, and then call."""
            super().start()
            self.io_loop.call_later(FIRST_CALL_SECONDS, self._call)

        def _call(self) -> None:
            self.io_loop.run_in_executor(None, self._call_now)

        def _call_now(self) -> None:
            self.capp.control.enable_events()
            self.capp.control.broadcast("heartbeat")

    app: Any = import_module("flower.app")
    app.Events = Events
