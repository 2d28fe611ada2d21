"""The bootstep that looks after slots nobody called for, and runs that never end."""

from datetime import datetime
from typing import Any

from celery import bootsteps, signals
from celery.worker import state

from smartworker.clock import system_clock
from smartworker.cron.missed import Lookout
from smartworker.logs import get_logger
from smartworker.windows import to_utc
from smartworker.worker.declared import jobs_of
from smartworker.worker.limits import limit_of, stuck_after
from smartworker.worker.overlap import Overlap
from smartworker.worker.patrol import Patrol
from smartworker.worker.request import run_header
from smartworker.worker.rounds import Rounds

log = get_logger(__name__)


class Watchman(bootsteps.StartStopStep):
    """Makes its rounds in a thread of its own; a worker without jobs has none."""

    requires = (Overlap,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        consumer.watchman = self
        self._consumer = consumer
        self.lookout = Lookout(jobs_of(consumer.app))
        self._patrol = Patrol(consumer.app, self.lookout, system_clock)
        self._rounds = Rounds(self._round)
        self._told: set[str] = set()

    def start(self, consumer: Any) -> None:
        """Begin the rounds, if there is anything to look after."""
        signals.task_received.connect(self._received, dispatch_uid=self)
        if self.lookout:
            self._rounds.start()

    def stop(self, consumer: Any) -> None:
        """End the rounds."""
        self._rounds.stop()

    def _received(self, request: Any, **_: Any) -> None:
        """The message of a slot is here: nobody has to ask whether it was called."""
        header = run_header(request)
        if header is None or request.app is not self._consumer.app:
            return
        self._rounds.start()
        if header.get("scheduled") is True:
            try:
                time = to_utc(datetime.fromisoformat(str(header.get("slot"))))
            except ValueError:
                return
            self.lookout.see(header["job"], time)

    def _round(self) -> datetime | None:
        self._consumer.overlap.renew()
        now = system_clock.now()
        # A set would not be safe to read while the loop changes it; Python copies the
        # values of a dictionary in one go.
        self._told = tell_stuck([*state.requests.values()], now, self._told)
        return self._patrol.go()


def tell_stuck(requests: Any, now: datetime, told: set[str]) -> set[str]:
    """Report runs that take far too long, each once; the ids of all that were."""
    stuck = set()
    for request in requests:
        header = run_header(request)
        if header is None or request.time_start is None:
            continue
        allowed = stuck_after(request.app, request.type, limit_of(header))
        seconds = now.timestamp() - request.time_start
        if seconds <= allowed:
            continue
        stuck.add(request.id)
        if request.id not in told:
            log.error(
                "run_stuck",
                job=header["job"],
                slot=header.get("slot"),
                task_id=request.id,
                trigger_id=header.get("trigger_id"),
                seconds=round(seconds),
                allowed_seconds=allowed,
            )
    return stuck
