"""A Celery worker that knows the time and accounts for every Redis command."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smartworker.cron.registry import Jobs
    from smartworker.errors import SettingsError, SmartworkerError
    from smartworker.settings import Settings
    from smartworker.worker.progress import progress
    from smartworker.worker.publish import publish_once
    from smartworker.worker.setup import setup
    from smartworker.worker.task import Task

__all__ = [
    "Jobs",
    "Settings",
    "SettingsError",
    "SmartworkerError",
    "Task",
    "progress",
    "publish_once",
    "setup",
]

_HOMES = {
    "Jobs": "smartworker.cron.registry",
    "Settings": "smartworker.settings",
    "SettingsError": "smartworker.errors",
    "SmartworkerError": "smartworker.errors",
    "progress": "smartworker.worker.progress",
    "publish_once": "smartworker.worker.publish",
    "setup": "smartworker.worker.setup",
    "Task": "smartworker.worker.task",
}


if not TYPE_CHECKING:  # for a type checker every name would be there

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first used, and no earlier."""
        if name not in _HOMES:
            raise AttributeError(f"module 'smartworker' has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)
