"""The web half as one ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from smartworker.clock import Clock, system_clock
from smartworker.cron.auth import Tokens
from smartworker.cron.registry import Jobs
from smartworker.errors import SettingsError
from smartworker.settings import Settings
from smartworker.web import health, problems, tasks, triggers
from smartworker.web.blocking import Blocking


def create_app(
    celery_app: Any, settings: Settings, jobs: Jobs, *, clock: Clock = system_clock
) -> FastAPI:
    """The application; it sends no Redis command until a request needs one."""
    tokens = Tokens.parse(settings.cron_tokens)
    _check_jobs(tokens, jobs)
    blocking = Blocking()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        blocking.close()

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
    app.include_router(health.routes())
    app.include_router(tasks.routes(celery_app, blocking))
    app.include_router(
        triggers.routes(
            triggers.Triggers(celery_app, settings, jobs, tokens, blocking, clock)
        )
    )
    return app


def _check_jobs(tokens: Tokens, jobs: Jobs) -> None:
    # What stands before the colon is not shown: it may be a part of a secret.
    if any(name not in jobs for name in tokens.jobs):
        known = ", ".join(job.name for job in jobs) or "none"
        raise SettingsError(
            "An entry of SMARTWORKER_CRON_TOKENS has a colon, and what stands before "
            f"it is no declared job: write `job:token`; declared are {known}."
        )
