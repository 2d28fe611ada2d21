"""The endpoints that cron services call: `POST /api/cron/{job}`."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from fastapi import APIRouter, Request

from smartworker.clock import Clock
from smartworker.cron.registry import Job, Jobs
from smartworker.cron.runs import LONGEST_KEY, Names, Run, Trigger, is_key
from smartworker.cron.slots import Slot, minute_of, slot_of
from smartworker.errors import BrokerUnreachable, UnknownJob
from smartworker.logs import get_logger
from smartworker.settings import Settings
from smartworker.store.jobs import JobState
from smartworker.web import contract
from smartworker.web.dispatch import Dispatch, Queued
from smartworker.web.gate import Gate
from smartworker.web.metrics import TriggerCounts
from smartworker.web.parameters import read_parameters
from smartworker.web.problems import Document, Problem, unavailable
from smartworker.web.states import States
from smartworker.web.statuses import is_final

logger = get_logger(__name__)

# With the doorbell a task starts at once; asking sooner would only cost commands.
FIRST_LOOK = timedelta(seconds=2)
LONGEST_SHOWN = 100


@dataclass(frozen=True)
class Call:
    """An HTTP call that may start this job, and what it asks for."""

    job: Job
    parameters: Mapping[str, Any]
    key: str | None
    address: str | None
    sync: bool = False


@dataclass(frozen=True)
class Triggers:
    """Turns HTTP calls into runs: one for each slot, however often it is called."""

    settings: Settings
    jobs: Jobs
    gate: Gate
    states: States
    dispatch: Dispatch
    wait_for: Callable[[str, float], Awaitable[dict[str, Any]]]
    clock: Clock
    counts: TriggerCounts = field(default_factory=TriggerCounts)

    async def accept(self, request: Request, name: str) -> Document:
        """The answer to one call, with a log line either way."""
        try:
            return await self._answer(request, name)
        except Problem as problem:
            self.counts.turned_away(name if name in self.jobs else "", problem)
            logger.warning(
                "trigger_refused",
                job=name[:LONGEST_SHOWN],
                status=problem.status,
                reason=problem.detail,
                address=self.gate.address(request),
            )
            raise

    async def _answer(self, request: Request, name: str) -> Document:
        call = await self._read(request, name)
        now = self.clock.now()
        slot = slot_of(call.job, now)
        state = await self._state(call.job, slot)
        if reason := _reason(call.job, slot, state, now):
            return self._skipped(call, reason)
        assert slot is not None  # noqa: S101 - tells mypy what _reason has seen
        return await self.start(request, call, self._run(call, slot, state))

    async def run_now(self, request: Request, call: Call) -> Document:
        """A run of its own, whatever the schedule says and though it is paused."""
        slot = minute_of(self.clock.now())
        try:
            state = await self._state(call.job, slot)
            run = self._run(call, slot, state, "manual")
            return await self.start(request, call, run)
        except Problem as problem:
            self.counts.turned_away(call.job.name, problem)
            raise

    async def start(self, request: Request, call: Call, run: Run) -> Document:
        """Queue a run and say so."""
        queued = await self.dispatch.queue(run)
        if queued.overlapping or queued.missed:
            reason = "overlapping" if queued.overlapping else "missed"
            return self._skipped(call, reason)
        self.counts.note(run.job.name, "replayed" if queued.replayed else "accepted")
        _tell(call, run, queued)
        if call.sync:
            return await self._finished(request, run, queued)
        return self._accepted(request, run, queued)

    async def _read(self, request: Request, name: str) -> Call:
        body, key = await self.gate.admit(request, name)
        try:
            job = self.jobs.get(name)
        except UnknownJob as error:
            raise Problem(404, str(error)) from error
        query, sync = _without_sync(request, job)
        return Call(
            job,
            read_parameters(job, query, body),
            key or read_key(request),
            self.gate.address(request),
            sync,
        )

    async def _state(self, job: Job, slot: Slot | None) -> JobState:
        try:
            return await self.states.get()
        except BrokerUnreachable as error:
            logger.error(
                "trigger_failed", job=job.name, slot=str(slot or ""), error=str(error)
            )
            raise unavailable("The task could not be queued; call again.") from error

    def _run(
        self, call: Call, slot: Slot, state: JobState, trigger: Trigger = "http"
    ) -> Run:
        names = Names(state.secret)
        task_id = names.of_slot(call.job, slot, call.parameters)
        slot_id = None
        if call.key is not None or call.parameters:
            # The slot's own record tells the worker that somebody has called for it.
            slot_id = names.of_slot(call.job, slot) if slot.scheduled else None
        if call.key is not None:
            task_id = names.of_key(call.job, call.key)
        return Run(
            job=call.job,
            slot=slot,
            task_id=task_id,
            trigger=trigger,
            parameters=call.parameters,
            keyed=call.key is not None,
            slot_id=slot_id,
        )

    def _skipped(self, call: Call, reason: str) -> Document:
        self.counts.note(call.job.name, "skipped", reason)
        logger.info(
            "trigger_skipped", job=call.job.name, reason=reason, address=call.address
        )
        return Document(
            {
                "status": "skipped",
                "reason": reason,
                "message": _SENTENCES[reason].format(job=call.job.name),
                "job": call.job.name,
            },
            headers={"Cache-Control": "no-store"},
        )

    def _accepted(self, request: Request, run: Run, queued: Queued) -> Document:
        again = "was queued before" if queued.replayed else "is queued"
        by = datetime.fromisoformat(queued.start_by)
        bell = self.settings.doorbell != "off"
        first_look = FIRST_LOOK if bell else max(by - self.clock.now(), FIRST_LOOK)
        return Document(
            {
                "status": "accepted",
                "message": f"{run.job.name} {again}.",
                "task_id": queued.task_id,
                "job": run.job.name,
                "slot": queued.slot,
                "expected_start_by": queued.start_by,
            },
            status_code=202,
            headers={
                **_headers(request, queued),
                "Retry-After": str(ceil(first_look.total_seconds())),
            },
        )

    async def _finished(self, request: Request, run: Run, queued: Queued) -> Document:
        """The result, if it comes in time; otherwise the answer without it."""
        try:
            status = await self.wait_for(queued.task_id, SYNC_SECONDS)
        except Problem:
            # It is queued; only the state cannot be told now.
            return self._accepted(request, run, queued)
        if not is_final(status):
            return self._accepted(request, run, queued)
        return Document(
            {
                "status": "finished",
                "job": run.job.name,
                "slot": queued.slot,
                **status,
            },
            headers=_headers(request, queued),
        )


#: How long `?sync=true` waits: cron services hang up after 30 s.
SYNC_SECONDS = 25.0
_SENTENCES = {
    "not due": "{job} is not due now: this call counts for none of its slots.",
    "paused": "{job} is paused; resume it to let its triggers through.",
    "outside its windows": "{job} takes no calls at this hour.",
    "overlapping": "An earlier run of {job} is not done.",
    "missed": "This slot of {job} was given up when its deadline passed.",
}


def routes(triggers: Triggers) -> APIRouter:
    """`/api/cron/{job}` and its former form `/api/cron_{job_with_underscores}`."""
    router = APIRouter(tags=["triggers"], dependencies=contract.CALLERS)
    described: dict[str, Any] = {
        "status_code": 202,
        "response_model": contract.Accepted,
        "responses": contract.TRIGGERED,
        "openapi_extra": contract.unseen(
            contract.KEY_HEADER, contract.SYNC, contract.PARAMETERS, body=True
        ),
    }

    @router.post("/api/cron/{job}", **described)
    async def trigger(request: Request, job: str) -> Document:
        """Queue the run of a job for its slot; the same slot again queues nothing."""
        return await triggers.accept(request, job)

    @router.post("/api/cron_{job}", deprecated=True, **described)
    async def trigger_formerly(request: Request, job: str) -> Document:
        """The same at its former address, with underscores for hyphens."""
        return await triggers.accept(request, job.replace("_", "-"))

    return router


def _tell(call: Call, run: Run, queued: Queued) -> None:
    slot, task_id, trigger_id = queued.slot, queued.task_id, queued.trigger_id
    if queued.replayed:
        logger.info(
            "trigger_replayed",
            job=run.job.name,
            slot=slot,
            task_id=task_id,
            trigger_id=trigger_id,
            address=call.address,
        )
        return
    logger.info(
        "trigger_accepted",
        job=run.job.name,
        slot=slot,
        task_id=task_id,
        trigger_id=trigger_id,
        address=call.address,
    )


def _reason(job: Job, slot: Slot | None, state: JobState, now: datetime) -> str | None:
    """Why a call starts nothing; None if it starts a run."""
    if job.name in state.paused:
        return "paused"
    if job.windows is not None and job.windows.at(now) is None:
        return "outside its windows"
    return "not due" if slot is None else None


def _without_sync(request: Request, job: Job) -> tuple[list[tuple[str, str]], bool]:
    """The query without `sync`, and whether the caller wants to wait."""
    query = request.query_params.multi_items()
    asked = [value.lower() for name, value in query if name == "sync"]
    if not set(asked) <= {"true", "false"}:
        raise Problem(422, "The parameter sync is true or false.")
    sync = "true" in asked
    if sync and not job.sync:
        raise Problem(
            422,
            f"{job.name} does not allow sync=true: leave it out and ask for the "
            "result at the address in the Location header.",
        )
    return [(name, value) for name, value in query if name != "sync"], sync


def read_key(request: Request) -> str | None:
    """The Idempotency-Key of a call, if it has one. Raises Problem 400."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not is_key(key):
        raise Problem(
            400,
            f"An Idempotency-Key has 1 to {LONGEST_KEY} printable ASCII characters.",
        )
    return key


def _headers(request: Request, queued: Queued) -> dict[str, str]:
    root = request.scope.get("root_path", "")
    headers = {
        "Location": f"{root}/api/tasks/{queued.task_id}",
        "Cache-Control": "no-store",
    }
    return headers | ({"Idempotent-Replayed": "true"} if queued.replayed else {})
