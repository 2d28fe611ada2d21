"""The Celery app of the pricing example."""

from typing import Any

from celery import Celery

import smartworker
from smartworker.examples.pricing.jobs import declare

CONFIGURATION: dict[str, Any] = {
    "task_queues": {"discounts": {}, "maintenance": {}, "analytics": {}},
    "task_default_queue": "discounts",
    "task_routes": {
        "pricing.recompute_all_discounts": {"queue": "discounts"},
        "pricing.cleanup_expired_discounts": {"queue": "maintenance"},
        "pricing.update_price_history": {"queue": "analytics"},
    },
    "task_time_limit": 30 * 60,
    "task_soft_time_limit": 25 * 60,
    "worker_max_tasks_per_child": 1_000,
}

jobs = smartworker.Jobs()
declare(jobs)
app = Celery("pricing", include=["smartworker.examples.pricing.tasks"])
app.conf.update(CONFIGURATION)
smartworker.setup(app, jobs=jobs)
