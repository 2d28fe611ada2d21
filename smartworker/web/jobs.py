"""The jobs themselves: `GET /api/jobs`, and pause, resume, run now."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request

from smartworker.clock import Clock
from smartworker.cron.registry import Job, Jobs
from smartworker.cron.slots import stamp
from smartworker.errors import BrokerUnreachable, UnknownJob
from smartworker.logs import get_logger
from smartworker.settings import Settings
from smartworker.web import contract
from smartworker.web.bodies import parse_json, read_body
from smartworker.web.gate import Gate
from smartworker.web.parameters import read_parameters
from smartworker.web.problems import Document, Problem, unavailable
from smartworker.web.states import States
from smartworker.web.triggers import LONGEST_SHOWN, Call, Triggers, read_key
from smartworker.worker.overview import overview

logger = get_logger(__name__)


@dataclass(frozen=True)
class Management:
    """What an operator does with jobs."""

    jobs: Jobs
    gate: Gate
    states: States
    triggers: Triggers
    clock: Clock
    settings: Settings

    async def list_all(self, request: Request) -> Document:
        """All jobs with their state, last run and next due time."""
        self.gate.admit_reader(request)
        try:
            jobs = await self.states.ask(self._overview)
        except BrokerUnreachable as error:
            raise unavailable("The state of the jobs cannot be read now.") from error
        return Document({"jobs": jobs}, headers={"Cache-Control": "no-store"})

    async def pause(self, request: Request, name: str) -> Document:
        """Answer the triggers of a job with `skipped` from now on."""
        job = self._admit(request, name)
        when = stamp(self.clock.now())
        try:
            await self.states.pause(job.name, when)
        except BrokerUnreachable as error:
            raise unavailable("The job could not be paused; call again.") from error
        logger.warning("job_paused", job=job.name, address=self.gate.address(request))
        return _told(job, "paused", since=when)

    async def resume(self, request: Request, name: str) -> Document:
        """Let the triggers of a job through again."""
        job = self._admit(request, name)
        try:
            await self.states.resume(job.name, stamp(self.clock.now()))
        except BrokerUnreachable as error:
            raise unavailable("The job could not be resumed; call again.") from error
        logger.info("job_resumed", job=job.name, address=self.gate.address(request))
        return _told(job, "active")

    async def run(self, request: Request, name: str) -> Document:
        """Queue a run now, whatever the schedule says."""
        job = self._admit(request, name)
        body = parse_json(await read_body(request))
        parameters = read_parameters(job, request.query_params.multi_items(), body)
        call = Call(job, parameters, read_key(request), self.gate.address(request))
        return await self.triggers.run_now(request, call)

    @contextmanager
    def telling(self, request: Request, name: str = "") -> Iterator[None]:
        """A log line for a call that is turned away inside the block."""
        try:
            yield
        except Problem as problem:
            logger.warning(
                "management_refused",
                job=name[:LONGEST_SHOWN],
                status=problem.status,
                reason=problem.detail,
                address=self.gate.address(request),
            )
            raise

    def _overview(self) -> list[dict[str, Any]]:
        now = self.clock.now()
        rows = overview(self.states.link(), self.jobs, self.settings, now)
        return [row.as_json() for row in rows]

    def _admit(self, request: Request, name: str) -> Job:
        self.gate.admit_manager(request, name)
        try:
            return self.jobs.get(name)
        except UnknownJob as error:
            raise Problem(404, str(error)) from error


def routes(management: Management) -> APIRouter:
    """`/api/jobs` and what stands below it."""
    router = APIRouter(tags=["jobs"])
    paused: dict[str, Any] = {
        "dependencies": contract.MANAGERS,
        "response_model": contract.JobState,
        "responses": contract.problems(400, 401, 403, 404, 429, 503),
    }

    @router.get(
        "/api/jobs",
        dependencies=contract.READERS,
        response_model=contract.JobList,
        responses=contract.problems(400, 401, 429, 503),
    )
    async def list_jobs(request: Request) -> Document:
        """All jobs with their state, last run and next due time."""
        with management.telling(request):
            return await management.list_all(request)

    @router.post("/api/jobs/{job}/pause", **paused)
    async def pause(request: Request, job: str) -> Document:
        """Answer the triggers of a job with `skipped` from now on."""
        with management.telling(request, job):
            return await management.pause(request, job)

    @router.post("/api/jobs/{job}/resume", **paused)
    async def resume(request: Request, job: str) -> Document:
        """Let the triggers of a job through again."""
        with management.telling(request, job):
            return await management.resume(request, job)

    @router.post(
        "/api/jobs/{job}/run",
        status_code=202,
        dependencies=contract.MANAGERS,
        response_model=contract.Accepted,
        responses=contract.RUN_NOW,
        openapi_extra=contract.unseen(
            contract.KEY_HEADER, contract.PARAMETERS, body=True
        ),
    )
    async def run(request: Request, job: str) -> Document:
        """Queue a run now, whatever the schedule says."""
        with management.telling(request, job):
            return await management.run(request, job)

    return router


def _told(job: Job, state: str, **more: Any) -> Document:
    return Document(
        {"job": job.name, "state": state, **more},
        headers={"Cache-Control": "no-store"},
    )
