"""sentry_sdk's home: check-ins of the jobs that name a monitor of Sentry Crons."""

import sys
from datetime import datetime
from math import ceil
from typing import Any
from uuid import uuid4

from celery import signals

from smartworker.cron.registry import Job

#: The headers that Sentry's Celery integration reads when a task ends, as Beat's
#: entries carry them.
SLUG = "sentry-monitor-slug"
CHECK_IN = "sentry-monitor-check-in-id"
STARTED = "sentry-monitor-start-timestamp-s"
CONFIG = "sentry-monitor-config"


def connect() -> None:
    """Say when a run of such a job begins, whatever app it belongs to."""
    signals.task_prerun.connect(_begin, weak=False, dispatch_uid="crons._begin")


def headers_of(job: Job, now: datetime) -> dict[str, Any]:
    """What the message of a run carries for Sentry; nothing without a monitor.

    Sentry creates and updates the monitor of a job with a schedule by itself.
    """
    if job.sentry_monitor is None:
        return {}
    headers: dict[str, Any] = {
        SLUG: job.sentry_monitor,
        CHECK_IN: uuid4().hex,
        STARTED: f"{now.timestamp():.9f}",
    }
    if job.schedule is not None:
        headers[CONFIG] = _config(job)
    return headers


def _config(job: Job) -> dict[str, Any]:
    """The schedule as Sentry wants it; margins in minutes, at least one."""
    if job.schedule is None:
        return {}
    config: dict[str, Any] = {
        "schedule": {"type": "crontab", "value": job.schedule.expression},
        "timezone": job.zone,
        "checkin_margin": ceil(max(job.patience.total_seconds() / 60, 1)),
    }
    if job.limit is not None:
        config["max_runtime"] = ceil(max(job.limit.total_seconds() / 60, 1))
    return config


def _begin(task: Any = None, **_: Any) -> None:
    """The one check-in that Sentry's integration leaves to Beat. No Redis command."""
    request = getattr(task, "request", None)
    headers = getattr(request, "headers", None) or {}
    if SLUG not in headers or CHECK_IN not in headers or not _tells_the_end():
        return
    # A retry comes after an error: what has ended cannot be in progress again.
    if getattr(request, "retries", 0):
        return
    from sentry_sdk.crons import capture_checkin

    capture_checkin(
        monitor_slug=headers[SLUG],
        check_in_id=headers[CHECK_IN],
        status="in_progress",
        monitor_config=headers.get(CONFIG),
    )


def _tells_the_end() -> bool:
    """Whether this process will check in as ok or error, too; imports nothing.

    A run that only begins would be reported as one that takes too long.
    """
    if "sentry_sdk.integrations.celery" not in sys.modules:
        return False
    import sentry_sdk
    from sentry_sdk.integrations.celery import CeleryIntegration

    found = sentry_sdk.get_client().get_integration(CeleryIntegration)
    return bool(getattr(found, "monitor_beat_tasks", False))
