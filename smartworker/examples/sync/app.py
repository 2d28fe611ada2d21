"""The Celery app of the sync example."""

from celery import Celery

import smartworker
from smartworker.examples.sync.jobs import declare

jobs = smartworker.Jobs()
declare(jobs)
app = smartworker.setup(
    Celery("sync", include=["smartworker.examples.sync.tasks"]), jobs=jobs
)
