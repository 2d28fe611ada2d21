"""What a worker counts for its metrics, beside the figures and the ledger.

In its main process, where all pools report, so that it is right with each of them. A
lock for threads; no command.
"""

import threading
from collections import Counter
from datetime import datetime
from typing import Any

from celery import signals

from smartworker.clock import system_clock
from smartworker.metrics import DELAY, RUNTIME, Distribution
from smartworker.worker.declared import jobs_of

#: Classes of errors that are told apart; a program may make up any number of them.
MOST_ERRORS = 100
OTHER_ERROR = "Other"

#: (task, queue).
Task = tuple[str, str]


class TaskCounts:
    """Counts since the start of the process; any thread may count and read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: Counter[tuple[str, str, str]] = Counter()
        self._failures: Counter[tuple[str, str, str]] = Counter()
        self._errors: set[str] = set()
        self._runtimes: dict[Task, Distribution] = {}
        self._delays: dict[str, Distribution] = {}
        self._succeeded_at: dict[str, float] = {}
        self._slots: Counter[tuple[str, str]] = Counter()

    def note(self, event: str, task: Task) -> None:
        """Something happened to a task: received, started, retried, ..."""
        with self._lock:
            self._events[event, *task] += 1

    def succeeded(self, task: Task, seconds: float, job: str, now: datetime) -> None:
        """A run has ended well; `job`: whose run it was, or ""."""
        with self._lock:
            self._events["succeeded", *task] += 1
            runtimes = self._runtimes.setdefault(task, Distribution(RUNTIME))
            runtimes.observe(seconds)
            if job:
                self._succeeded_at[job] = now.timestamp()

    def failed(self, task: Task, error: str) -> None:
        """A run has failed with an error of this class."""
        with self._lock:
            if len(self._errors) < MOST_ERRORS:
                self._errors.add(error)
            name = error if error in self._errors else OTHER_ERROR
            self._failures[task[0], name, task[1]] += 1

    def began(self, task: Task, job: str, delay: float | None) -> None:
        """A run begins, `delay` seconds after its slot where it has one."""
        with self._lock:
            self._events["started", *task] += 1
            if delay is not None:
                delays = self._delays.setdefault(job, Distribution(DELAY))
                delays.observe(delay)

    def slot(self, what: str, job: str) -> None:
        """A slot of a job is `late` or `missed`."""
        with self._lock:
            self._slots[what, job] += 1

    # -- read at a scrape --------------------------------------------------------------

    def events(self, event: str) -> dict[Task, int]:
        """{(task, queue): how often this happened}."""
        with self._lock:
            rows = [*self._events.items()]
        return {(name, queue): n for (what, name, queue), n in rows if what == event}

    def failures(self) -> dict[tuple[str, str, str], int]:
        """{(task, error, queue): count}."""
        with self._lock:
            return dict(self._failures)

    def runtimes(self) -> dict[Task, Distribution]:
        """Seconds of runs that ended well, by task and queue."""
        with self._lock:
            return {task: _copy(each) for task, each in self._runtimes.items()}

    def delays(self) -> dict[str, Distribution]:
        """Seconds from slot to start, by job; "": not declared here."""
        with self._lock:
            return {job: _copy(each) for job, each in self._delays.items()}

    def succeeded_at(self) -> dict[str, float]:
        """When a run of each job last ended well, in seconds since 1970."""
        with self._lock:
            return dict(self._succeeded_at)

    def slots(self, what: str) -> dict[tuple[str], int]:
        """{(job,): slots that were `late` or `missed`}."""
        with self._lock:
            rows = [*self._slots.items()]
        return {(job,): n for (which, job), n in rows if which == what}


def _copy(original: Distribution) -> Distribution:
    copied = Distribution(original.bounds)
    copied.merge(original)
    return copied


#: This process's own.
counts = TaskCounts()


def connect() -> None:
    """Count what is received, whatever app it belongs to."""
    signals.task_received.connect(_received, dispatch_uid="counts.received")


def _received(request: Any, **_: Any) -> None:
    noted(request, "received")


def noted(request: Any, event: str) -> None:
    """Count what has happened to Celery's request: received, rejected, revoked."""
    counts.note(event, task_of(request))


def began(request: Any, run: dict[str, Any] | None) -> None:
    """Count a run that begins; `run`: what its message says of a job's run."""
    job, delay = job_of(request, run), None
    if run is not None and not request.request_dict.get("retries"):
        delay = _delay(run.get("slot"))
    counts.began(task_of(request), job, delay)


def ended(
    request: Any, run: dict[str, Any] | None, outcome: str, seconds: float
) -> None:
    """Count a run that has ended, as Celery's request tells it."""
    task = task_of(request)
    if outcome == "succeeded":
        now = system_clock.now()
        counts.succeeded(task, seconds, job_of(request, run), now)
    elif outcome == "failed":
        counts.failed(task, error_of(request.failure))
    else:
        counts.note(outcome, task)


def task_of(request: Any) -> Task:
    """The name of a task and its queue; "" for one that nobody here consumes.

    What a message says of its way is its sender's word: labels must stay few.
    """
    queue = (request.delivery_info or {}).get("routing_key")
    known = request.app.amqp.queues.consume_from
    return request.name, queue if isinstance(queue, str) and queue in known else ""


def job_of(request: Any, run: dict[str, Any] | None) -> str:
    """The job whose run this is; "" for none, and for one not declared here."""
    declared = run is not None and run["job"] in jobs_of(request.app)
    return str(run["job"]) if run is not None and declared else ""


def error_of(failure: Any) -> str:
    """The name of the class of an error, which a pool process may have wrapped."""
    wrapped = getattr(failure, "exc_cls_name", None)
    if isinstance(wrapped, str):
        return wrapped
    if isinstance(failure, BaseException):
        return type(failure).__name__
    # The hard time limit and a revocation have words alone.
    return "TimeLimitExceeded" if "time limit" in str(failure) else OTHER_ERROR


def _delay(slot: Any) -> float | None:
    try:
        time = datetime.fromisoformat(str(slot))
        return max((system_clock.now() - time).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None
