"""Celery's configuration: what smartworker fills in where the user set nothing."""

from typing import Any
from urllib.parse import urlsplit

from smartworker.errors import SettingsError
from smartworker.logs import get_logger
from smartworker.settings import Settings
from smartworker.store.client import COMMAND_TIMEOUT, tls_options, unverified

log = get_logger(__name__)

#: What our transport and result backend serve.
SCHEMES = ("redis", "rediss")

#: Seconds that a task may take, hard and soft, where nobody says anything. No settings
#: of Celery: each message would carry those of its sender, stronger than the options of
#: the worker, and a soft limit holds back every shorter hard one.
USUAL_TIME_LIMITS = 1800, 1500


def defaults(settings: Settings) -> dict[str, Any]:
    """Celery settings that apply where the user set nothing."""
    ours = {
        "broker_url": settings.redis_url,
        "broker_connection_retry_on_startup": True,
        "result_backend": settings.result_url,
        "result_expires": 3600,
        "redis_socket_timeout": COMMAND_TIMEOUT,
        "redis_socket_connect_timeout": COMMAND_TIMEOUT,
        "redis_socket_keepalive": True,
        "task_acks_late": True,
        # A redelivered message is held against its result first: 1 command more, for
        # these alone, and a task whose acknowledgement got lost does not run twice.
        "worker_deduplicate_successful_tasks": True,
        "worker_consumer": "smartworker.worker.consumer:Consumer",
        "task_reject_on_worker_lost": True,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
    }
    return {name: value for name, value in ours.items() if value is not None}


def complete(sender: Any, **_: Any) -> None:
    """Fill in what the user's configuration leaves open; safe to repeat.

    Celery's own `add_defaults` would put ours in front of a loaded configuration.
    """
    conf, settings = sender.conf, sender.smartworker
    if not any(isinstance(values, _Defaults) for values in conf.maps):
        ours = _Defaults(defaults(settings))
        if sender.IS_WINDOWS:
            ours["worker_pool"] = "solo"  # no process can fork there
        conf.maps.insert(len(conf.maps) - 1, ours)
        conf.defaults.insert(len(conf.defaults) - 1, ours)
        if not conf.result_backend and _scheme(conf.broker_url) in SCHEMES:
            ours["result_backend"] = conf.broker_url
    conf.broker_transport_options = {
        "doorbell": settings.doorbell,
        "max_deliveries": settings.max_deliveries,
        "tls_ca": settings.tls_ca and str(settings.tls_ca),
        "tls_verify": settings.tls_verify,
        **conf.broker_transport_options,
    }
    # kombu would warn, and accept any certificate.
    options = tls_options(settings.tls_ca, verify=settings.tls_verify)
    if _scheme(conf.broker_url) == "rediss" and not conf.broker_use_ssl:
        conf.broker_use_ssl = options
    if _scheme(conf.result_backend) == "rediss" and not conf.redis_backend_use_ssl:
        conf.redis_backend_use_ssl = options


def brings_broker(app: Any) -> bool:
    """Whether the app names a broker itself, and does not leave it to us."""
    *own, _ours, _celerys = app.conf.maps
    return any(values.get("broker_url") for values in own)


def say_renamed(settings: Settings) -> None:
    """Log each setting that is set by a former name; once, at the start."""
    for each in settings.renamed:
        log.warning("setting_renamed", former=each.former, setting=each.name)


def usual_time_limits(conf: Any) -> tuple[int | None, int | None]:
    """Ours, unless the configuration has one of the two, be it None."""
    for name in ("task_time_limit", "task_soft_time_limit"):
        # The last layer is Celery's own.
        if conf[name] is not None or any(name in layer for layer in conf.maps[:-1]):
            return None, None
    return USUAL_TIME_LIMITS


def check_tls(app: Any) -> None:
    """Refuse TLS without verification unless the setting allows it.

    Raises SettingsError; the transport verifies in any case.
    """
    conf = app.conf
    asked = {
        "The broker's URL": conf.broker_url,
        "broker_use_ssl": conf.broker_use_ssl,
        "The result backend's URL": conf.result_backend,
        "redis_backend_use_ssl": conf.redis_backend_use_ssl,
    }
    if not app.smartworker.tls_verify:
        return
    for name, options in asked.items():
        if unverified(options):
            raise SettingsError(
                f"{name} asks for TLS without verification (ssl_cert_reqs): leave that "
                "out and name the certificate's authority in SMARTWORKER_TLS_CA, or "
                "set SMARTWORKER_TLS_VERIFY=off and accept that anybody on the way can "
                "read and change everything."
            )


def check_pool(app: Any) -> None:
    """Refuse Celery's prefork pool on Windows. Raises SettingsError."""
    if app.IS_WINDOWS and app.conf.worker_pool == "prefork":
        raise SettingsError(
            "worker_pool is prefork, and no process can fork on Windows: write solo or "
            "threads, or leave it out."
        )


def check_priorities(app: Any) -> None:
    """Refuse priorities of queues that are no whole numbers. Raises SettingsError."""
    found = app.conf.broker_transport_options.get("queue_priorities") or {}
    if isinstance(found, dict) and all(isinstance(n, int) for n in found.values()):
        return
    raise SettingsError(
        f"queue_priorities in broker_transport_options is {found!r}: write a whole "
        "number for each queue, such as {'bookings': 7, 'email': 5}."
    )


class _Defaults(dict[str, Any]):
    """Our layer among Celery's maps of settings: in front of Celery's own alone."""


def _scheme(url: Any) -> str:
    return urlsplit(url).scheme if isinstance(url, str) else ""
