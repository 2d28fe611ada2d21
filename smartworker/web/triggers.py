"""The endpoints that cron services call: `POST /api/cron/{job}`."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request

from smartworker.clock import Clock
from smartworker.cron.auth import Tokens, bearer
from smartworker.cron.registry import Job, Jobs
from smartworker.cron.slots import Run, run_at, stamp
from smartworker.errors import BrokerUnreachable, UnknownJob
from smartworker.logs import get_logger
from smartworker.policy import Policy
from smartworker.settings import Settings
from smartworker.web.blocking import Blocking
from smartworker.web.bodies import read_body
from smartworker.web.problems import Document, Problem, unavailable

logger = get_logger(__name__)

# From the poll that finds the task to its first line.
START_MARGIN = timedelta(seconds=5)
# With the doorbell a task starts at once; asking sooner would only cost commands.
FIRST_LOOK = timedelta(seconds=2)
LONGEST_SHOWN = 100
RETRY_POLICY = {
    "max_retries": 2,
    "interval_start": 0.1,
    "interval_step": 0.3,
    "interval_max": 0.5,
}
_TOKEN_FIELDS = frozenset({"token", "access_token", "api_key"})


@dataclass(frozen=True)
class Triggers:
    """Turns an HTTP call into one task in the queue."""

    celery_app: Any
    settings: Settings
    jobs: Jobs
    tokens: Tokens
    blocking: Blocking
    clock: Clock

    async def accept(self, request: Request, name: str) -> Document:
        """The answer to one call, with one log line either way."""
        address = request.client.host if request.client else None
        try:
            job = self._admit(request, name)
            await read_body(request)
        except Problem as problem:
            logger.warning(
                "trigger_refused",
                job=name[:LONGEST_SHOWN],
                status=problem.status,
                reason=problem.detail,
                address=address,
            )
            raise
        now = self.clock.now()
        run = run_at(now)
        trigger_id = await self._publish(job, run)
        logger.info(
            "trigger_accepted",
            job=job.name,
            slot=run.slot,
            task_id=run.task_id,
            trigger_id=trigger_id,
            address=address,
        )
        return self._accepted(request.scope.get("root_path", ""), job, run, now)

    def _admit(self, request: Request, name: str) -> Job:
        """The job that this request may start; costs no command."""
        if _token_in_query(request, self.tokens, name):
            raise Problem(
                400,
                "A token in the address ends up in logs: send it in the "
                "Authorization header, and replace this one.",
            )
        if not self.tokens:
            raise Problem(
                503,
                "No token is configured, so every trigger is refused: set "
                "SMARTWORKER_CRON_TOKENS.",
            )
        if not self.tokens.allow(name, _presented(request)):
            raise Problem(
                401,
                "The Authorization header carries no token that is valid for this job.",
                {"WWW-Authenticate": 'Bearer realm="smartworker"'},
            )
        try:
            return self.jobs.get(name)
        except UnknownJob as error:
            raise Problem(404, str(error)) from error

    async def _publish(self, job: Job, run: Run) -> str:
        trigger_id = uuid4().hex
        try:
            await self.blocking.run(
                self.celery_app.send_task,
                job.task,
                args=list(job.args),
                kwargs=dict(job.kwargs),
                task_id=run.task_id,
                headers={"trigger_id": trigger_id, "job": job.name},
                retry=True,
                retry_policy=dict(RETRY_POLICY),
            )
        except BrokerUnreachable as error:
            logger.error(
                "trigger_failed", job=job.name, error=str(error), trigger_id=trigger_id
            )
            raise unavailable("The task could not be queued; call again.") from error
        return trigger_id

    def _accepted(self, root: str, job: Job, run: Run, now: datetime) -> Document:
        policy = Policy(self.settings.windows, self.settings.quiet_poll)
        start_by = policy.decide(now).next_poll(now) + START_MARGIN
        bell = self.settings.doorbell != "off"
        first_look = FIRST_LOOK if bell else start_by - now
        return Document(
            {
                "status": "accepted",
                "message": f"{job.name} is queued.",
                "task_id": run.task_id,
                "job": job.name,
                "slot": run.slot,
                "expected_start_by": stamp(start_by),
            },
            status_code=202,
            headers={
                "Location": f"{root}/api/tasks/{run.task_id}",
                "Retry-After": str(ceil(first_look.total_seconds())),
                "Cache-Control": "no-store",
            },
        )


def routes(triggers: Triggers) -> APIRouter:
    """`/api/cron/{job}` and its former form `/api/cron_{job_with_underscores}`."""
    router = APIRouter()

    @router.post("/api/cron/{job}", status_code=202)
    async def trigger(request: Request, job: str) -> Document:
        """Queue the task of a job."""
        return await triggers.accept(request, job)

    @router.post("/api/cron_{job}", status_code=202)
    async def trigger_formerly(request: Request, job: str) -> Document:
        """Queue the task of a job, at its former address."""
        return await triggers.accept(request, job.replace("_", "-"))

    return router


def _presented(request: Request) -> bytes:
    # Starlette decodes headers as latin-1; this gives the bytes back as they came.
    header = request.headers.get("authorization", "").encode("latin-1")
    return bearer(header) or b""


def _token_in_query(request: Request, tokens: Tokens, name: str) -> bool:
    return any(
        field.lower() in _TOKEN_FIELDS
        or tokens.allow(name, value.encode("utf-8", "surrogatepass"))
        for field, value in request.query_params.multi_items()
    )
