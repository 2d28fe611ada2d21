"""The five Celery tasks; they run in any Celery app that imports this module."""

import logging
from functools import cache
from typing import Any, NoReturn

from celery import shared_task
from celery.exceptions import OperationalError, Reject
from celery.signals import worker_ready

from smartworker import progress
from smartworker.clock import system_clock
from smartworker.examples.sync import refresh as refreshing
from smartworker.examples.sync.changes import Change, State
from smartworker.examples.sync.client import Limited, Trouble
from smartworker.examples.sync.parts import Parts
from smartworker.examples.sync.retries import (
    MOST_RUNS,
    RETRIES,
    limited_pause,
    pause_after,
)
from smartworker.worker.task import PERMANENT, Task

_logger = logging.getLogger(__name__)


class SyncTask(Task):
    """What nobody expected, such as a locked database, Celery tries again by itself.

    What the roster service does wrong is tried again by `again`, which counts better.
    """

    abstract = True
    dont_autoretry_for = (*PERMANENT, Trouble)
    track_started = False  # one command less: these tasks take no time


@shared_task(name="sync.create", bind=True, base=SyncTask)  # type: ignore[untyped-decorator]
def create(
    self: Any, change: int, event: str, employee: str, starts_at: str
) -> dict[str, Any]:
    """Tell the roster service of a new schedule."""
    fields = {"event": event, "employee": employee, "starts_at": starts_at}
    return bring(self, change, fields)


@shared_task(name="sync.update", bind=True, base=SyncTask)  # type: ignore[untyped-decorator]
def update(
    self: Any, change: int, employee: str | None = None, starts_at: str | None = None
) -> dict[str, Any]:
    """Tell it of another employee, another time, or both."""
    fields = {"employee": employee, "starts_at": starts_at}
    return bring(self, change, {k: v for k, v in fields.items() if v is not None})


@shared_task(name="sync.delete", bind=True, base=SyncTask)  # type: ignore[untyped-decorator]
def delete(self: Any, change: int) -> dict[str, Any]:
    """Tell it that a schedule is gone."""
    return bring(self, change, {})


@shared_task(name="sync.employee", bind=True, base=SyncTask)  # type: ignore[untyped-decorator]
def employee(self: Any, change: int, name: str) -> dict[str, Any]:
    """Tell it who an employee is."""
    return bring(self, change, {"name": name})


@shared_task(name="sync.refresh", bind=True, base=SyncTask)  # type: ignore[untyped-decorator]
def refresh(self: Any) -> dict[str, Any]:
    """Send what waits or got stuck, compare everything, put right what differs."""
    parts, now = parts_of(self.app), system_clock.now()
    revived = parts.outbox.revive(now, parts.options.stale)
    published = parts.publisher.publish()
    parts.outbox.forget(now)
    here = refreshing.settled(parts.database)
    try:
        there = refreshing.listed(parts.roster, progress)
    except Trouble as trouble:
        raise self.retry(
            exc=trouble, countdown=_pause(parts, trouble, self.request.retries + 1)
        ) from trouble
    repairs = refreshing.differences(here, there)
    repaired = refreshing.repair(parts.database, repairs, system_clock.now())
    published += parts.publisher.publish()
    figures = {"revived": revived, "published": published, "repaired": repaired}
    return {**figures, "compared": len(there), "changes": parts.outbox.counts()}


@cache
def parts_of(app: Any) -> Parts:
    """The parts of this process."""
    return Parts(app)


def bring(task: Any, change_id: int, fields: dict[str, str]) -> dict[str, Any]:
    """Bring one change to the roster service, and send the next one of its object."""
    parts = parts_of(task.app)
    try:
        outcome = parts.delivery.bring(change_id, fields)
    except Trouble as trouble:
        again(task, parts, change_id, trouble)
    if outcome.state == State.REFUSED:
        _logger.warning("A change is refused (%s): %s", change_id, outcome.error)
    if outcome.change is not None:
        follow(parts, outcome.change)
    return outcome.as_dict()


def again(task: Any, parts: Parts, change_id: int, trouble: Trouble) -> NoReturn:
    """Ask Celery for another run; after the last one the change rests for a while.

    Only failures count as tries: whoever is asked to wait has not failed.
    """
    now, runs = system_clock.now(), task.request.retries + 1
    is_limited = isinstance(trouble, Limited)
    change = parts.outbox.failed(change_id, now, str(trouble), counts=not is_limited)
    if change.failures > RETRIES or runs >= MOST_RUNS:
        parts.outbox.put_back(change, now, parts.options.hold)
        _logger.warning("A change rests after %d runs: %s", runs, trouble)
        raise trouble
    try:
        pause = _pause(parts, trouble, change.failures)
        raise task.retry(
            exc=trouble, countdown=pause, max_retries=MOST_RUNS
        ) from trouble
    except Reject:
        # The broker went away meanwhile, and the retry with it: the outbox has it.
        parts.outbox.put_back(change, now)
        parts.drain.wake()
        raise trouble from None


def follow(parts: Parts, change: Change) -> None:
    """Send the next change of the same object, now or when the broker is back."""
    try:
        parts.publisher.publish(of=change)
    except OperationalError:
        parts.drain.wake()


def _pause(parts: Parts, trouble: Trouble, failures: int) -> float:
    if isinstance(trouble, Limited):
        return limited_pause(trouble.seconds)
    return pause_after(failures, parts.options.first_retry)


@worker_ready.connect  # type: ignore[untyped-decorator]
def drain_at_start(sender: Any, **_: Any) -> None:
    """What was saved while nothing ran is sent now; nothing waits, nothing is sent."""
    if "sync.create" in sender.app.tasks:
        parts_of(sender.app).drain.wake()
