"""`smart_status`: what a worker is doing and what it has cost, over remote control."""

from datetime import timedelta
from typing import Any

from celery.worker.control import inspect_command

from smartworker.clock import system_clock
from smartworker.store.meter import ledger
from smartworker.worker.figures import figures


@inspect_command(name="smart_status")
def smart_status(state: Any, **_: Any) -> dict[str, Any]:
    """Window, interval, polls, doorbell, tasks, and commands by cause."""
    return details(state.consumer)


def summary(consumer: Any) -> dict[str, Any]:
    """The fields of the event `worker_ready`."""
    step = consumer.pacemaker
    decision = step.pacer.decision
    return {
        "worker": consumer.hostname,
        "queues": sorted(consumer.app.amqp.queues.consume_from),
        "doorbell": step.poller.hearing.mode,
        "window": decision.window,
        "poll_seconds": decision.poll.total_seconds(),
    }


def details(consumer: Any) -> dict[str, Any]:
    """Everything that `smart_status` tells. Times are ISO 8601 in UTC."""
    step = consumer.pacemaker
    decision, pace = step.pacer.decision, step.poller.pace
    return {
        **summary(consumer),
        "since": iso(decision.since),
        "until": iso(decision.until),
        "reason": decision.reason,
        "last_poll": wall(pace.last),
        "next_poll": wall(pace.due),
        "broker": step.poller.state,
        "trouble": _trouble(step.poller.outage),
        "lease_seconds": step.poller.custody.lease.length,
        "held": len(step.poller.held()),
        "tasks": figures.as_json(),
        "commands": ledger.by_cause(),
        "billed": ledger.billed(),
    }


def _trouble(outage: Any) -> dict[str, Any] | None:
    """The outage that goes on now."""
    if outage is None:
        return None
    return {
        "kind": outage.refusal.kind,
        "error": f"{type(outage.error).__name__}: {outage.error}"[:200],
        "advice": outage.refusal.advice,
        "since": wall(outage.since),
        "attempts": outage.attempts,
        "next_try": wall(outage.next_try),
    }


def iso(moment: Any) -> str | None:
    """An aware time for programs; None stays None."""
    return None if moment is None else str(moment.isoformat())


def wall(monotonic: float | None) -> str | None:
    """A time on the monotonic clock as the wall clock shows it."""
    if monotonic is None:
        return None
    ahead = timedelta(seconds=monotonic - system_clock.monotonic())
    return (system_clock.now() + ahead).isoformat(timespec="milliseconds")
