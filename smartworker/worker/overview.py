"""All jobs of an app at a glance: declaration, last run, next due time, state, cost."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from smartworker.budget import run_commands
from smartworker.cron.registry import Job, Jobs
from smartworker.cron.runs import Names
from smartworker.cron.slots import stamp
from smartworker.cron.standing import Facts, State, last_slot, state_of
from smartworker.errors import BrokerUnreachable
from smartworker.settings import Settings
from smartworker.store import jobs as store
from smartworker.store import keys
from smartworker.store.database import DatabaseAway
from smartworker.store.history import History, open_history, why_not_database
from smartworker.store.meter import because
from smartworker.store.runs import RunRecord
from smartworker.worker.link import Link
from smartworker.worker.records import record_key

_HOURS_OF_A_MONTH = 30 * 24


@dataclass(frozen=True, kw_only=True)
class Row:
    """One job. `state` and `last` are None where no server was asked."""

    job: Job
    next_due: datetime | None
    state: State | None = None
    paused_since: str | None = None
    last: RunRecord | None = None
    #: The last runs, newest first: as many as were asked for.
    runs: tuple[RunRecord, ...] = ()
    #: How many commands one run costs, and a month of its schedule.
    run_commands: int
    month_commands: int | None

    def as_json(self) -> dict[str, Any]:
        """For programs; times in UTC."""
        job, last = self.job, self.last
        return {
            "name": job.name,
            "task": job.task,
            "description": job.description,
            "schedule": job.schedule and job.schedule.expression,
            "zone": job.schedule.zone if job.schedule else job.zone,
            "state": self.state,
            "paused_since": self.paused_since,
            "next_due": self.next_due and stamp(self.next_due),
            "last_run": last and _run(last),
            "run_commands": self.run_commands,
            "month_commands": self.month_commands,
            "only_when_due": job.only_when_due,
            "overlap": job.overlap,
            "catch_up": job.catch_up,
        }


def declared(
    jobs: Jobs,
    settings: Settings,
    now: datetime,
    *,
    workers: int = 1,
    app: Any = None,
) -> list[Row]:
    """All jobs as they are declared; asks nobody.

    With the app the cost of a run takes into account which states its task stores.
    """
    return [
        _row(job, settings, now, workers, Facts(), app=app, asked=False) for job in jobs
    ]


def overview(
    link: Link,
    jobs: Jobs,
    settings: Settings,
    now: datetime,
    *,
    workers: int = 1,
    runs: int = 1,
) -> list[Row]:
    """All jobs with what Redis knows of them, and the last `runs` of each.

    2 commands, and 1 for each job; with a history in a database 2 in all. Raises what
    redis-py raises, and BrokerUnreachable for a database that is away.
    """
    facts, recent = _facts(link, jobs, settings, now, runs)
    return [
        replace(
            _row(
                job, settings, now, workers, facts[job.name], app=link.app, asked=True
            ),
            runs=recent[job.name],
        )
        for job in jobs
    ]


def _facts(
    link: Link, jobs: Jobs, settings: Settings, now: datetime, runs: int
) -> tuple[dict[str, Facts], dict[str, tuple[RunRecord, ...]]]:
    if not jobs:
        return {}, {}
    state = store.load(link.client, link.prefix)
    names, history = Names(state.secret), open_history(settings, lambda: link)
    wanted: dict[str, tuple[str, str]] = {}
    for job in jobs:
        slot = last_slot(job, now)
        task_id = names.of_slot(job, slot) if slot else None
        lease = link.prefix + keys.running(job.name)
        wanted[job.name] = lease, record_key(link.app, task_id) if task_id else lease
    flat = [key for pair in wanted.values() for key in pair]
    with because("cron"):
        found = dict(zip(flat, link.client.mget(flat), strict=True))
    recent = {job.name: _last(history, job, runs) for job in jobs}
    facts = {
        job.name: Facts(
            paused=state.paused.get(job.name),
            since=state.known_since(job.name),
            last=next(iter(recent[job.name]), None),
            owner=_text(found[wanted[job.name][0]]),
            record=_record(found[wanted[job.name][1]]),
        )
        for job in jobs
    }
    return facts, recent


def _last(history: History, job: Job, count: int) -> tuple[RunRecord, ...]:
    try:
        return tuple(history.last(job.name, count))
    except DatabaseAway as error:
        raise BrokerUnreachable(
            f"The history of the jobs cannot be read: {str(error).rstrip('.')}."
        ) from error


def _row(
    job: Job,
    settings: Settings,
    now: datetime,
    workers: int,
    facts: Facts,
    *,
    app: Any,
    asked: bool,
) -> Row:
    runs = job.schedule.a_month(now) if job.schedule else None
    costs = run_commands(
        overlap=job.overlap != "allow",
        looks=(workers - 1) * len({job.grace, job.patience}) if job.schedule else 0,
        history=settings.database_url is None or bool(why_not_database(settings)),
        hourly=runs is not None and runs > _HOURS_OF_A_MONTH,
        **_states(app, job.task),
    )
    each = sum(map(len, costs.values()))
    return Row(
        job=job,
        next_due=job.schedule.after(now) if job.schedule else None,
        state=state_of(job, facts, now) if asked else None,
        paused_since=facts.paused,
        last=facts.last,
        run_commands=each,
        month_commands=None if runs is None else each * runs,
    )


def _states(app: Any, name: str) -> dict[str, bool]:
    """Which states of a task are stored, as far as it is known here."""
    if app is None:
        return {}
    task = app.tasks.get(name)
    started, ignored = (
        (task.track_started, task.ignore_result)
        if task
        else (app.conf.task_track_started, app.conf.task_ignore_result)
    )
    return {"started": bool(started), "stored": not ignored}


def _run(last: RunRecord) -> dict[str, Any]:
    return {
        "task_id": last.task_id,
        "slot": last.slot,
        "trigger": last.trigger,
        "state": last.state,
        "started": last.started,
        "seconds": last.seconds,
        "error": last.error,
    }


def _record(raw: bytes | str | None) -> Mapping[str, Any] | None:
    """The record of a run; None for what is none, such as the id in a lease."""
    try:
        found = json.loads(raw) if raw is not None else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _text(value: bytes | str | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
