"""The bootstep that switches the live transport's interval at window edges."""

from datetime import timedelta
from functools import partial
from typing import Any

import click
from celery import bootsteps

from smartworker.clock import system_clock
from smartworker.durations import parse_duration
from smartworker.errors import SettingsError
from smartworker.logs import get_logger
from smartworker.policy import Decision, Policy, lease_for
from smartworker.settings import check_poll, parse_windows
from smartworker.store.meter import ledger
from smartworker.worker import status
from smartworker.worker.edges import Edges
from smartworker.worker.pacer import Pacer

log = get_logger(__name__)


class Pacemaker(bootsteps.StartStopStep):
    """Translates between Celery's consumer and the pacer; decides nothing."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(
        self,
        consumer: Any,
        windows: str | None = None,
        quiet_poll: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(consumer, **options)
        consumer.pacemaker = self
        settings = consumer.app.smartworker
        self.policy = Policy(
            windows=parse_windows(windows, settings.timezone)
            if windows
            else settings.windows,
            quiet_poll=parse_duration(quiet_poll)
            if quiet_poll
            else settings.quiet_poll,
        )
        self._lease: timedelta | None = settings.lease
        self.pacer: Pacer | None = None
        self.poller: Any = None
        self._edges: Edges | None = None
        self._presence: Any = None
        self._said = False

    def start(self, consumer: Any) -> None:
        """Take over the poller of a new connection."""
        self.poller = consumer.connection.transport.cycle
        self.poller.timing.places = lambda: consumer.pool.num_processes
        self.pacer = Pacer(self.policy, system_clock, self._apply, ledger.billed)
        self._edges = Edges(partial(self._turn, self.pacer), consumer.call_soon)
        self._presence = consumer.controller.presence
        self._presence.allowance.on_change = self._edges.ring
        self._edges.start()
        if not self._said:
            self._said = True
            self.poller.on_ready = lambda: self._say_ready(consumer)

    def stop(self, consumer: Any) -> None:
        """Leave the poller alone."""
        if self._edges is not None:
            self._edges.stop()

    def _turn(self, pacer: Pacer) -> Decision:
        before = pacer.decision
        pacer.use(self._presence.allowance.policy(self.policy))
        decision = pacer.adjust()
        if before is not None and before != decision:
            self._presence.clerk.edge()
        return decision

    def _apply(self, seconds: float) -> None:
        lease = self._lease or lease_for(timedelta(seconds=seconds))
        self.poller.set_interval(seconds)
        self.poller.set_lease(lease.total_seconds())

    def _say_ready(self, consumer: Any) -> None:
        self._presence.clerk.edge()
        log.info("worker_ready", **status.summary(consumer))


def _check_windows(ctx: click.Context, option: click.Parameter, text: Any) -> Any:
    if text is not None:
        try:
            parse_windows(text, ctx.obj.app.smartworker.timezone)
        except SettingsError as error:
            raise click.BadParameter(str(error.__cause__ or error)) from error
    return text


def _check_poll(ctx: click.Context, option: click.Parameter, text: Any) -> Any:
    if text is not None:
        try:
            check_poll("--quiet-poll", parse_duration(text))
        except (ValueError, SettingsError) as error:
            raise click.BadParameter(str(error)) from error
    return text


OPTIONS = (
    click.Option(
        ["--windows"],
        callback=_check_windows,
        help="Windows of frequent polls, such as '20:00-23:00=30s' "
        "(SMARTWORKER_WINDOWS).",
    ),
    click.Option(
        ["--quiet-poll"],
        callback=_check_poll,
        help="Interval outside of all windows, such as 30m (SMARTWORKER_QUIET_POLL).",
    ),
)
