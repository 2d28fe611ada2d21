"""The Celery app of the swim example."""

from celery import Celery

import smartworker
from smartworker.examples.swim.jobs import declare

jobs = smartworker.Jobs()
declare(jobs)
app = smartworker.setup(
    Celery("swim", include=["smartworker.examples.swim.tasks"]), jobs=jobs
)
