"""What happens to tasks, as events; Celery's own lines about it are left out."""

import logging
import threading
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from celery import signals

from smartworker import logs
from smartworker.clock import system_clock
from smartworker.ping import secrets_of
from smartworker.worker.tracing import NAMES, names_of

log = logs.get_logger(__name__)

#: Loggers whose INFO lines say what our events say.
TALKATIVE = ("apscheduler", "celery.app.trace", "celery.worker.strategy")

#: Names our receiver of Celery's `setup_logging` signal.
OURS = "smartworker"

#: By thread and task: another thread may begin the next try before this one has ended.
_started: dict[tuple[int, str], float] = {}
_bound: dict[tuple[int, str], Any] = {}
#: The run that has just ended in this thread, and its names.
_ended: ContextVar[tuple[str, dict[str, Any]]] = ContextVar("ended", default=("", {}))


def connect() -> None:
    """Log what happens to tasks, whatever app they belong to."""
    for signal, handler in (
        (signals.worker_shutting_down, _stopping),
        (signals.task_prerun, _start),
        (signals.task_postrun, _finish),
        (signals.task_failure, _fail),
        (signals.task_retry, _retry),
    ):
        signal.connect(handler, weak=False, dispatch_uid=handler.__qualname__)


def take_over(app: Any) -> None:
    """Write the lines of this process, which becomes a worker of this app.

    A program that configures Celery's logging by itself is left alone.
    """
    signals.setup_logging.disconnect(dispatch_uid=OURS)
    if signals.setup_logging.receivers:
        return

    def on_setup(loglevel: Any = None, logfile: Any = None, **_: Any) -> None:
        configure(app, loglevel or logging.INFO, logfile)

    signals.setup_logging.connect(on_setup, weak=False, dispatch_uid=OURS)
    configure(app)


def configure(app: Any, level: Any = logging.INFO, logfile: Any = None) -> None:
    """Send the lines of this process where and how the settings say.

    `level` is for the lines of others: our events are always there.
    """
    logs.configure(app.smartworker.log_format, secrets(app), level, logfile)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def secrets(app: Any) -> list[str]:
    """Everything that must never stand in a log line of this app."""
    settings = app.smartworker
    entries = (*settings.cron_tokens, *settings.webhook_secrets)
    found = [entry.rpartition(":")[2] for entry in entries]
    for secret in (
        settings.admin_token,
        settings.qstash_current_key,
        settings.qstash_next_key,
        *secrets_of(settings.ping_url),
    ):
        found.append(secret or "")
    for url in (app.conf.broker_url, app.conf.result_backend, settings.database_url):
        try:
            password = urlsplit(str(url)).password or ""
        except ValueError:
            continue
        found += [password, unquote(password)]
    return [secret for secret in found if secret]


def _stopping(sender: Any = None, sig: str = "", how: str = "", **_: Any) -> None:
    log.info("worker_stopping", worker=sender, signal=sig, how=how.lower())


def _start(task_id: str, task: Any, **_: Any) -> None:
    here = threading.get_ident(), task_id
    _started[here] = system_clock.monotonic()
    _bound[here] = logs.bind(
        task_id=task_id, task=task.name, **names_of(task.request.headers)
    )
    log.info("task_started")


def _finish(task_id: str, state: str | None = None, **_: Any) -> None:
    here, seconds = (threading.get_ident(), task_id), _seconds(task_id)
    _started.pop(here, None)
    if state == "SUCCESS":
        log.info("task_finished", seconds=seconds, state=state)
    # An outer task, which called this one directly, gets its own fields back.
    if here in _bound:
        _ended.set((task_id, {name: logs.bound_value(name) for name in NAMES}))
        logs.reset(_bound.pop(here))


def _fail(task_id: str, exception: Any, sender: Any = None, **_: Any) -> None:
    request = getattr(sender, "request", None)
    # What Celery fails to do after the run is a failure of it, too.
    ended, names = _ended.get()
    if ended == task_id and logs.bound_value("task_id") != task_id:
        with logs.bound(**names_of(names)):
            _tell_failure(sender, task_id, request, exception)
    else:
        _tell_failure(sender, task_id, request, exception)


def _tell_failure(sender: Any, task_id: str, request: Any, exception: Any) -> None:
    # A killed pool process is reported by its parent, where no request is.
    log.error(
        "task_failed",
        task_id=task_id,
        task=getattr(sender, "name", None),
        attempt=_attempt(request) if getattr(request, "id", None) == task_id else None,
        seconds=_seconds(task_id),
        error=_brief(exception),
    )


def _retry(request: Any, reason: Any, **_: Any) -> None:
    log.warning(
        "task_retried",
        attempt=_attempt(request),
        seconds=_seconds(getattr(request, "id", None)),
        retry_seconds=_pause(getattr(reason, "when", None)),
        error=_brief(getattr(reason, "exc", None) or reason),
    )


def _attempt(request: Any) -> int | None:
    """Which run of the task this was; the first one is 1."""
    retries = getattr(request, "retries", None)
    return None if retries is None else retries + 1


def _pause(when: Any) -> float | None:
    """A retry's countdown, or how far off its time is."""
    if isinstance(when, datetime):
        when = (when.astimezone(UTC) - system_clock.now()).total_seconds()
    return None if when is None else round(max(when, 0.0), 3)


def _seconds(task_id: Any) -> float | None:
    started = _started.get((threading.get_ident(), task_id))
    return None if started is None else round(system_clock.monotonic() - started, 3)


def _brief(error: Any) -> str:
    text = f"{type(error).__name__}: {error}" if isinstance(error, Exception) else error
    return str(text)[:300]
