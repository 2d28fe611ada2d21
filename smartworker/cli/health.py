"""`smartworker health`: whether the workers of this machine do their work."""

import json
from datetime import datetime
from typing import Any

import click

from smartworker import statefile
from smartworker.cli.shown import plain
from smartworker.clock import system_clock
from smartworker.errors import SettingsError, SmartworkerError
from smartworker.statefile import State
from smartworker.vitals import Readiness


class NotReady(SmartworkerError):
    """A worker is not ready, or there is none."""


@click.command(
    short_help="Tell whether the worker is ready, without asking Redis.",
    epilog="""\b
Examples:
  smartworker health
  smartworker health --worker celery@$HOSTNAME --json
  smartworker health --ask -A shop --timeout 10

\b
Exit statuses: 0 ready, 1 not ready or no such worker, 2 wrong usage, 78 a setting is
wrong; with --ask also 69 Redis cannot be reached.
""",
)
@click.option(
    "-A",
    "--app",
    "app_name",
    metavar="MODULE:APP",
    help="With --ask: your Celery app; without it the ready-made one.",
)
@click.option(
    "--worker",
    "name",
    metavar="NAME",
    help="This worker alone, such as celery@host; without it all of this machine.",
)
@click.option(
    "--state-dir",
    envvar="SMARTWORKER_STATE_DIR",
    default="",
    metavar="DIRECTORY",
    help="Where the workers write their state, if not in the usual place "
    "(SMARTWORKER_STATE_DIR).",
)
@click.option(
    "--ask",
    "asks",
    is_flag=True,
    help="Ask Redis and a worker of the app instead: about 20 commands, so each minute "
    "would be 860,000 a month.",
)
@click.option(
    "--timeout",
    default=5.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="With --ask: seconds to wait; the first answer ends it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print facts for programs.")
def health(
    app_name: str | None,
    name: str | None,
    state_dir: str,
    asks: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Tell whether the workers of this machine and user are ready.

    Reads the small file that each worker writes with its polls: no Redis command, no
    port, no app, so container checks may call it as often as they like. Ready: Redis
    serves the worker, and its last poll is not older than its interval and a minute.

    With --ask, a worker of the solo pool answers between two tasks only, so give it a
    --timeout that is longer than its tasks.
    """
    if asks:
        from smartworker.cli.health_ask import print_answer

        print_answer(app_name, name, timeout, as_json)
        return
    now = system_clock.now()
    found = [(state, judge(state, now)) for state in states(state_dir, name)]
    if as_json:
        click.echo(json.dumps([_facts(*each) for each in found], indent=2))
    bad = [each for each in found if not each[1].ready]
    if bad:
        raise NotReady("\n".join(_sentence(*each) for each in bad))
    if not as_json:
        click.echo("\n".join(_sentence(*each) for each in found))


def states(setting: str, name: str | None) -> list[State]:
    """The states of all workers here, or of this one. Raises NotReady if none is."""
    home = statefile.directory(setting)
    if home is None:
        raise SettingsError(
            "SMARTWORKER_STATE_DIR is off, so no worker writes its state: `smartworker "
            "health --ask` asks Redis and a worker, for about 20 commands."
        )
    try:
        found = [*statefile.read_all(home)]
    except OSError as error:
        raise NotReady(f"The state of no worker can be read: {error}.") from error
    if name is not None:
        found = [state for state in found if state.worker == name]
    if not found:
        who = "No worker" if name is None else f"No worker called {plain(name)}"
        raise NotReady(f"{who} has its state in {home}: it runs elsewhere, or not.")
    return found


def judge(state: State, now: datetime) -> Readiness:
    """Whether the worker with this state is ready at `now`, an aware time."""
    if not state.is_alive:
        return Readiness(
            False,
            f"Its process {state.pid} is gone; if it is not to come back, remove "
            f"{state.path}.",
        )
    return state.vitals.verdict(now)


def _sentence(state: State, verdict: Readiness) -> str:
    how = "ready" if verdict.ready else "not ready"
    return f"{plain(state.worker)} is {how}. {verdict.reason}"


def _facts(state: State, verdict: Readiness) -> dict[str, Any]:
    return {
        "worker": state.worker,
        "ready": verdict.ready,
        "reason": verdict.reason,
        "pid": state.pid,
        **state.vitals.as_json(),
    }
