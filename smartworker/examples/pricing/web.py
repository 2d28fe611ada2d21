"""The endpoints of the pricing application, beside smartworker's own."""

import asyncio
import os
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from celery import Celery
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import OperationalError
from starlette.concurrency import run_in_threadpool

from smartworker.clock import system_clock
from smartworker.cron.auth import Tokens
from smartworker.errors import BrokerUnreachable, SettingsError
from smartworker.examples.pricing.app import app as celery_app
from smartworker.examples.pricing.days import today_at
from smartworker.examples.pricing.discount import LONGEST
from smartworker.examples.pricing.recompute import recompute
from smartworker.examples.pricing.seeds import seed
from smartworker.examples.pricing.tasks import engine, recompute_all_discounts
from smartworker.web import contract
from smartworker.web.app import create_app
from smartworker.web.blocking import Blocking
from smartworker.web.gate import Gate
from smartworker.web.limits import Limits
from smartworker.web.problems import Document, Problem, unavailable
from smartworker.web.signatures import Signatures
from smartworker.web.tasks import watching

ADMIN = "/api/v1/admin/discounts"
JOB = "recompute-all-discounts"
LONGEST_THRESHOLD = 365


class Asked(BaseModel):
    """The query of a recompute; a misspelled name is no wish for the default."""

    model_config = ConfigDict(extra="forbid")
    days_threshold: int = Field(LONGEST, ge=1, le=LONGEST_THRESHOLD)
    async_task: bool = True


class Accepted(BaseModel):
    """The recompute is queued."""

    status: Literal["accepted"]
    message: str
    task_id: str
    days_threshold: int


class Finished(BaseModel):
    """The recompute is done."""

    status: Literal["finished"]
    message: str
    days_threshold: int
    result: dict[str, Any]


def make_site(app: Celery) -> FastAPI:
    """smartworker's endpoints, and those of the pricing application."""
    site = create_app(app)
    site.include_router(routes(app))
    site.add_exception_handler(RequestValidationError, _wrong)
    return site


def routes(app: Celery) -> APIRouter:
    """What administrators of the discounts call."""
    settings = app.smartworker
    tokens = Tokens.parse(settings.cron_tokens, settings.admin_token)
    limits = Limits.of(settings, system_clock)
    gate = Gate(tokens, Signatures.of(settings), limits)
    blocking = Blocking()
    states = watching(app, blocking)
    # A second one at a time would wait for the lock of the database.
    computing = asyncio.Lock()

    def admit(request: Request) -> None:
        gate.admit_manager(request, JOB)

    router = APIRouter(
        prefix=ADMIN,
        tags=["discounts"],
        dependencies=[*contract.MANAGERS, Depends(admit)],
    )
    problems = contract.problems(400, 401, 403, 404, 422, 429, 503)

    @router.post(
        "/trigger-recompute",
        status_code=202,
        response_model=Accepted,
        responses={200: contract.answer(Finished), **problems},
    )
    async def trigger(asked: Annotated[Asked, Query()]) -> Document:
        """Recompute the discounts: in a worker, or here and now."""
        if asked.async_task:
            return await _queued(blocking, asked.days_threshold)
        async with computing:
            return await _computed(asked.days_threshold)

    @router.get(
        "/task-status/{task_id}",
        response_model=contract.TaskStatus,
        responses=problems,
    )
    async def status(task_id: UUID) -> Document:
        """What became of a recompute."""
        found = await states.read(str(task_id))
        return Document(found, headers={"Cache-Control": "no-store"})

    return router


async def _queued(blocking: Blocking, days_threshold: int) -> Document:
    # A shared task belongs to the app of the thread that asks, unless it is told.
    send = partial(
        celery_app.tasks[recompute_all_discounts.name].apply_async,
        kwargs={"days_threshold": days_threshold},
    )
    try:
        task = await blocking.run(send)
    except BrokerUnreachable as error:
        raise unavailable("The task could not be queued; call again.") from error
    return Document(
        {
            "status": "accepted",
            "message": "The recompute is queued.",
            "task_id": task.id,
            "days_threshold": days_threshold,
        },
        status_code=202,
        headers={"Location": f"{ADMIN}/task-status/{task.id}", "Retry-After": "2"},
    )


async def _computed(days_threshold: int) -> Document:
    compute = partial(
        recompute,
        run=str(uuid4()),
        today=today_at(system_clock.now()),
        days_threshold=days_threshold,
        report=_silently,
    )
    try:
        result = await run_in_threadpool(lambda: compute(engine()))
    except OperationalError as error:
        raise unavailable("The database cannot be used now; call again.") from error
    return Document(
        {
            "status": "finished",
            "message": f"{result['checked']:,} batches are up to date.",
            "days_threshold": days_threshold,
            "result": result,
        }
    )


def _silently(_current: int, _total: int, _message: str) -> None:
    """Nobody can see how far it is."""


def fill() -> None:
    """Put PRICING_BATCHES batches into a database that has fewer."""
    text = os.environ.get("PRICING_BATCHES", "").strip() or "0"
    if not text.isdecimal():
        raise SettingsError(f"PRICING_BATCHES is {text!r}, which is no whole number.")
    if int(text):
        seed(engine(), int(text), today_at(system_clock.now()))


async def _wrong(_request: Request, error: Exception) -> Document:
    """422 with a list of what is wrong, in the form of smartworker's own."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - for mypy
    errors = [
        {"field": str(each["loc"][-1]), "message": each["msg"]}
        for each in error.errors()
    ]
    first = f"{errors[0]['field']}: {errors[0]['message']}"
    return Problem(
        422, f"The request cannot be taken: {first}.", extra={"errors": errors}
    ).response()


fill()
app = make_site(celery_app)
