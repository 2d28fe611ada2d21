"""Starts an example: server, workers, web process and what else it needs, as one."""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from string import Template

from smartworker.cli.recipe import Ground, Part, Recipe, cli_part
from smartworker.cli.together import together
from smartworker.errors import SettingsError, SmartworkerError

__all__ = ["Part", "run"]

HERE = "smartworker.examples"
#: What all of them need beyond the base package, and what brings it and the rest.
NEEDED = ("uvicorn", "fastapi", "httpx", "sqlalchemy")
EXTRAS = "smartworker[dev,postgres]"
Workers = Mapping[str, Sequence[str]]
#: Name of each worker process to its options.
ONE_WORKER: Workers = {"worker": ("-c", "2")}


def run(
    name: str,
    *,
    greeting: str,
    parts: Sequence[Part] = (),
    environment: Mapping[str, str] | None = None,
    workers: Workers = ONE_WORKER,
    web: str = "",
) -> None:
    """Run the example of this name until a signal comes, or exit with a sentence.

    `greeting` is printed when all are ready; `$address` and `$token` stand for the web
    process and the bearer token. `parts` are further processes, such as the server of
    a third party, and `environment` what all get where nothing is set; DATABASE_URL is
    a SQLite file that goes with the example. `web` is an ASGI or Flask application as
    `module:attribute`, by default `app` in the example's module `web`.
    """
    web = web or f"{HERE}.{name}.web:app"
    try:
        check_installed()
        together(
            lambda scratch: decide(
                name,
                {**(environment or {}), **os.environ},
                scratch,
                greeting=greeting,
                parts=parts,
                workers=workers,
                web=web,
            )
        )
    except SmartworkerError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201 - the last word
        sys.exit(error.exit_status)


def check_installed() -> None:
    """Raise SettingsError where what the examples need is not installed."""
    missing = [each for each in NEEDED if find_spec(each) is None]
    if missing:
        raise SettingsError(
            f"The examples need {', '.join(missing)}: install {EXTRAS}."
        )


def decide(
    name: str,
    environment: Mapping[str, str],
    scratch: Path,
    *,
    greeting: str,
    parts: Sequence[Part],
    workers: Workers,
    web: str,
) -> Recipe:
    """What is started and said. Raises SmartworkerError for a setting that is wrong."""
    ground = Ground.of(
        {"DATABASE_URL": f"sqlite:///{scratch / name}.sqlite3", **environment}
    )
    ready_files = tuple(scratch / f"ready-{number}" for number in range(len(workers)))
    served = Part("web", (f"{HERE}.serve", web, "--port", str(ground.port)))
    text = Template(greeting.strip("\n")).safe_substitute(
        address=ground.address, token=ground.bearer
    )
    own = [
        worker_part(name, worker, options, ready_file)
        for (worker, options), ready_file in zip(
            workers.items(), ready_files, strict=True
        )
    ]
    return ground.recipe([*parts, *own, served], ready_files, text)


def worker_part(
    example: str, name: str, options: Sequence[str], ready_file: Path
) -> Part:
    """A worker of an example."""
    command = cli_part(
        "worker",
        *("-A", f"{HERE}.{example}.app"),
        *("-l", "info", "-n", f"{name.replace(' ', '-')}@%h"),
        *("--no-doctor", "--ready-file", str(ready_file)),
        *options,
    ).command
    return Part(name, command)
