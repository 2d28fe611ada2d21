"""APScheduler's home: a timer at each window edge, on the wall clock."""

from collections.abc import Callable

import pytz
from apscheduler.schedulers.background import BackgroundScheduler

from smartworker.policy import Decision

#: Seconds between two looks at the wall clock: it may have been set, or the machine
#: may have slept. Costs no command.
WATCH = 60


class Edges:
    """Calls `turn` at the next edge, in whatever thread `soon` chooses.

    `turn` decides anew and returns the decision; its `until` is the next edge.
    """

    def __init__(
        self,
        turn: Callable[[], Decision],
        soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._turn = turn
        self._soon = soon
        self._scheduler = BackgroundScheduler(timezone=pytz.utc, daemon=True)

    def start(self) -> None:
        """Begin; decides once, here and now."""
        self._scheduler.start()
        self._scheduler.add_job(
            self.ring, "interval", seconds=WATCH, coalesce=True, max_instances=1
        )
        self._step()

    def stop(self) -> None:
        """End the timers; waits for nothing."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def ring(self) -> None:
        """Decide anew, soon; safe from any thread."""
        self._soon(self._step)

    def _step(self) -> None:
        decision = self._turn()
        if decision.until is not None and self._scheduler.running:
            self._scheduler.add_job(
                self.ring,
                "date",
                run_date=decision.until,
                id="edge",
                replace_existing=True,
                misfire_grace_time=None,
            )
