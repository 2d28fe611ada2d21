"""How long a run may take, and how long its job is kept for it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from smartworker.worker.configuration import USUAL_TIME_LIMITS

#: Where neither the job nor the task nor Celery's configuration says it.
USUAL = float(USUAL_TIME_LIMITS[0])
#: How long a message may wait for its worker before the lease is asked for again.
WAITING = 1800.0
#: For clocks that differ, and for what comes before and after the task itself.
MARGIN = 60.0
#: A lease is renewed by a look each minute, which must not come too late.
SHORTEST_LEASE = 300.0
#: A run is stuck when it takes so many times as long as it may.
STUCK = 2


def limit_of(header: Mapping[str, Any]) -> float | None:
    """The job's own limit in seconds, from what a message carries."""
    limit = header.get("limit")
    return float(limit) if isinstance(limit, int | float) else None


def longest_run(app: Any, task: str, limit: float | None) -> float:
    """Seconds after which nothing of a run is left, where time limits work."""
    return max(_hard(app, task), limit or 0.0)


def stuck_after(app: Any, task: str, limit: float | None) -> float:
    """Seconds after which a run is reported as stuck."""
    return STUCK * (limit or _hard(app, task))


def trigger_lease(app: Any, limit: timedelta | float | None) -> int:
    """Seconds for which a trigger keeps the job for its run.

    Both sides have to agree on it, so it follows from nothing that only one knows,
    such as the limit of the task itself.
    """
    if isinstance(limit, timedelta):
        limit = limit.total_seconds()
    longest = max(float(app.conf.task_time_limit or USUAL), limit or 0.0)
    return int(WAITING + longest + MARGIN)


def run_lease(app: Any, task: str, limit: float | None) -> int:
    """Seconds for which a worker keeps the job for a run that begins, or goes on."""
    return int(max(longest_run(app, task, limit) + MARGIN, SHORTEST_LEASE))


def _hard(app: Any, task: str) -> float:
    own = getattr(app.tasks.get(task), "time_limit", None)
    return float(own or app.conf.task_time_limit or USUAL)
