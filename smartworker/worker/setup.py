"""`setup(app)`: makes any Celery app a smartworker, and taking it out needs nothing."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

from kombu.transport import TRANSPORT_ALIASES

from smartworker.cron.registry import Jobs
from smartworker.settings import Settings
from smartworker.worker import (
    audience,
    counts,
    crons,
    groups,
    history,
    journal,
    luggage,
    panel,
    pings,
    presence,
    tracing,
)
from smartworker.worker.bootstep import OPTIONS, Pacemaker
from smartworker.worker.configuration import SCHEMES, complete
from smartworker.worker.declared import jobs_of
from smartworker.worker.hourly import Hourly
from smartworker.worker.overlap import Overlap
from smartworker.worker.presence import Presence
from smartworker.worker.safekeeper import Safekeeper
from smartworker.worker.tally import Tally
from smartworker.worker.vitals import VitalSigns
from smartworker.worker.watchman import Watchman

__all__ = ["jobs_of", "setup"]

TRANSPORT = "smartworker.broker.transport:Transport"
BACKEND = "smartworker.worker.results:Backend"
WORKER = "smartworker.worker.program:Worker"
#: By name: a web server is no small thing, and most workers have none.
PORT = "smartworker.worker.port:Port"

App = TypeVar("App")


def setup(
    app: App,
    settings: Settings | None = None,
    jobs: Jobs | Callable[[], Jobs] | None = None,
) -> App:
    """Give a Celery app our transport, results, defaults and bootstep; returns it.

    Without `settings` they are read from the environment. `jobs` are the cron jobs of
    the app, or a function that gives them when they are first needed. A second call
    does nothing. Raises SettingsError for a setting that is wrong.
    """
    if getattr(app, "smartworker", None) is None:
        if settings is None:
            settings = Settings.from_environment(os.environ)
        _set_up(app, settings, jobs)
    return app


def _set_up(
    app: Any, settings: Settings, jobs: Jobs | Callable[[], Jobs] | None
) -> None:
    app.smartworker = settings
    app.smartworker_jobs = Jobs() if jobs is None else jobs
    # An alias keeps URL, banner and monitors as they are; an own URL scheme would
    # make kombu drop TLS.
    TRANSPORT_ALIASES.update(dict.fromkeys(SCHEMES, TRANSPORT))
    app.loader.override_backends = {
        **app.loader.override_backends,
        **dict.fromkeys(SCHEMES, BACKEND),
    }
    app.on_after_configure.connect(complete, weak=False)
    if app.configured:
        complete(app)
    app.Worker = app.subclass_with_self(WORKER)
    app.steps["consumer"].update((Pacemaker, Safekeeper, Overlap, Watchman, VitalSigns))
    app.steps["worker"].update((Presence, Tally, Hourly))
    if settings.metrics_port is not None:
        app.steps["worker"].add(PORT)
    app.user_options["worker"].update(OPTIONS)
    tracing.connect()
    journal.connect()
    crons.connect()
    history.connect()
    panel.connect()
    audience.connect()
    presence.connect()
    pings.connect()
    counts.connect()
    groups.connect()
    luggage.connect()
