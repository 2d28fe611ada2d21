"""`smartworker web --with-worker`: the two processes of a deployment as one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from smartworker.cli.recipe import Recipe, cli_part

#: Celery would take as many processes as the machine has cores, and a free plan shows
#: those of its host. Measured with the swim example, after work: 209 MB in all with
#: two pool processes, 186 MB with one, 155 MB with threads, which keep no time limits.
FEWEST = ("-c", "2", "-l", "info")
#: What both halves have to agree on, so it stands in front of the `--`.
SHARED = ("-A", "--app")


def decide_pair(
    environment: Mapping[str, str],
    scratch: Path,
    *,
    app: str,
    host: str,
    options: Sequence[str],
    looks: bool = True,
) -> Recipe:
    """The web process and a worker with these options; nothing is said but by them.

    The worker looks for risks at its start, if it `looks`, for both. Raises UsageError
    for an option that is not the worker's alone.
    """
    for word in options:
        if word.partition("=")[0] in SHARED:
            raise click.UsageError(
                f"'{word}' is for both processes: write it before --."
            )
    note = scratch / "worker"
    silence = () if looks else ("--no-doctor",)
    # The last word counts: the options given come after ours.
    given = (*FEWEST, *silence, "--ready-file", str(note), *options)
    worker = cli_part("worker", "-A", app, *given, note=note)
    web = cli_part("web", "-A", app, "--host", host, "--no-doctor")
    return Recipe(environment=environment, parts=(web, worker), unhurried=True)
