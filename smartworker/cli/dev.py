"""`smartworker dev`: everything on this machine, started and stopped as one."""

import os
from functools import partial
from importlib.util import find_spec

import click

from smartworker.cli.recipe import decide
from smartworker.cli.together import together
from smartworker.errors import SettingsError


@click.command(
    epilog="Exit statuses: 0 stopped, 1 PORT is in use, 2 wrong usage, 78 a setting is "
    "wrong. Where a part ended by itself: its status, and 1 if that is 0 or if it was "
    "killed.",
)
def dev() -> None:
    """Run a local server, a worker and the web process, all in one.

    The server is an embedded Valkey unless REDIS_URL or UPSTASH_REDIS_HOST is set.
    Nothing outlives the command: Ctrl-C stops all of it, a second one at once.
    """
    if find_spec("fastapi") is None:
        raise SettingsError(
            "`smartworker dev` runs the web process, too: install smartworker[dev]."
        )
    together(partial(decide, os.environ))
