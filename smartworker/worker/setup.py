"""`setup(app)`: makes any Celery app a smartworker."""

import os
from typing import Any

from smartworker.settings import Settings


def setup(app: Any, settings: Settings | None = None) -> Any:
    """Give a Celery app the transport, the defaults and the bootstep; returns it."""
    if settings is None:
        settings = Settings.from_environment(os.environ)
    app.add_defaults(defaults(settings))
    app.smartworker = settings
    return app


def defaults(settings: Settings) -> dict[str, Any]:
    """Celery settings that apply where the user set nothing."""
    return {
        "broker_url": settings.redis_url,
        "result_backend": settings.result_url or settings.redis_url,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "result_expires": 3600,
        "task_time_limit": 1800,
        "task_soft_time_limit": 1500,
    }
