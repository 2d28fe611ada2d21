"""`smartworker active`, `scheduled`, `registered`, `stats`: what the workers say."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from smartworker.cli.asking import ask, question
from smartworker.cli.connection import load
from smartworker.clock import system_clock

EPILOG = """\b
Exit statuses: 0 a worker answered, 1 none did, 2 wrong usage, 69 Redis cannot be
reached, 78 a setting is wrong or Redis refused it.

\b
A worker of the solo pool answers between two tasks only. A question costs about 20
commands, and 5 for each further worker.
"""


@dataclass(frozen=True)
class Answer:
    """What one worker said: `error` where it does not know the question."""

    worker: str
    facts: Any = None
    error: str | None = None


@click.command(short_help="List the tasks that run now.", epilog=EPILOG)
@question
def active(app_name: str, timeout: float, as_json: bool) -> None:
    """List the tasks that run: which, for which job, and for how long."""
    answers = answers_of(app_name, "active", timeout, safe=True)
    now = system_clock.now()
    rows = [(answer, running_tasks(answer, now)) for answer in answers]
    if as_json:
        _print_json(rows, "tasks")
    else:
        from smartworker.cli.inspect_print import print_active

        print_active(rows)


@click.command(short_help="List the tasks that wait for their time.", epilog=EPILOG)
@question
def scheduled(app_name: str, timeout: float, as_json: bool) -> None:
    """List the tasks with an ETA that workers hold, and the runs of jobs that wait
    until an earlier run of their job is done.

    What no worker has taken yet is not among them.
    """
    answers = answers_of(app_name, "scheduled", timeout)
    rows = [(answer, waiting_tasks(answer)) for answer in answers]
    if as_json:
        _print_json(rows, "tasks")
    else:
        from smartworker.cli.inspect_print import print_scheduled

        print_scheduled(rows, system_clock.now())


@click.command(short_help="List the tasks that the workers know.", epilog=EPILOG)
@question
def registered(app_name: str, timeout: float, as_json: bool) -> None:
    """List the tasks that the workers know, by worker."""
    answers = answers_of(app_name, "registered", timeout)
    rows = [(answer, sorted(answer.facts or ())) for answer in answers]
    if as_json:
        _print_json(rows, "tasks")
    else:
        from smartworker.cli.inspect_print import print_registered

        print_registered(rows)


@click.command(short_help="Show pool, uptime and task counts.", epilog=EPILOG)
@question
def stats(app_name: str, timeout: float, as_json: bool) -> None:
    """Show what each worker is made of, and how many tasks it has had since its start.

    `smartworker status` tells what the workers do and what it costs.
    """
    answers = answers_of(app_name, "stats", timeout)
    if as_json:
        _print_json([(answer, answer.facts) for answer in answers], "stats")
    else:
        from smartworker.cli.inspect_print import print_stats

        print_stats([(answer, totals(answer)) for answer in answers])


def answers_of(
    app_name: str, what: str, timeout: float, **arguments: Any
) -> list[Answer]:
    """The answer of each worker, in the order of their names. Raises as `ask`."""
    found = ask(load(app_name), what, timeout, **arguments)
    return [_answer(name, facts) for name, facts in found.items()]


def running_tasks(answer: Answer, now: datetime) -> list[dict[str, Any]]:
    """The tasks that run in a worker, the longest first."""
    tasks = [
        {
            **_task(told),
            "pid": told.get("worker_pid"),
            "seconds": _since(told.get("time_start"), now),
        }
        for told in answer.facts or ()
    ]
    return sorted(tasks, key=lambda task: -(task["seconds"] or 0))


def waiting_tasks(answer: Answer) -> list[dict[str, Any]]:
    """The tasks that wait in a worker: those with an ETA first, by time."""
    tasks = [
        {
            **_task(told.get("request") or {}),
            "eta": told.get("eta"),
            "waits_for": told.get("waits_for"),
        }
        for told in answer.facts or ()
    ]
    return sorted(tasks, key=lambda task: (task["eta"] is None, str(task["eta"])))


def totals(answer: Answer) -> dict[str, Any]:
    """Of the answer to `stats`, what people want to know."""
    told = answer.facts or {}
    pool = told.get("pool") or {}
    # Such as celery.concurrency.prefork:TaskPool.
    module = str(pool.get("implementation", "")).partition(":")[0]
    return {
        "pid": told.get("pid"),
        "uptime": told.get("uptime"),
        "pool": module.rpartition(".")[2] or None,
        "processes": pool.get("max-concurrency"),
        "tasks_per_child": pool.get("max-tasks-per-child"),
        "prefetch": told.get("prefetch_count"),
        "memory_kb": (told.get("rusage") or {}).get("maxrss"),
        "tasks": dict(sorted((told.get("total") or {}).items())),
    }


def _answer(worker: str, facts: Any) -> Answer:
    if isinstance(facts, dict) and set(facts) == {"error"}:
        return Answer(worker, error=str(facts["error"]))
    return Answer(worker, facts)


def _task(told: dict[str, Any]) -> dict[str, Any]:
    info = told.get("delivery_info") or {}
    return {
        "task": told.get("name"),
        "id": told.get("id"),
        "job": told.get("job"),
        "args": told.get("args"),
        "kwargs": told.get("kwargs"),
        "queue": info.get("routing_key"),
    }


def _since(started: Any, now: datetime) -> float | None:
    """Seconds by our own clock, which may not be the worker's."""
    if not isinstance(started, int | float):
        return None
    return round(max(now.timestamp() - started, 0.0), 3)


def _print_json(rows: list[tuple[Answer, Any]], name: str) -> None:
    facts = [
        {"worker": answer.worker, name: told}
        if answer.error is None
        else {"worker": answer.worker, "error": answer.error}
        for answer, told in rows
    ]
    click.echo(json.dumps(facts, indent=2, default=str))
