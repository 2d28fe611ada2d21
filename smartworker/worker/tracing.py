"""One trigger_id from the call to the last line, whatever is queued in between."""

from collections.abc import Mapping
from typing import Any

from celery import signals

from smartworker import logs
from smartworker.cron.runs import HEADER

#: What every line of a run carries, if its message does.
NAMES = ("job", "trigger_id")


def connect() -> None:
    """Let the messages that a run publishes carry its trigger_id, in any app."""
    signals.before_task_publish.connect(
        _hand_on, weak=False, dispatch_uid="tracing._hand_on"
    )


def names_of(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """What lines about this message carry: `job` and `trigger_id`, where known."""
    known = headers or {}
    return {name: known[name] for name in NAMES if known.get(name) is not None}


def _hand_on(headers: Any = None, **_: Any) -> None:
    """A subtask, a step of a chain, a chord's body: led to by the same call.

    Not the job: its figures count runs, not what runs have queued.
    """
    if not isinstance(headers, dict):
        return
    trigger_id = logs.bound_value("trigger_id")
    if isinstance(trigger_id, str):
        headers.setdefault("trigger_id", trigger_id)
    # Tracing libraries add headers inside the headers, and then Celery shows the task
    # those alone.
    inner = headers.get("headers")
    if isinstance(inner, dict):
        for name in (*NAMES, HEADER):
            if name in headers:
                inner.setdefault(name, headers[name])
