"""The Celery app of the league example."""

from celery import Celery

import smartworker
from smartworker.examples.league.jobs import declare

jobs = smartworker.Jobs()
declare(jobs)
app = smartworker.setup(
    Celery("league", include=["smartworker.examples.league.tasks"]), jobs=jobs
)
app.conf.task_time_limit = 600
