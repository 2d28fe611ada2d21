"""`smartworker trigger`, `pause` and `resume`: one job, by hand."""

import json
import sys
from typing import Any

import click

from smartworker.cli.connection import (
    EXIT_STATUSES,
    app_option,
    job_of,
    opened,
    spoken,
)
from smartworker.cli.parameters import read_given
from smartworker.cli.plan_options import Checked
from smartworker.cli.shown import plain
from smartworker.clock import system_clock
from smartworker.cron.registry import Job
from smartworker.cron.runs import LONGEST_KEY, Names, Run, is_key
from smartworker.cron.slots import minute_of, stamp
from smartworker.errors import SmartworkerError
from smartworker.store import jobs as store
from smartworker.worker.link import Link
from smartworker.worker.publish import queue_run, start_by

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print facts for programs."
)
job_argument = click.argument("name", metavar="JOB")


def read_key(text: str) -> str:
    """A key that an Idempotency-Key header could carry too."""
    if not is_key(text):
        raise ValueError(f"a key has 1 to {LONGEST_KEY} printable ASCII characters.")
    return text


class NotDone(SmartworkerError):
    """The run did not end in time, or ended badly."""


@click.command(
    short_help="Run a cron job now.",
    epilog=f"""\b
Examples:
  smartworker trigger nightly-report
  smartworker trigger nightly-report --param day=2026-11-01 --wait 60
  smartworker trigger nightly-report --key release-7

Exit statuses: 0 queued (or done, with --wait), or queued before, or another run is
not done; 1 no such job, or with --wait: it failed or was not done in time, 2 wrong
usage, {EXIT_STATUSES}.
""",
)
@job_argument
@app_option
@click.option(
    "--param",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the job; the value may be JSON.",
)
@click.option(
    "--key",
    type=Checked("key", read_key),
    help="Queue once for this key, however often it is asked for.",
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0, min_open=True, max=86_400),
    metavar="SECONDS",
    help="Wait so long for the result; exit status 1 if it failed.",
)
@json_option
def trigger(
    name: str,
    app_name: str,
    given: tuple[str, ...],
    key: str | None,
    wait: float | None,
    as_json: bool,
) -> None:
    """Queue a run of a job now, whatever its schedule says, also while it is paused.

    Asked twice in the same minute, or with the same --key, it is queued once. 4
    commands, 1 more if runs must not overlap.
    """
    with opened(app_name) as broker:
        job = job_of(broker.app, name, app_name)
        parameters = read_given(job, given)
        state = store.load(broker.client, broker.prefix)
        run = run_of(job, Names(state.secret), parameters, key)
        facts = _queue(broker, run)
        facts["paused_since"] = state.paused.get(name)
        if wait is not None and facts["status"] != "skipped":
            facts |= _wait(broker, facts["task_id"], wait)
        _print(facts, as_json=as_json)
    sys.exit(int(wait is not None and facts.get("state", "SUCCESS") != "SUCCESS"))


def run_of(job: Job, names: Names, parameters: dict[str, Any], key: str | None) -> Run:
    """The run that a person means: of this minute, or of a key."""
    slot = minute_of(system_clock.now())
    if key is None:
        task_id = names.of_slot(job, slot, parameters)
    else:
        task_id = names.of_key(job, key)
    return Run(
        job=job,
        slot=slot,
        task_id=task_id,
        trigger="command",
        parameters=parameters,
        keyed=key is not None,
    )


def _queue(broker: Link, run: Run) -> dict[str, Any]:
    now = system_clock.now()
    outcome = queue_run(broker.app, run, now=now)
    facts = {"job": run.job.name, "slot": str(run.slot), "task_id": run.task_id}
    if outcome.overlapping:
        return {"status": "skipped", "reason": "overlapping", **facts}
    earlier = outcome.record or {}
    before = earlier.get("run") or {}
    if run.keyed and before.get("digest", run.digest) != run.digest:
        raise NotDone(
            "This key was used before with other parameters: give another --key with "
            "them."
        )
    return {
        "status": "accepted",
        **facts,
        "task_id": earlier.get("task_id") or run.task_id,
        "trigger_id": before.get("trigger_id") or outcome.trigger_id,
        "replayed": not outcome.pushed,
        "expected_start_by": stamp(start_by(broker.app, now)),
    }


