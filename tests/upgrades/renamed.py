"""A user's project on the release of `table.py`."""

import os

from celery import Celery

import smartworker
from tests.upgrades.table import TABLE

settings = smartworker.Settings.from_environment(os.environ, TABLE)
app = smartworker.setup(Celery("renamed"), settings)
