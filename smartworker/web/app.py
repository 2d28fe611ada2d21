"""The web half as one ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import gethostname
from typing import Any

from fastapi import FastAPI

from smartworker.clock import Clock, system_clock
from smartworker.cron.auth import Tokens
from smartworker.cron.registry import Jobs
from smartworker.errors import SettingsError
from smartworker.logs import get_logger
from smartworker.settings import Settings
from smartworker.web import contract, health, metrics, problems
from smartworker.web import jobs as job_routes
from smartworker.web import tasks as task_routes
from smartworker.web import triggers as trigger_routes
from smartworker.web.blocking import Blocking
from smartworker.web.dashboard import routes as dashboard_routes
from smartworker.web.dispatch import Dispatch
from smartworker.web.gate import Gate
from smartworker.web.hourly import reporting
from smartworker.web.jobs import Management
from smartworker.web.limits import Limits
from smartworker.web.parameters import check_parameters
from smartworker.web.signatures import Signatures
from smartworker.web.states import States
from smartworker.web.triggers import Triggers
from smartworker.worker.clerk import Clerk
from smartworker.worker.configuration import say_renamed
from smartworker.worker.setup import jobs_of, setup

log = get_logger(__name__)


def create_app(
    celery_app: Any,
    settings: Settings | None = None,
    jobs: Jobs | None = None,
    *,
    clock: Clock = system_clock,
) -> FastAPI:
    """The application; it sends no Redis command until a request needs one.

    Settings and jobs are those of `setup(celery_app, ...)`, which is called here if it
    was not before. It may be mounted in another ASGI application, whose lifespan does
    not reach it. Raises SettingsError for what cannot work, such as a token of a job
    that is not declared.
    """
    settings, jobs = _set_up(celery_app, settings, jobs)
    limits = Limits.of(settings, clock)
    gate = _gate(settings, jobs, limits)
    check_parameters(jobs)
    clerk = Clerk(celery_app, "web", f"web@{gethostname()}", clock=clock)
    clerk.attend()
    blocking = Blocking(clock=clock)
    states = States(celery_app, blocking)
    watching = task_routes.watching(celery_app, blocking, clock)
    triggers = Triggers(
        settings=settings,
        jobs=jobs,
        gate=gate,
        states=states,
        dispatch=Dispatch(celery_app, blocking, clock, limits.triggered),
        wait_for=watching.wait_for,
        clock=clock,
    )
    management = Management(jobs, gate, states, triggers, clock, settings)
    dashboard = dashboard_routes.dashboard_of(management, celery_app)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # Once more: the application may have been made before a fork.
        clerk.attend()
        async with reporting(clock):
            yield
            for part in (dashboard, states, watching, blocking, clerk):
                part.close()

    app = _bare(lifespan)
    app.include_router(health.routes(lambda: blocking.readiness))
    app.include_router(task_routes.routes(watching, gate, settings, clock))
    app.include_router(trigger_routes.routes(triggers))
    app.include_router(job_routes.routes(management))
    app.include_router(metrics.routes(triggers.counts, jobs, gate))
    app.include_router(dashboard_routes.routes(dashboard))
    app.state.dashboard = dashboard
    return app


def _set_up(
    celery_app: Any, settings: Settings | None, jobs: Jobs | None
) -> tuple[Settings, Jobs]:
    setup(celery_app, settings, jobs)
    # Before there are threads: all but the first who asks may see it incomplete.
    _ = celery_app.conf.broker_url
    settings = settings or celery_app.smartworker
    say_renamed(settings)
    return settings, jobs_of(celery_app) if jobs is None else jobs


def _bare(lifespan: Any) -> FastAPI:
    # A redirect for a missing slash would repeat the caller's Host header.
    app = FastAPI(
        title="smartworker",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app)
    contract.complete(app)
    return app


def _gate(settings: Settings, jobs: Jobs, limits: Limits) -> Gate:
    tokens = Tokens.parse(settings.cron_tokens, settings.admin_token)
    signatures = Signatures.of(settings)
    for variable, owners in (
        ("SMARTWORKER_CRON_TOKENS", tokens.jobs),
        ("SMARTWORKER_WEBHOOK_SECRETS", signatures.jobs),
    ):
        # What stands before the colon is not shown: it may be a part of a secret.
        if any(name not in jobs for name in owners):
            known = ", ".join(job.name for job in jobs) or "none"
            raise SettingsError(
                f"An entry of {variable} has a colon, and what stands before it is no "
                f"declared job: write `job:secret`; declared are {known}."
            )
    if not (tokens or signatures):
        log.warning("triggers_closed", setting="SMARTWORKER_CRON_TOKENS")
    return Gate(tokens, signatures, limits)
