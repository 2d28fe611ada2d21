"""Queues runs, each one once, and remembers what it has just answered."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cachetools import TTLCache

from smartworker.clock import Clock
from smartworker.cron.runs import MISSED, Run
from smartworker.cron.slots import stamp
from smartworker.errors import BrokerUnreachable
from smartworker.logs import get_logger
from smartworker.web.blocking import Blocking
from smartworker.web.problems import Problem, unavailable
from smartworker.worker.publish import Outcome, queue_run, start_by

logger = get_logger(__name__)

#: Answers that are remembered, and for how many seconds: a cron service that tries
#: again does so within minutes, and the record in Redis knows the older ones.
MOST_REMEMBERED = 10_000
REMEMBERED = 600.0


@dataclass(frozen=True)
class Queued:
    """What became of a run, and by when it starts."""

    task_id: str
    trigger_id: str
    replayed: bool
    overlapping: bool
    #: The slot was given up before this call came.
    missed: bool
    #: The slot that the run counts for: not the present one, where a key came again.
    slot: str
    start_by: str
    digest: str


class Dispatch:
    """The one place of this process that queues runs of jobs."""

    def __init__(
        self,
        celery_app: Any,
        blocking: Blocking,
        clock: Clock,
        spend: Callable[[], None],
    ) -> None:
        """`spend` is called before anything is sent; it may raise Problem 429."""
        self._app = celery_app
        self._blocking = blocking
        self._clock = clock
        self._spend = spend
        self._answered: TTLCache[str, Queued] = TTLCache(
            MOST_REMEMBERED, REMEMBERED, timer=clock.monotonic
        )
        self._flights: dict[str, asyncio.Task[Queued]] = {}

    async def queue(self, run: Run) -> Queued:
        """Queue a run unless it was queued before.

        3 commands, 2 for a repetition, none for one that this process has answered or
        is just sending. Raises Problem: 422 for a key that stands for something else,
        429, or 503 if Redis is away.
        """
        answered = self._answered.get(run.task_id)
        if answered is None:
            flight = self._flights.get(run.task_id)
            first = flight is None
            if flight is None:
                flight = self._take_off(run)
            # One caller that hangs up must not take the run from the others.
            answered = await asyncio.shield(flight)
            if first:
                return _checked(run, answered)
        replayed = not (answered.overlapping or answered.missed)
        return _checked(run, replace(answered, replayed=replayed))

    def _take_off(self, run: Run) -> asyncio.Task[Queued]:
        self._spend()
        flight = asyncio.create_task(self._send(run))
        self._flights[run.task_id] = flight
        flight.add_done_callback(lambda done: self._land(run.task_id, done))
        return flight

    def _land(self, task_id: str, flight: asyncio.Task[Queued]) -> None:
        self._flights.pop(task_id, None)
        if not flight.cancelled():
            flight.exception()  # all callers may have gone

    async def _send(self, run: Run) -> Queued:
        now = self._clock.now()
        try:
            outcome = await self._blocking.run(queue_run, self._app, run, now=now)
        except BrokerUnreachable as error:
            logger.error(
                "trigger_failed", job=run.job.name, slot=str(run.slot), error=str(error)
            )
            raise unavailable("The task could not be queued; call again.") from error
        queued = self._read(run, outcome, now)
        if not (queued.overlapping or queued.missed):
            self._answered[run.task_id] = queued
        return queued

    def _read(self, run: Run, outcome: Outcome, now: datetime) -> Queued:
        record = outcome.record or {}
        earlier, told = record.get("run"), record.get("result")
        if not isinstance(earlier, dict):
            earlier = {}
        by = told.get("expected_start_by") if isinstance(told, dict) else None
        return Queued(
            # A slot may be another run's, which a key had given its id.
            task_id=record.get("task_id") or run.task_id,
            trigger_id=earlier.get("trigger_id") or outcome.trigger_id,
            replayed=not outcome.pushed and not outcome.overlapping,
            overlapping=outcome.overlapping,
            missed=record.get("status") == MISSED,
            slot=earlier.get("slot") or str(run.slot),
            start_by=by or stamp(start_by(self._app, now)),
            digest=earlier.get("digest") or run.digest,
        )


def _checked(run: Run, queued: Queued) -> Queued:
    if run.keyed and queued.digest != run.digest:
        raise Problem(
            422,
            "This Idempotency-Key was used before with other parameters: send a new "
            "key with them.",
        )
    return queued
