"""`smartworker dev`: everything on this machine, started and stopped as one."""

import os
from functools import partial

import click

from smartworker.cli.recipe import decide
from smartworker.cli.together import together


@click.command(
    epilog="Exit statuses: 0 stopped, 1 a part ended by itself or PORT is in use, "
    "2 wrong usage, 78 a setting is wrong.",
)
def dev() -> None:
    """Run a local server, a worker and the web process, all in one.

    The server is an embedded Valkey unless REDIS_URL or UPSTASH_REDIS_HOST is set.
    Nothing outlives the command: Ctrl-C stops all of it, a second one at once.
    """
    together(partial(decide, os.environ))
