"""The ready-made Celery app: `celery -A smartworker.app worker`."""

import os

from celery import Celery

from smartworker.settings import Settings
from smartworker.worker.setup import setup

settings = Settings.from_environment(os.environ)
app = setup(Celery("smartworker", include=list(settings.tasks)), settings)
