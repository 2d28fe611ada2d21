"""`smart_status`: what a worker is doing and what it has cost, over remote control."""

from datetime import timedelta
from typing import Any

from celery.worker.control import inspect_command

from smartworker.clock import system_clock
from smartworker.store.meter import ledger


@inspect_command(name="smart_status")
def smart_status(state: Any, **_: Any) -> dict[str, Any]:
    """Window, interval, polls, doorbell, and commands by cause."""
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
        "since": _iso(decision.since),
        "until": _iso(decision.until),
        "reason": decision.reason,
        "last_poll": _wall(pace.last),
        "next_poll": _wall(pace.due),
        "broker": step.poller.state,
        "held": len(step.poller.held()),
        "commands": ledger.by_cause(),
        "billed": ledger.billed(),
    }


def _iso(moment: Any) -> str | None:
    return None if moment is None else str(moment.isoformat())


def _wall(monotonic: float | None) -> str | None:
    """A time on the monotonic clock as the wall clock shows it."""
    if monotonic is None:
        return None
    ahead = timedelta(seconds=monotonic - system_clock.monotonic())
    return (system_clock.now() + ahead).isoformat(timespec="milliseconds")
