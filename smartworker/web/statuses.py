"""What a stored state tells to the outside, and which states are the last."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from math import ceil
from typing import Any

from cachetools import TTLCache

from smartworker.clock import Clock
from smartworker.cron.runs import MISSED, QUEUED, SKIPPED
from smartworker.logs import Redactor
from smartworker.settings import Settings
from smartworker.web.problems import Document

Status = dict[str, Any]

LONGEST_ERROR = 2000
#: Nothing follows these; a dead letter that is queued again is the exception, so they
#: are not remembered for long.
FINAL = frozenset({"SUCCESS", "FAILURE", "REVOKED", MISSED})
_FAILED = frozenset({"FAILURE", "RETRY", "REVOKED"})
_SILENT = frozenset({"RECEIVED", "STARTED", MISSED, SKIPPED})

REMEMBERED = 60.0
MOST_BYTES = 8 * 1024 * 1024
#: Each counts as so many bytes at least, and one with more than that is not kept.
LEAST, MOST = 2 * 1024, 256 * 1024

#: Seconds until it is worth to ask again for a state that is not the last.
SOON = 2
LATEST = 3600

NOT_KNOWN = (
    "It is not known whether this task was queued: SMARTWORKER_TRACK_QUEUED=on records "
    "it, for one command more for each task."
)


def describe(task_id: str, meta: Mapping[str, Any]) -> Status:
    """The answer for a stored state; never a traceback."""
    state = str(meta.get("status"))
    return {"task_id": task_id, "state": state} | _told(state, meta) | _run(meta)


def is_final(status: Status) -> bool:
    """Whether nothing will follow."""
    return status["state"] in FINAL


def retry_after(status: Status, settings: Settings, now: datetime) -> str | None:
    """Seconds after which it is worth to ask again; None if it is not."""
    if is_final(status):
        return None
    moment = status.get("retry_at")
    if settings.doorbell == "off":
        moment = moment or status.get("expected_start_by")
    seconds = 0
    with suppress(TypeError, ValueError):
        seconds = ceil((datetime.fromisoformat(str(moment)) - now).total_seconds())
    return str(min(max(seconds, SOON), LATEST))


class Remembered:
    """The last states of tasks, for a short while and within a bounded space."""

    def __init__(self, clock: Clock) -> None:
        self._cache: TTLCache[str, tuple[Status, int]] = TTLCache(
            MOST_BYTES,
            REMEMBERED,
            timer=clock.monotonic,
            getsizeof=lambda entry: entry[1],
        )

    def get(self, task_id: str) -> Status | None:
        """The last state of a task, if it is remembered."""
        entry = self._cache.get(task_id)
        return None if entry is None else entry[0]

    def keep(self, status: Status) -> None:
        """Remember a state if it is the last and not too large."""
        if is_final(status):
            size = max(len(Document(status).body), LEAST)
            if size <= MOST:
                self._cache[status["task_id"]] = status, size


def _told(state: str, meta: Mapping[str, Any]) -> Status:
    result = meta.get("result")
    if state == "PENDING":
        return {"known": False, "message": NOT_KNOWN}
    if state in _SILENT:
        return {}
    if state == QUEUED:
        by = result.get("expected_start_by") if isinstance(result, dict) else None
        return {"expected_start_by": by} if isinstance(by, str) else {}
    if state == "SUCCESS":
        return {"result": result}
    if state in _FAILED:
        again = meta.get("retry_at")
        return {"error": _sentence(result)} | ({"retry_at": again} if again else {})
    return {"progress": result}


def _run(meta: Mapping[str, Any]) -> Status:
    run = meta.get("run")
    if not isinstance(run, dict):
        return {}
    return {
        name: run[name] for name in ("job", "slot") if isinstance(run.get(name), str)
    }


def _sentence(error: Any) -> str:
    try:
        text = str(error)
    except Exception:  # a task's own class, made anew without all that it was made of
        text = "its message cannot be told"
    if isinstance(error, BaseException):
        text = f"{type(error).__name__}: {text}"
    return Redactor().clean(text)[:LONGEST_ERROR]
