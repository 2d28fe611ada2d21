"""How a job stands: what is known of its last slot and of its last run, in one word."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from smartworker.cron.registry import Job
from smartworker.cron.runs import MISSED, QUEUED
from smartworker.cron.slots import Slot
from smartworker.store.runs import RunRecord

#: `due`, `late` and `missed` are about its last slot, which nobody has called for;
#: `ok`, `failed` and `revoked` tell how the last run ended.
State = Literal[
    "ok",
    "failed",
    "revoked",
    "running",
    "queued",
    "due",
    "late",
    "missed",
    "paused",
    "never ran",
]

UNFINISHED = ("STARTED", "PROGRESS", "RETRY", "RECEIVED")
ENDINGS: Mapping[str, State] = {
    "SUCCESS": "ok",
    "FAILURE": "failed",
    "REVOKED": "revoked",
    MISSED: "missed",
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What Redis says of a job."""

    paused: str | None = None
    #: When a worker first knew of it; what was before that is nobody's business.
    since: datetime | None = None
    #: The newest of its finished runs.
    last: RunRecord | None = None
    #: The run that has its lease.
    owner: str | None = None
    #: The record of its last slot.
    record: Mapping[str, Any] | None = None


def last_slot(job: Job, now: datetime) -> Slot | None:
    """The last slot in which the job may run; None if it has none."""
    if job.schedule is None:
        return None
    slot = Slot(job.schedule.last(now), scheduled=True)
    allowed = job.windows is None or job.windows.at(slot.time) is not None
    return slot if allowed else None


def state_of(job: Job, facts: Facts, now: datetime) -> State:
    """The word for how a job stands."""
    if facts.paused:
        return "paused"
    record, last = facts.record or {}, facts.last
    status, ended = record.get("status"), last and last.task_id
    # A record may say "queued" for ever: where a key gave the run of the slot an id of
    # its own, or where results are kept elsewhere.
    is_told = last is not None and last.slot >= _slot_of(record)
    if status == QUEUED and not is_told:
        return "queued"
    if status in UNFINISHED and ended != record.get("task_id"):
        return "running"
    if facts.owner not in (None, ended):
        return "running"
    if status not in ENDINGS and not _answered(job, facts, now):
        slot = last_slot(job, now)
        if slot is not None and (state := _waiting(job, slot, facts, now)):
            return state
    if last is not None and (is_told or status not in ENDINGS):
        return ENDINGS.get(last.state, "failed")
    return ENDINGS.get(str(status), "never ran")


def _answered(job: Job, facts: Facts, now: datetime) -> bool:
    """Whether somebody has called for the last slot, as far as anybody remembers."""
    slot = last_slot(job, now)
    if slot is None or facts.record is not None:
        return True
    # Records go before the history does. Both are ISO 8601 in UTC.
    return facts.last is not None and facts.last.slot >= str(slot)


def _waiting(job: Job, slot: Slot, facts: Facts, now: datetime) -> State | None:
    # Nobody has promised anything before a worker knew of the job.
    if facts.since is None or slot.time <= facts.since:
        return None
    age = now - slot.time
    if age <= job.grace:
        return "due"
    return "late" if age <= job.patience else "missed"


def _slot_of(record: Mapping[str, Any]) -> str:
    """The slot of a record in ISO 8601; "" if it has none."""
    run = record.get("run")
    slot = run.get("slot") if isinstance(run, Mapping) else None
    return slot if isinstance(slot, str) else ""
