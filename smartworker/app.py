"""The ready-made Celery app: `celery -A smartworker.app worker`."""

import os

from celery import Celery

from smartworker.cron.registry import load_jobs
from smartworker.settings import Settings
from smartworker.worker.setup import setup

settings = Settings.from_environment(os.environ)
app = setup(
    Celery("smartworker", include=list(settings.tasks)),
    settings,
    # Not yet: the modules may import this app.
    lambda: load_jobs(settings.tasks),
)
