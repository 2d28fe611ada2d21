"""The jobs that an app declares; read when they are first needed."""

from typing import Any

from smartworker.cron.registry import Jobs


def jobs_of(app: Any) -> Jobs:
    """The cron jobs of an app that `setup` has seen."""
    if not isinstance(app.smartworker_jobs, Jobs):
        app.smartworker_jobs = app.smartworker_jobs()
    jobs: Jobs = app.smartworker_jobs
    return jobs
