"""Rounds on the wall clock: each minute, and when the last one asked for the next."""

from collections.abc import Callable
from datetime import datetime

import pytz
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from smartworker.clock import system_clock

#: Seconds between two rounds: the clock may have been set, or the machine may have
#: slept. Costs no command.
WATCH = 60


class Rounds:
    """Calls `go` in a thread of its own, never twice at once; it returns the next time.

    Costs nothing until `start`.
    """

    def __init__(self, go: Callable[[], datetime | None]) -> None:
        self._go = go
        self._scheduler: BackgroundScheduler | None = None

    def start(self) -> None:
        """Begin with a round now, unless they have begun."""
        if self._scheduler is not None:
            return
        self._scheduler = BackgroundScheduler(
            timezone=pytz.utc,
            daemon=True,
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "misfire_grace_time": None},
        )
        self._scheduler.start()
        self._scheduler.add_job(
            self._round, "interval", seconds=WATCH, next_run_time=system_clock.now()
        )

    def stop(self) -> None:
        """End the timers; waits for nothing."""
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None:
            scheduler.shutdown(wait=False)

    def _round(self) -> None:
        scheduler, due = self._scheduler, self._go()
        if due is not None and scheduler is not None and scheduler.running:
            scheduler.add_job(
                self._round, "date", run_date=due, id="look", replace_existing=True
            )
