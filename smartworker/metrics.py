"""The table of metrics: what web and worker show at `/metrics`, and its values.

Pure: it counts and describes; `exposition.py` writes it in Prometheus's form. Names
that celery-exporter has are its names, with its labels and its meaning.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

Kind = Literal["counter", "gauge", "histogram"]

#: Upper bounds in seconds; the last one, without end, is not written down.
RUNTIME = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
DELAY = (0.5, 1, 2.5, 5, 15, 30, 60, 120, 300, 900, 1800, 3600)


class Distribution:
    """How many observations lie below which bound, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """One more. Callers that share it lock by themselves."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def merge(self, other: "Distribution") -> None:
        """Add all of another one with the same bounds."""
        for place, count in enumerate(other._counts):
            self._counts[place] += count
        self.sum += other.sum

    def cumulative(self) -> list[tuple[str, int]]:
        """(upper bound, how many are at most that), as Prometheus wants them."""
        names = [*(f"{float(bound)}" for bound in self.bounds), "+Inf"]
        total, found = 0, []
        for name, count in zip(names, self._counts, strict=True):
            total += count
            found.append((name, total))
        return found


Value = float | Distribution
#: What is shown: {metric: {label values: value}}.
Readings = Mapping[str, Mapping[tuple[str, ...], Value]]


@dataclass(frozen=True)
class Metric:
    """One metric: its name as it is shown, its labels, and what it tells."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str


TASK = ("name", "hostname", "queue_name")

#: celery-exporter's.
CELERY = (
    Metric("celery_task_received_total", "counter", TASK, "Taken from a queue."),
    Metric("celery_task_started_total", "counter", TASK, "Runs begun, retries too."),
    Metric("celery_task_succeeded_total", "counter", TASK, "Runs that ended well."),
    Metric(
        "celery_task_failed_total",
        "counter",
        ("name", "hostname", "exception", "queue_name"),
        "Runs that failed, by the class of the error.",
    ),
    Metric("celery_task_retried_total", "counter", TASK, "Runs that another follows."),
    Metric("celery_task_rejected_total", "counter", TASK, "Rejected by the task."),
    Metric("celery_task_revoked_total", "counter", TASK, "Revoked or expired."),
    Metric(
        "celery_task_runtime", "histogram", TASK, "Seconds of runs that ended well."
    ),
    Metric("celery_worker_up", "gauge", ("hostname",), "1: the worker answers."),
    Metric("celery_worker_tasks_active", "gauge", ("hostname",), "Tasks that run now."),
)

#: What web and worker both have.
COMMON = (
    Metric("smartworker_info", "gauge", ("version", "kind"), "Always 1."),
    Metric(
        "smartworker_redis_commands_total",
        "counter",
        ("cause", "command"),
        "Billed commands this process has sent, by cause and name.",
    ),
    Metric(
        "smartworker_redis_unbilled_commands_total",
        "counter",
        ("cause", "command"),
        "Commands that Upstash does not bill, such as PING.",
    ),
)

JOB = ("job",)
#: A worker's own.
WORKER = (
    Metric("smartworker_ready", "gauge", (), "1: `/readyz` says 200."),
    Metric("smartworker_broker_up", "gauge", (), "0: Redis is away or refuses."),
    Metric(
        "smartworker_doorbell_up", "gauge", ("mode",), "1: a push wakes the worker."
    ),
    Metric("smartworker_polls_total", "counter", (), "Looks into all queues."),
    Metric("smartworker_poll_interval_seconds", "gauge", (), "The interval in force."),
    Metric(
        "smartworker_last_poll_timestamp_seconds",
        "gauge",
        (),
        "When the last poll was answered.",
    ),
    Metric(
        "smartworker_window_open", "gauge", ("window",), "1: this window is open now."
    ),
    Metric("smartworker_messages_held", "gauge", (), "Taken and not finished."),
    Metric(
        "smartworker_budget_ratio",
        "gauge",
        (),
        "Share of the month's budget that all processes have spent, as known here.",
    ),
    Metric(
        "smartworker_job_runs_total",
        "counter",
        ("job", "outcome"),
        "Runs of jobs: succeeded, failed or retried.",
    ),
    Metric(
        "smartworker_job_missed_total",
        "counter",
        JOB,
        "Slots nobody called for in time, told by this worker.",
    ),
    Metric(
        "smartworker_job_late_total",
        "counter",
        JOB,
        "Slots past their grace, told by this worker.",
    ),
    Metric(
        "smartworker_job_last_success_timestamp_seconds",
        "gauge",
        JOB,
        "When a run last ended well, since the worker started.",
    ),
    Metric(
        "smartworker_start_delay_seconds",
        "histogram",
        JOB,
        "From a run's slot to its first start.",
    ),
)

#: The web process's own.
WEB = (
    Metric(
        "smartworker_triggers_total",
        "counter",
        ("job", "outcome", "reason"),
        "Calls that may start a job: accepted, replayed, skipped, refused or failed.",
    ),
)

METRICS = {each.name: each for each in (*CELERY, *COMMON, *WORKER, *WEB)}


def info(kind: str) -> dict[str, dict[tuple[str, ...], Value]]:
    """Which release this is, and which half of it."""
    try:
        release = version("smartworker")
    except PackageNotFoundError:
        release = "unknown"
    return {"smartworker_info": {(release, kind): 1}}


def known_jobs(
    counts: Mapping[Any, int], jobs: Iterable[str]
) -> dict[tuple[str, ...], Value]:
    """Counts by job; jobs that are not declared here are one, without a name.

    A message or a caller may name any: labels must stay few.
    """
    declared, found = {*jobs}, Counter[tuple[str, ...]]()
    for (job, *rest), count in counts.items():
        found[job if job in declared else "", *rest] += count
    return {**found}