def _wait(broker: Link, task_id: str, seconds: float) -> dict[str, Any]:
    """How the run ended, or where it is when time is up."""
    from celery.exceptions import TimeoutError as TimedOut

    waiting = broker.app.AsyncResult(task_id)
    try:
        result = waiting.get(timeout=seconds, propagate=False)
    except TimedOut:
        return {"state": waiting.state}
    if waiting.successful():
        return {"state": "SUCCESS", "result": result}
    error = f"{type(result).__name__}: {result}"
    return {"state": waiting.state, "error": error.partition("\n")[0]}


def _print(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts, indent=2, default=str))
        return
    if facts["status"] == "skipped":
        click.echo(f"Another run of {facts['job']} is not done, so nothing was queued.")
        return
    name, task_id = facts["job"], facts["task_id"]
    if facts["replayed"]:
        click.echo(f"{name} was queued before as task {task_id}.")
    else:
        click.echo(f"{name} is queued as task {task_id}.")
    if facts["paused_since"]:
        click.echo(
            f"It is paused since {plain(facts['paused_since'])}, and runs because a "
            "person asked."
        )
    _print_end(facts)


def _print_end(facts: dict[str, Any]) -> None:
    if "state" not in facts:
        click.echo(f"It starts by {facts['expected_start_by']} if a worker runs.")
        click.echo(f"How it goes: GET /api/tasks/{facts['task_id']}, or --wait.")
    elif facts["state"] == "SUCCESS":
        shown = json.dumps(facts["result"], ensure_ascii=False, default=str)
        click.echo(f"It is done: {plain(shown)}")
    elif "error" in facts:
        click.echo(f"It ended with {facts['state']}: {plain(facts['error'])}", err=True)
    else:
        click.echo(
            f"It is not done yet (its state is {facts['state']}): ask "
            f"GET /api/tasks/{facts['task_id']}, or wait longer.",
            err=True,
        )


@click.command(
    short_help="Let nothing start a cron job.",
    epilog=f"Exit statuses: 0 it is paused, 1 no such job, 2 wrong usage, "
    f"{EXIT_STATUSES}.",
)
@job_argument
@app_option
@json_option
def pause(name: str, app_name: str, as_json: bool) -> None:
    """Answer the triggers of a job with `skipped` from now on, and miss no slot.

    Paused twice, it stays paused since the first time. At most 3 commands.
    """
    with opened(app_name) as broker:
        job = job_of(broker.app, name, app_name)
        since = store.load(broker.client, broker.prefix).paused.get(name)
        when = since or stamp(system_clock.now())
        if since is None:
            store.pause(broker.client, job.name, when, broker.prefix)
    if as_json:
        facts = {"job": name, "state": "paused", "since": when, "changed": not since}
        click.echo(json.dumps(facts))
    elif since:
        click.echo(f"{name} is paused already, since {plain(since)}.")
    else:
        resume_it = spoken(f"resume {name}", app_name)
        click.echo(f"{name} is paused: {resume_it} ends it.")


@click.command(
    short_help="Let a paused cron job run again.",
    epilog=f"Exit statuses: 0 it is not paused, 1 no such job, 2 wrong usage, "
    f"{EXIT_STATUSES}.",
)
@job_argument
@app_option
@json_option
def resume(name: str, app_name: str, as_json: bool) -> None:
    """Let the triggers of a job through again. At most 4 commands."""
    with opened(app_name) as broker:
        job = job_of(broker.app, name, app_name)
        since = store.load(broker.client, broker.prefix).paused.get(name)
        if since is not None:
            now = system_clock.now().isoformat()
            store.resume(broker.client, job.name, now, broker.prefix)
    if as_json:
        facts = {"job": name, "state": "active", "changed": since is not None}
        click.echo(json.dumps(facts))
    elif since is None:
        click.echo(f"{name} was not paused.")
    else:
        click.echo(f"{name} runs again; it was paused since {plain(since)}.")
