"""Celery's worker program: quiet by default, and checked before it starts."""

import gc
import signal
import sys
from typing import Any

from celery.apps.worker import Worker as CeleryWorker
from celery.concurrency.prefork import TaskPool as PreforkPool
from kombu.utils.compat import detect_environment

from smartworker.broker.channel import Channel
from smartworker.doctor import ServerFacts, eviction, too_old
from smartworker.errors import BrokerRefused, SettingsError, SmartworkerError
from smartworker.exposition import require
from smartworker.logs import get_logger
from smartworker.settings import check_url
from smartworker.store.client import RedisError, explain
from smartworker.store.inspection import look
from smartworker.worker import journal
from smartworker.worker.configuration import (
    check_pool,
    check_priorities,
    check_tls,
    complete,
    say_renamed,
    usual_time_limits,
)
from smartworker.worker.deadline import COLD_STATUS
from smartworker.worker.declared import jobs_of

log = get_logger(__name__)

#: What these cost: 143,000 commands a day, for news that nobody reads.
SILENCED = {
    "without_gossip": True,
    "without_mingle": True,
    "without_heartbeat": True,
}


UNIX_SOCKET = "redis+socket://"


class Worker(CeleryWorker):
    """The worker that `celery -A app worker` starts after `setup(app)`."""

    def on_before_init(self, quiet: bool = False, **kwargs: Any) -> None:
        """Refuse to start where the broker cannot work: one sentence, no traceback."""
        # Before Celery does: it may warn about root, in several lines.
        journal.take_over(self.app)
        complete(self.app)
        try:
            if self.app.smartworker.metrics_port is not None:
                require("SMARTWORKER_METRICS_PORT")
            check_pool(self.app)
            jobs_of(self.app)
            server = check_broker(self.app)
        except SmartworkerError as error:
            sys.stderr.write(f"smartworker: {error}\n")
            raise SystemExit(error.exit_status) from None
        as_json = self.app.smartworker.log_format == "json"
        say_renamed(self.app.smartworker)
        if not self.app.smartworker.tls_verify:
            log.warning("tls_unverified", setting="SMARTWORKER_TLS_VERIFY")
        _warn(server)
        chosen = kwargs.get("time_limit") or kwargs.get("soft_time_limit")
        usual = (None, None) if chosen else usual_time_limits(self.app.conf)
        self.app.smartworker_time_limits = usual
        super().on_before_init(quiet=quiet or as_json, **kwargs)

    def start(self) -> None:
        """Run until told to stop; the exit status tells whether tasks were dropped."""
        if issubclass(self.pool_cls, PreforkPool):
            # A collection writes to every object it looks at, and each process of the
            # pool would soon have its own copy of what it shares with this one.
            gc.freeze()
        super().start()
        if self.consumer is not None and self.consumer.safekeeper.is_cold:
            self.exitcode: int = self.exitcode or COLD_STATUS

    def should_use_eventloop(self) -> bool:
        """Celery's loop on Windows, too, but where gevent or eventlet have their own.

        Without it Celery comes back every two seconds, and reconnects after an outage
        as if all that runs were lost. select() is enough for our sockets.
        """
        if self.app.IS_WINDOWS:
            return bool(detect_environment() == "default")
        return bool(super().should_use_eventloop())

    def install_platform_tweaks(self, worker: Any) -> None:
        """Handle signals; Ctrl-Break is what another process can send on Windows."""
        super().install_platform_tweaks(worker)
        if hasattr(signal, "SIGBREAK"):
            signal.signal(
                signal.SIGBREAK, lambda *_: signal.raise_signal(signal.SIGTERM)
            )

    def _process_task(self, req: Any) -> None:
        """From here on the pool has the message: it is not given back any more."""
        channel = req.message.channel
        if isinstance(channel, Channel):
            channel.begin(req.message.delivery_tag)
        super()._process_task(req)

    def prepare_args(self, **kwargs: Any) -> dict[str, Any]:
        """The worker's options, with everything off that polls or chatters."""
        prepared: dict[str, Any] = super().prepare_args(**{**kwargs, **SILENCED})
        return prepared


def _warn(server: ServerFacts) -> None:
    """Say once what puts every task at risk."""
    finding = eviction(server)
    if finding is not None and finding.severity == "critical":
        log.critical("server_risk", risk=finding.message, advice=finding.advice)


def check_broker(app: Any) -> ServerFacts:
    """Knock at the broker, and refuse a server that cannot serve us.

    2 commands, not billed. Raises SettingsError, BrokerRefused or BrokerUnreachable
    with one sentence.
    """
    server = reach_broker(app)
    if too_old(server):
        raise BrokerRefused(
            f"The server is Redis {server.version}, and smartworker needs LMOVE: move "
            "to Redis 6.2 or newer, or to Valkey."
        )
    return server


def reach_broker(app: Any) -> ServerFacts:
    """Knock at the broker, however old it is; raises as `check_broker` does."""
    url = app.conf.broker_url
    if not url:
        raise SettingsError(
            "REDIS_URL is not set: write redis://host:6379/0 there, or set "
            "UPSTASH_REDIS_HOST, UPSTASH_REDIS_PORT and UPSTASH_REDIS_PASSWORD."
        )
    for each in url if isinstance(url, list | tuple) else str(url).split(";"):
        if not each.startswith(UNIX_SOCKET):
            check_url("The broker's URL", each)
    check_tls(app)
    check_priorities(app)
    connection = app.connection_for_read()
    try:
        channel = connection.transport.create_channel(connection.transport)
        return look(connection.transport.plain_client(channel))
    except (RedisError, OSError) as error:
        raise explain(connection.as_uri(), error) from error
    finally:
        connection.release()
