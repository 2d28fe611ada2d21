"""What a worker shows at `/metrics`: read when it is asked, at no command."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from celery.utils import nodesplit
from celery.worker import state

from smartworker.metrics import Value, info, known_jobs
from smartworker.store.meter import Counts, is_billed, ledger
from smartworker.worker.counts import TaskCounts, counts
from smartworker.worker.declared import jobs_of
from smartworker.worker.figures import figures
from smartworker.worker.hourly import POLL
from smartworker.worker.vitals import readiness, vitals

Rows = dict[tuple[str, ...], Value]
Table = dict[str, Rows]

EVENTS = ("received", "started", "succeeded", "retried", "rejected", "revoked")


def readings(worker: Any) -> Table:
    """All of a worker's metrics; from any thread, 0 commands."""
    spent = ledger.counts()
    return {
        **_tasks(worker.hostname, counts),
        **_jobs(worker.app, counts),
        **commands(spent),
        **info("worker"),
        "smartworker_polls_total": {(): _polls(spent)},
        "smartworker_budget_ratio": {(): _budget(worker)},
        **_poller(worker),
    }


def commands(spent: Counts) -> Table:
    """The ledger by cause and command, billed ones and others apart."""
    billed: Rows = {}
    others: Rows = {}
    for key, count in sorted(spent.items()):
        (billed if is_billed(key[1]) else others)[key] = count
    return {
        "smartworker_redis_commands_total": billed,
        "smartworker_redis_unbilled_commands_total": others,
    }


def _tasks(nodename: str, counted: TaskCounts) -> Table:
    # As celery-exporter has it: the machine, without the name of the worker.
    host = str(nodesplit(nodename)[1])
    table: Table = {
        f"celery_task_{event}_total": {
            (name, host, queue): count
            for (name, queue), count in counted.events(event).items()
        }
        for event in EVENTS
    }
    return table | {
        "celery_task_failed_total": {
            (name, host, error, queue): count
            for (name, error, queue), count in counted.failures().items()
        },
        "celery_task_runtime": {
            (name, host, queue): spread
            for (name, queue), spread in counted.runtimes().items()
        },
        "celery_worker_up": {(host,): 1},
        "celery_worker_tasks_active": {(host,): len(state.active_requests)},
    }


def _jobs(app: Any, counted: TaskCounts) -> Table:
    names = [job.name for job in jobs_of(app)]
    # A job that has done nothing yet has a 0, so that a rule can see its first run.
    quiet: Rows = {(name,): 0 for name in names}
    runs: Rows = {
        (name, outcome): 0
        for name in names
        for outcome in ("succeeded", "failed", "retried")
    }
    return {
        "smartworker_job_runs_total": runs | known_jobs(figures.runs(), names),
        "smartworker_job_missed_total": quiet
        | known_jobs(counted.slots("missed"), names),
        "smartworker_job_late_total": quiet | known_jobs(counted.slots("late"), names),
        "smartworker_job_last_success_timestamp_seconds": {
            (job,): moment for job, moment in counted.succeeded_at().items()
        },
        "smartworker_start_delay_seconds": {
            (job,): spread for job, spread in counted.delays().items()
        },
    }


def _polls(spent: Mapping[tuple[str, str], int]) -> int:
    return sum(count for (cause, _), count in spent.items() if cause == POLL)


def _budget(worker: Any) -> float:
    budget = worker.app.smartworker.monthly_budget
    return float(worker.presence.clerk.month_total() / budget)


def _poller(worker: Any) -> Table:
    """What is known once the worker has a connection; nothing before."""
    consumer = worker.consumer
    step = getattr(consumer, "pacemaker", None)
    if step is None or step.poller is None or step.pacer is None:
        return {"smartworker_ready": {(): 0}}
    signs, mode = vitals(consumer), step.poller.hearing.mode
    well = step.poller.outage is None
    decision = step.pacer.decision
    now_open = None if decision is None else decision.window
    table: Table = {
        "smartworker_ready": {(): int(readiness(consumer).ready)},
        "smartworker_broker_up": {(): int(well)},
        "smartworker_doorbell_up": {(mode,): int(well and mode != "off")},
        "smartworker_poll_interval_seconds": {(): signs.poll_seconds},
        "smartworker_window_open": {
            (span.name,): int(span.name == now_open)
            for span in step.policy.windows.spans
        },
        "smartworker_messages_held": {(): len(step.poller.held())},
    }
    if signs.last_poll is not None:
        last = _unix(signs.last_poll)
        table["smartworker_last_poll_timestamp_seconds"] = {(): last}
    return table


def _unix(moment: datetime) -> float:
    return round(moment.timestamp(), 3)
