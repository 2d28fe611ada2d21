"""A user's project with cron jobs, as the ready-made app finds it in its settings."""

from celery import Celery, shared_task
from celery.schedules import crontab

import smartworker
from smartworker.cron.registry import Jobs

#: Not yet a smartworker: what `smartworker cron import` reads.
beat = Celery("beat", set_as_current=False)
beat.conf.timezone = "Europe/Berlin"
beat.conf.beat_schedule = {
    "Nightly Report": {
        "task": "nightshift.report",
        "schedule": crontab(minute=30, hour=21),
    },
    "often": {"task": "nightshift.add", "schedule": 7.0, "args": (1, 2)},
}


@shared_task(name="nightshift.add")
def add(x: int, y: int) -> int:
    """The sum."""
    return x + y


@shared_task(name="nightshift.report")
def report() -> str:
    """Takes no time."""
    return "done"


@shared_task(name="nightshift.fail")
def fail() -> None:
    """Always fails."""
    raise ValueError("the printer is on fire\nand nobody is there")


def declare(jobs: Jobs) -> None:
    """Add the jobs of this project."""
    jobs.declare(
        "report",
        "nightshift.report",
        description="Yesterday in numbers.",
        schedule="30 21 * * mon-fri",
        only_when_due=True,
        overlap="skip",
    )
    jobs.declare("refresh", "nightshift.add", args=(1, 1), schedule="*/15 * * * *")
    jobs.declare("add", "nightshift.add", parameters={"x": int, "y": int})
    jobs.declare("fail", "nightshift.fail")


def make_app() -> Celery:
    """An app of its own with the same jobs."""
    jobs = Jobs()
    declare(jobs)
    return smartworker.setup(Celery("shift", set_as_current=False), jobs=jobs)
