"""One record for each run of a job that has ended, by whoever knows how it ended."""

import sys
import threading
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from celery import signals, states
from celery.exceptions import Reject

from smartworker.clock import system_clock
from smartworker.cron.runs import run_of
from smartworker.logs import Redactor, bound, get_logger
from smartworker.store.history import why_not_database
from smartworker.store.runs import RunRecord
from smartworker.tail import Tail, brief
from smartworker.worker import journal
from smartworker.worker.request import run_header, run_left
from smartworker.worker.scribe import flush, scribe_of
from smartworker.worker.tracing import names_of

log = get_logger(__name__)

#: Characters.
LONGEST_ERROR = 300
#: Other states are no end of a run: it goes on, or its message comes back.
FINAL = (states.SUCCESS, states.FAILURE)


@dataclass(frozen=True)
class _Going:
    """A run that this thread is running."""

    run: dict[str, Any]
    started: datetime
    begun: float
    tail: Tail
    #: What was being handled before it began.
    handled: BaseException | None


@dataclass(frozen=True)
class _End:
    """How a run ended, and whether that is written."""

    task_id: str
    state: str
    error: str
    is_written: bool = False


_going: dict[tuple[int, str], _Going] = {}
_end: ContextVar[_End | None] = ContextVar("end", default=None)


def connect() -> None:
    """Remember the runs of jobs, whatever app they belong to."""
    for signal, handler in (
        (signals.worker_init, _tell_where),
        (signals.task_prerun, _start),
        (signals.task_postrun, _finish),
        (signals.task_failure, _fail),
        (signals.task_revoked, _revoke),
        (run_left, _leave),
        (signals.worker_process_shutdown, _flush),
        (signals.worker_shutdown, _flush),
    ):
        name = f"history.{handler.__name__}"
        signal.connect(handler, weak=False, dispatch_uid=name)


def remember(
    app: Any,
    run: dict[str, Any],
    task_id: str,
    state: str,
    *,
    error: str = "",
    started: datetime | None = None,
    seconds: float | None = None,
    tail: tuple[str, ...] = (),
) -> None:
    """Write the record of a run, whose header this is. 1 command.

    Without `started` the run never began, and now is when that was noted.
    """
    redactor = Redactor(journal.secrets(app))
    began = (started or system_clock.now()).astimezone(UTC)
    job, slot, trigger = (
        brief(str(run.get(name) or "")) for name in ("job", "slot", "trigger")
    )
    record = RunRecord(
        job=job,
        slot=slot,
        task_id=brief(task_id),
        trigger=trigger[:64],
        state=state,
        started=began.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        seconds=seconds,
        error=brief(" ".join(redactor.clean(error).split()), LONGEST_ERROR),
        tail=tail,
        trigger_id=brief(str(run.get("trigger_id") or ""))[:64],
    )
    # The journal has forgotten the run by now, or never knew it in this process.
    with bound(task_id=record.task_id, **names_of(run)):
        scribe_of(app).write(record)


# -- where the task runs ---------------------------------------------------------------


def _start(task_id: str, task: Any, **_: Any) -> None:
    run = run_of(task.request.headers)
    if run is None or task.request.is_eager or not _is_ours(task):
        return
    _end.set(None)
    redactor = Redactor(journal.secrets(task.app))
    _going[threading.get_ident(), task_id] = _Going(
        run=run,
        started=system_clock.now(),
        begun=system_clock.monotonic(),
        # The journal's own lines say what the record says.
        tail=Tail(redactor, without=(journal.__name__,)).start(),
        handled=sys.exc_info()[1],
    )


def _finish(
    task_id: str, task: Any = None, retval: Any = None, state: str = "", **_: Any
) -> None:
    going = _going.pop((threading.get_ident(), task_id), None)
    if going is None:
        return
    tail = going.tail.stop()
    # The task has returned, and what Celery did with that raised an error.
    flying = sys.exc_info()[1]
    if flying is not None and flying is not going.handled:
        if isinstance(flying, Reject) or not isinstance(flying, Exception):
            return
        state, retval = states.FAILURE, flying
    if state not in FINAL:
        return
    error = _said(retval) if state == states.FAILURE else ""
    remember(
        task.app,
        going.run,
        task_id,
        state,
        error=error,
        started=going.started,
        seconds=round(system_clock.monotonic() - going.begun, 3),
        tail=tail,
    )
    _end.set(_End(task_id, state, error, is_written=True))


# -- where it is missed: a pool process was killed, or the run never began -------------


def _fail(sender: Any, task_id: str, exception: Any, **_: Any) -> None:
    if (threading.get_ident(), task_id) in _going or not _is_ours(sender):
        return
    known = _end.get()
    if known is None or known.task_id != task_id or not known.is_written:
        _end.set(_End(task_id, states.FAILURE, _said(exception)))


def _revoke(
    request: Any,
    terminated: bool = False,
    signum: Any = None,
    expired: bool = False,
    **_: Any,
) -> None:
    why = "expired" if expired else "revoked"
    if terminated:
        why = f"terminated by {signum}" if signum else "terminated"
    _end.set(_End(request.id, states.REVOKED, why))


def _leave(request: Any, final: bool, **_: Any) -> None:
    end, run = _end.get(), run_header(request)
    _end.set(None)
    if not final or run is None or end is None or end.is_written:
        return
    if end.task_id != request.id or not _is_ours(request.task):
        return
    started = seconds = None
    if request.time_start is not None:
        started = datetime.fromtimestamp(request.time_start, UTC)
        seconds = round((system_clock.now() - started).total_seconds(), 3)
    remember(
        request.task.app,
        run,
        request.id,
        end.state,
        error=end.error,
        started=started,
        seconds=seconds,
    )


def _flush(**_: Any) -> None:
    flush()


def _tell_where(sender: Any, **_: Any) -> None:
    """Say once why the history is not where somebody may look for it."""
    settings = getattr(sender.app, "smartworker", None)
    why = settings and why_not_database(settings)
    if why:
        log.info("history_in_redis", reason=why)


def _is_ours(task: Any) -> bool:
    """Whether `setup` has seen the app of a task."""
    return getattr(getattr(task, "app", None), "smartworker", None) is not None


def _said(error: Any) -> str:
    if error is None:
        return ""
    text = "its text cannot be shown"
    with suppress(Exception):
        text = str(error)
    return f"{type(error).__name__}: {text}"
