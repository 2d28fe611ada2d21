"""A user's project whose dashboard is looked at: three jobs, one of them fails."""

import logging
import time

from celery import Celery

import smartworker
from smartworker.cron.registry import Jobs
from smartworker.settings import Settings

log = logging.getLogger("desk")


def make_jobs() -> Jobs:
    """The same for the worker and for the web process."""
    jobs = Jobs()
    jobs.declare("report", "desk.report", schedule="30 21 * * mon-fri")
    jobs.declare("send-invoices", "desk.fail", schedule="0 6 1 * *")
    jobs.declare("clean-up", "desk.nap", kwargs={"seconds": 8})
    return jobs


def make_app(settings: Settings | None = None) -> Celery:
    """An app of its own; without settings those of the environment."""
    made = smartworker.setup(
        Celery("desk", set_as_current=False), settings, make_jobs()
    )

    @made.task(name="desk.report", shared=False)
    def report() -> str:
        log.info("42 swimmers, <b>7</b> lanes")
        return "done"

    @made.task(name="desk.fail", shared=False)
    def fail() -> None:
        log.info("opening the cash box")
        raise ValueError("the printer is on fire")

    @made.task(name="desk.nap", shared=False)
    def nap(seconds: float) -> None:
        time.sleep(seconds)

    return made


def __getattr__(name: str) -> Celery:
    """`celery -A desk`; the tests read no environment."""
    if name != "app":
        raise AttributeError(name)
    globals()["app"] = made = make_app()
    return made
