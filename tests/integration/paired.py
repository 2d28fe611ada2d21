"""A user's project for a plan with one process; its tasks leave marks."""

import os
import time
from pathlib import Path

from celery import Celery

import smartworker

jobs = smartworker.Jobs()
jobs.declare("greet", "paired.mark", args=("greeted",))
app = smartworker.setup(Celery("paired"), jobs=jobs)


@app.task(name="paired.mark", shared=False)
def mark(name, seconds=0.0):
    """Leaves a file when it begins, and another one when it ends."""
    folder = Path(os.environ["PAIRED_MARKS"])
    (folder / f"{name}.begun").touch()
    time.sleep(seconds)
    (folder / f"{name}.done").touch()
    return name
