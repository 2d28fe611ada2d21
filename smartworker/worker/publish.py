"""Publishing a task once, however often its sender has to try."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

from smartworker.broker.envelope import ONCE
from smartworker.cron.runs import HEADER, QUEUED, SKIPPED, Run
from smartworker.cron.slots import stamp
from smartworker.policy import Policy
from smartworker.store import keys
from smartworker.store.trigger import Answer, Step, stepping
from smartworker.worker import crons
from smartworker.worker.limits import trigger_lease
from smartworker.worker.records import record_key

#: The namespace of task ids that are derived from keys.
IDS = UUID("6f0f3b0e-3c55-5b27-9d6c-2d1c5a1f9a51")
#: From the poll that finds a task to its first line.
START_MARGIN = timedelta(seconds=5)
#: Tries of one publication: together they stay below the deadline of a trigger.
RETRY_POLICY = {
    "max_retries": 2,
    "interval_start": 0.1,
    "interval_step": 0.3,
    "interval_max": 0.5,
}


def task_id_of(task_name: str, key: str) -> str:
    """The id of the one execution that this key stands for.

    A UUID of version 8: one of version 5 is the run of a job, which has a record from
    the first moment on.
    """
    made = uuid5(IDS, f"{task_name}\0{key}").int
    return str(UUID(int=made ^ ((5 ^ 8) << 76)))


def publish_once(
    task: Any,
    key: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Queue a task unless it was queued with this key within a day; its result.

    `options` are those of `apply_async`. A repeated call, also after an error whose
    outcome is unknown, queues nothing and returns the same result. 3 commands, 2 for
    a repetition. Raises what `apply_async` raises.
    """
    task_id = task_id_of(task.name, key)
    headers = {**(options.pop("headers", None) or {}), ONCE: task_id}
    return task.apply_async(
        args, dict(kwargs or {}), task_id=task_id, headers=headers, **options
    )


@dataclass(frozen=True)
class Outcome:
    """What became of a run that was to be queued."""

    trigger_id: str
    pushed: bool
    overlapping: bool = False
    #: What was recorded before, where the run had been queued already.
    record: Mapping[str, Any] | None = None


def queue_run(app: Any, run: Run, *, now: datetime) -> Outcome:
    """Queue a run of a job unless it was queued before.

    One atomic step: a crash or a lost reply leaves either both record and message or
    neither, and asking again is safe. 3 commands, 2 for a repetition; 1 more with a
    lease (overlap `skip`), 1 more where a key's run also stands for its slot. Raises
    what `send_task` raises.
    """
    trigger_id = uuid4().hex
    step = _step(app, run, trigger_id, now)
    with stepping(step):
        app.send_task(
            run.job.task,
            args=list(run.job.args),
            kwargs={**run.job.kwargs, **run.parameters},
            task_id=run.task_id,
            headers={
                "job": run.job.name,
                "trigger_id": trigger_id,
                HEADER: run.header(trigger_id),
                **crons.headers_of(run.job, now),
            },
            retry=True,
            retry_policy=dict(RETRY_POLICY),
        )
    if step.answer is Answer.OVERLAPPING:
        return Outcome(trigger_id, pushed=False, overlapping=True)
    if step.answer is Answer.PUSHED:
        return Outcome(trigger_id, pushed=True)
    record = _recorded(step.earlier)
    # Our own record means that a reply was lost, not that somebody was faster.
    earlier = record.get("run") or {}
    mine = earlier.get("trigger_id") == trigger_id
    return Outcome(trigger_id, pushed=mine, record=None if mine else record)


def _recorded(stored: bytes | str) -> Mapping[str, Any]:
    """What a record says; nothing where a result in another format took its place."""
    try:
        record = json.loads(stored)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def start_by(app: Any, now: datetime) -> datetime:
    """The time by which what is queued now has begun, if a worker runs."""
    settings = app.smartworker
    policy = Policy(settings.windows, settings.quiet_poll)
    return policy.decide(now).next_poll(now) + START_MARGIN


def _step(app: Any, run: Run, trigger_id: str, now: datetime) -> Step:
    prefix = app.conf.broker_transport_options.get("global_keyprefix", "")
    leased = run.job.overlap == "skip"
    record: dict[str, Any] = {
        "status": QUEUED,
        "result": {
            "queued_at": stamp(now),
            "expected_start_by": stamp(start_by(app, now)),
        },
        "traceback": None,
        "children": [],
        "date_done": None,
        "task_id": run.task_id,
        "run": run.header(trigger_id),
    }
    return Step(
        record_key=record_key(app, run.task_id),
        record=json.dumps(record),
        seconds=int(run.job.retention.total_seconds()),
        owner=run.task_id,
        lease_key=prefix + keys.running(run.job.name) if leased else "",
        lease_seconds=trigger_lease(app, run.job.limit) if leased else 0,
        # Nobody has called for a slot that is made up for.
        skipped=""
        if run.trigger == "catch-up" or not leased
        else json.dumps(record | {"status": SKIPPED, "result": None}),
        slot_key=record_key(app, run.slot_id) if run.slot_id else "",
    )
