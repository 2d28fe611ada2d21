"""`setup(app)`: makes any Celery app a smartworker, and taking it out needs nothing."""

import os
from typing import Any
from urllib.parse import urlsplit

from kombu.transport import TRANSPORT_ALIASES

from smartworker.settings import Settings
from smartworker.store.client import (
    COMMAND_TIMEOUT,
    tls_options,
)
from smartworker.worker import journal
from smartworker.worker.bootstep import OPTIONS, Pacemaker
from smartworker.worker.tally import Tally

TRANSPORT = "smartworker.broker.transport:Transport"
BACKEND = "smartworker.worker.results:Backend"
WORKER = "smartworker.worker.program:Worker"
SCHEMES = ("redis", "rediss")


def setup(app: Any, settings: Settings | None = None) -> Any:
    """Give a Celery app our transport, results, defaults and bootstep; returns it.

    Without `settings` they are read from the environment. A second call does
    nothing. Raises SettingsError for a setting that is wrong.
    """
    if getattr(app, "smartworker", None) is not None:
        return app
    if settings is None:
        settings = Settings.from_environment(os.environ)
    app.smartworker = settings
    # An alias keeps URL, banner and monitors as they are; an own URL scheme would
    # make kombu drop TLS.
    TRANSPORT_ALIASES.update(dict.fromkeys(SCHEMES, TRANSPORT))
    app.loader.override_backends = {
        **app.loader.override_backends,
        **dict.fromkeys(SCHEMES, BACKEND),
    }
    app.add_defaults(lambda: defaults(settings))
    if app.configured:
        _verify_tls(app)
    else:
        app.on_after_configure.connect(_verify_tls, weak=False)
    app.Worker = app.subclass_with_self(WORKER)
    app.steps["consumer"].add(Pacemaker)
    app.steps["worker"].add(Tally)
    app.user_options["worker"].update(OPTIONS)
    journal.connect(app)
    return app


def defaults(settings: Settings) -> dict[str, Any]:
    """Celery settings that apply where the user set nothing."""
    return {
        "broker_url": settings.redis_url,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {"doorbell": settings.doorbell},
        "result_backend": settings.result_url or settings.redis_url,
        "result_expires": 3600,
        "redis_socket_timeout": COMMAND_TIMEOUT,
        "redis_socket_connect_timeout": COMMAND_TIMEOUT,
        "redis_socket_keepalive": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_time_limit": 1800,
        "task_soft_time_limit": 1500,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
    }


def _verify_tls(sender: Any, **_: Any) -> None:
    """Verify certificates: kombu would accept any for `rediss://`."""
    conf = sender.conf
    options = tls_options(sender.smartworker.tls_ca)
    if _is_tls(conf.broker_url) and not conf.broker_use_ssl:
        conf.broker_use_ssl = options
    if _is_tls(conf.result_backend) and not conf.redis_backend_use_ssl:
        conf.redis_backend_use_ssl = options


def _is_tls(url: Any) -> bool:
    return isinstance(url, str) and urlsplit(url).scheme == "rediss"
