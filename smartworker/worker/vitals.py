"""The bootstep that shows whether the worker is well, at no command.

To a state file for `smartworker health`, to the worker's own port (`readiness`), and
to a watchdog, with which a worker that is stuck ends.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from celery import bootsteps, signals
from celery.concurrency.solo import TaskPool as SoloPool
from celery.worker import state

from smartworker import statefile
from smartworker.clock import system_clock
from smartworker.logs import get_logger
from smartworker.vitals import WELL, Readiness, Vitals
from smartworker.worker.stuck import Watchdog, children_of, leave

log = get_logger(__name__)


def readiness(consumer: Any) -> Readiness:
    """Whether this worker would pick work up now; from any thread, 0 commands."""
    return vitals(consumer).verdict(system_clock.now())


def vitals(consumer: Any) -> Vitals:
    """The signs of life of this worker; from any thread, 0 commands."""
    poller = consumer.pacemaker.poller
    started = consumer.vital_signs.started
    if poller is None:
        return Vitals(started=started, poll_seconds=0.0)
    pace, outage = poller.pace, poller.outage
    busy, until = _busy(consumer)
    return Vitals(
        started=started,
        poll_seconds=pace.interval,
        last_poll=_wall(pace.last),
        next_poll=_wall(pace.due),
        broker=WELL if outage is None else outage.refusal.kind,
        busy=busy,
        busy_until=until,
        stopping=_stopping(),
    )


class VitalSigns(bootsteps.StartStopStep):
    """Writes the state file when something changes, and starts the watchdog."""

    requires = ("smartworker.worker.bootstep:Pacemaker",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        consumer.vital_signs = self
        self.started = system_clock.now()
        self._consumer = consumer
        self._home = statefile.directory(consumer.app.smartworker.state_dir)
        self._path: Path | None = None
        self._failed = False
        self._watchdog: Watchdog | None = None
        signals.worker_shutdown.connect(self._remove, dispatch_uid=self)
        # The file of a worker before this one would say that all is well.
        self._write()

    def start(self, consumer: Any) -> None:
        """Follow the poller of a new connection."""
        consumer.pacemaker.poller.pace.watchers.append(self._write)
        if isinstance(consumer.pool, SoloPool):
            signals.task_prerun.connect(self._write, dispatch_uid=self)
            signals.task_postrun.connect(self._write_soon, dispatch_uid=self)
        if consumer.hub is not None:
            self._watchdog = Watchdog(
                consumer.hub.call_soon,
                self._due,
                lambda reason: leave(
                    consumer.hostname, reason, children_of(consumer.pool)
                ),
            )
            self._watchdog.start()

    def stop(self, consumer: Any) -> None:
        """The connection is left, perhaps for another one."""
        if self._watchdog is not None:
            self._watchdog.stop()

    def close(self, consumer: Any) -> None:
        """The worker stops: what runs may take its time, and nothing new is taken."""
        self.stop(consumer)
        self._write()

    def _due(self) -> float | None:
        """When the loop had to act at the latest; None: it may do something else."""
        consumer = self._consumer
        poller = consumer.pacemaker.poller
        if _stopping() or not poller.in_loop or poller.pace.last is None:
            return None
        if _busy(consumer)[0]:
            return None
        outage = poller.outage
        return float(poller.pace.due if outage is None else outage.next_try)

    def _write(self, *_: Any, **__: Any) -> None:
        """Write the state; what fails is said once and harms nobody."""
        if self._home is None:
            return
        try:
            self._path = statefile.write(
                self._home, self._consumer.hostname, vitals(self._consumer)
            )
            self._failed = False
        except Exception as error:
            if not self._failed:
                self._failed = True
                log.warning(
                    "state_not_written",
                    error=f"{type(error).__name__}: {error}"[:200],
                )

    def _write_soon(self, **_: Any) -> None:
        # The task counts as running until Celery has had its outcome.
        self._consumer.call_soon(self._write)

    def _remove(self, **_: Any) -> None:
        self._home = None
        if self._path is not None:
            statefile.remove(self._path)


def _stopping() -> bool:
    """Whether Celery was told to stop; it keeps the exit status there, be it 0."""
    told = (state.should_stop, state.should_terminate)
    return any(each is not None and each is not False for each in told)


def _busy(consumer: Any) -> tuple[bool, datetime | None]:
    """Whether a task has the only process, and until when it may; None: no limit.

    A solo pool blocks the loop, and has no time limits of its own: after the one that
    the task has elsewhere, it is not taken for well any more.
    """
    if not isinstance(consumer.pool, SoloPool):
        return False, None
    try:
        running = [*state.active_requests]
    except RuntimeError:  # another thread looks while a task begins
        return True, None
    if not running:
        return False, None
    limits = [_limit(request) for request in running]
    if None in limits:
        return True, None
    begun = min(request.time_start or 0.0 for request in running)
    return True, datetime.fromtimestamp(
        begun + sum(filter(None, limits)), system_clock.now().tzinfo
    )


def _limit(request: Any) -> float | None:
    hard, soft = request.time_limits
    task = request.task
    return hard or task.time_limit or soft or task.soft_time_limit


def _wall(monotonic: float | None) -> datetime | None:
    """A time on the monotonic clock as the wall clock shows it."""
    if monotonic is None:
        return None
    now = system_clock.now()
    return now + timedelta(seconds=monotonic - system_clock.monotonic())
