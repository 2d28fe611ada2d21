"""The Celery app of the marketplace: seven queues, each with its priority."""

from celery import Celery

import smartworker
from smartworker.examples.lessons.jobs import declare
from smartworker.examples.lessons.queues import PRIORITIES, ROUTES

jobs = smartworker.Jobs()
declare(jobs)
app = Celery("lessons", include=["smartworker.examples.lessons.tasks"])
app.conf.update(
    task_queues={name: {"exchange": name, "routing_key": name} for name in PRIORITIES},
    task_routes=ROUTES,
    broker_transport_options={"queue_priorities": PRIORITIES},
    # A worker takes no more than it runs, so that a booking waits for nothing else.
    worker_prefetch_multiplier=1,
    # KiB: a child that has grown beyond it is replaced after its task.
    worker_max_memory_per_child=200_000,
    result_expires=3600,
)
smartworker.setup(app, jobs=jobs)
# Each thread of the web process would look for another app of its own.
app.set_default()
