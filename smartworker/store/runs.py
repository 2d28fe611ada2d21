"""The finished runs of a job: a capped stream, one entry each, newest last."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from smartworker.store import keys
from smartworker.store.meter import because

#: About so many entries of each job are kept.
KEPT = 200
#: The one field of an entry.
FIELD = "run"


@dataclass(frozen=True)
class RunRecord:
    """What is remembered of a run that ended, or that never began."""

    job: str
    slot: str
    task_id: str
    trigger: str
    #: SUCCESS, FAILURE or REVOKED; MISSED if it never began.
    state: str
    #: ISO 8601 in UTC: when it began, or when this was noted if it never did.
    started: str
    #: How long it ran; None if it never began or nobody knows.
    seconds: float | None = None
    #: One line; "" if nothing went wrong.
    error: str = ""
    #: The last lines that it logged.
    tail: tuple[str, ...] = ()
    #: What all lines of the run carry; "" for one that never began.
    trigger_id: str = ""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "tail": list(self.tail)}


_TEXTS = {known.name for known in fields(RunRecord)} - {"seconds", "tail"}


def add(client: Any, record: RunRecord, prefix: str = "") -> None:
    """Remember a run. 1 command."""
    entry = json.dumps(record.as_json(), ensure_ascii=False, separators=(",", ":"))
    # A lone surrogate is no UTF-8, and no reason to forget a run.
    value = entry.encode("utf-8", "backslashreplace")
    with because("cron"):
        client.xadd(
            prefix + keys.runs(record.job),
            {FIELD: value},
            maxlen=KEPT,
            approximate=True,
        )


def last(client: Any, job: str, count: int, prefix: str = "") -> list[RunRecord]:
    """The last runs of a job, newest first. 1 command.

    At most `count`: entries that nobody can read are left out, and so is the second
    of two that are the same, for one whose reply got lost was written again.
    """
    with because("cron"):
        rows = client.xrevrange(prefix + keys.runs(job), count=count)
    found = (_record(job, entry) for _, entry in rows)
    return list(dict.fromkeys(record for record in found if record is not None))


def _record(job: str, entry: Any) -> RunRecord | None:
    """What an entry says; None if it is no run of this job."""
    raw = entry.get(FIELD.encode(), entry.get(FIELD)) if entry else None
    try:
        known = json.loads(raw) if raw is not None else None
    except (ValueError, RecursionError):
        return None
    if isinstance(known, dict) and known.get("job") == job:
        return record_of(known)
    return None


def record_of(known: dict[str, Any]) -> RunRecord | None:
    """The record with these fields; None if there is none. Others are left out."""
    # What an earlier release remembered has no trigger_id.
    texts = {"trigger_id": "", **{n: known[n] for n in _TEXTS if n in known}}
    seconds, tail = known.get("seconds"), known.get("tail")
    if texts.keys() != _TEXTS or not all(isinstance(x, str) for x in texts.values()):
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | None):
        return None
    if not isinstance(tail, list) or not all(isinstance(line, str) for line in tail):
        return None
    fitting: dict[str, Any] = {**texts, "seconds": seconds, "tail": tuple(tail)}
    return RunRecord(**fitting)
