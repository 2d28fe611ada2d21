"""Log lines as a worker and a web process write them, made for any day."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

#: Midnight of 24 November 2026 in New York.
MIDNIGHT = datetime(2026, 11, 24, 5, tzinfo=UTC)
WORKER = "celery@one"


def line(event: str, at: datetime, level: str = "info", **fields: Any) -> bytes:
    """One line; the keys stand as structlog writes them."""
    stamp = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps(
        {**fields, "event": event, "level": level, "timestamp": stamp}
    ).encode()


def run(
    at: datetime,
    task_id: str,
    job: str | None = None,
    task: str = "shop.clean",
    seconds: float = 1.0,
    error: str | None = None,
) -> list[bytes]:
    """A run that starts at this instant: its two lines."""
    bound = {"task_id": task_id, "task": task}
    if job is not None:
        bound |= {"job": job, "trigger_id": "tr-1"}
    end = at + timedelta(seconds=seconds)
    if error is None:
        last = line("task_finished", end, seconds=seconds, state="SUCCESS", **bound)
    else:
        last = line("task_failed", end, "error", seconds=seconds, error=error, **bound)
    return [line("task_started", at, **bound), last]


def ready(at: datetime, worker: str = WORKER) -> bytes:
    """A worker begins."""
    return line(
        "worker_ready",
        at,
        worker=worker,
        queues=["celery"],
        doorbell="keyspace",
        window=None,
        poll_seconds=1800.0,
    )


def stopping(at: datetime, worker: str = WORKER) -> bytes:
    """A worker was asked to stop."""
    return line("worker_stopping", at, worker=worker, signal="SIGTERM", how="warm")


def hourly(
    at: datetime,
    polls: int = 2,
    worker: str = WORKER,
    since: datetime | None = None,
    **commands: int,
) -> bytes:
    """A worker's line of an hour; commands by cause beside the polls."""
    since = since or at - timedelta(hours=1)
    causes = {"poll": polls, **commands}
    return line(
        "worker_report",
        at,
        worker=worker,
        since=since.isoformat(),
        polls=polls,
        commands=causes,
        billed=sum(causes.values()),
    )


def day_of(midnight: datetime = MIDNIGHT, hours: int = 24) -> list[bytes]:
    """A quiet day of one worker that is there all the time: 30 s in the evening."""
    lines = []
    for hour in range(1, hours + 1):
        evening = 20 < hour <= 23 and hours == 24
        at = midnight + timedelta(hours=hour, milliseconds=4)
        since = midnight + timedelta(hours=hour - 1)
        lines.append(hourly(at, 120 if evening else 2, since=since))
    return lines
