"""What became of a task: `GET /api/tasks/{id}`, at once, after a while, as a stream."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.requests import ClientDisconnect

from smartworker.clock import Clock, system_clock
from smartworker.settings import Settings
from smartworker.web import contract
from smartworker.web.blocking import Blocking
from smartworker.web.gate import Gate
from smartworker.web.problems import Document, Problem
from smartworker.web.statuses import Status, is_final, retry_after
from smartworker.web.watching import Seen, Watching
from smartworker.worker.lookup import Lookup

T = TypeVar("T")

#: The longest wait, in seconds: proxies and cron services hang up after 30 to 60.
LONGEST_WAIT = 30
#: Seconds between two signs of life on a quiet stream.
KEEPALIVE = 15.0
#: The id of the last event: a browser that connects again with it is told to stop.
END = "end"
_TASK_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_WAIT = re.compile(r"[0-9]{1,2}(\.[0-9]{1,3})?", re.ASCII)
_NOT_STORED = {"Cache-Control": "no-store"}

WAIT = {
    "name": "wait",
    "in": "query",
    "required": False,
    "description": "Answer when the state changes, or after so many seconds.",
    "schema": {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT},
}
_STREAM = {
    "description": "Events named `state`, each with the state as JSON, to the last.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


def watching(
    celery_app: Any, blocking: Blocking, clock: Clock = system_clock
) -> Watching:
    """What reads and watches the states of the tasks of an app."""
    return Watching(Lookup(celery_app), blocking, clock)


def routes(
    watching: Watching, gate: Gate, settings: Settings, clock: Clock = system_clock
) -> APIRouter:
    """The status of a task, also at its former address. The random id is the key."""
    router = APIRouter(tags=["tasks"])
    shared: dict[str, Any] = {
        "response_model": contract.TaskStatus,
        "responses": contract.problems(404, 422, 429, 503),
        "openapi_extra": contract.unseen(WAIT),
    }

    @router.get("/api/tasks/{task_id}", **shared)
    async def status(request: Request, task_id: str) -> Document:
        """The state of a task with its result, error or progress."""
        _check(task_id)
        waiting = partial(watching.wait_for, task_id, _wait(request))
        found = await _counted(gate, request, waiting)
        again = retry_after(found, settings, clock.now())
        headers = _NOT_STORED | ({"Retry-After": again} if again else {})
        return Document(found, headers=headers)

    @router.get("/api/task-status/{task_id}", **shared)
    async def status_formerly(request: Request, task_id: str) -> Document:
        """The state of a task, at its former address."""
        return await status(request, task_id)

    @router.get(
        "/api/tasks/{task_id}/events",
        response_class=Response,
        responses={
            200: _STREAM,
            204: {"description": "The stream was read to its end."},
            **contract.problems(404, 422, 429, 503),
        },
    )
    async def events(request: Request, task_id: str) -> Response:
        """Each state of a task as a server-sent event, until its last."""
        _check(task_id)
        if request.headers.get("last-event-id") == END:
            return Response(status_code=204, headers=_NOT_STORED)
        states = watching.follow(task_id, KEEPALIVE)
        first = await _counted(gate, request, partial(_first, states))
        return EventSourceResponse(
            _events(first, states),
            headers=_NOT_STORED | {"X-Accel-Buffering": "no"},
        )

    return router


async def _events(
    status: Status | None, states: AsyncGenerator[Status | None]
) -> AsyncGenerator[bytes]:
    try:
        while True:
            yield _event(status) if status else KEEPALIVE_COMMENT
            if status and is_final(status):
                return
            status = await anext(states)
    except Problem:
        return  # the browser connects again by itself, and hears what is wrong then
    finally:
        await states.aclose()


def _event(status: Status) -> bytes:
    return format_sse_event(
        event="state",
        data_str=bytes(Document(status).body).decode(),
        id=END if is_final(status) else None,
    )


async def _first(states: AsyncGenerator[Status | None], seen: Seen) -> Status:
    status = await anext(states) or {}
    seen(status)
    return status


async def _counted(
    gate: Gate, request: Request, waiting: Callable[[Seen], Coroutine[Any, Any, Status]]
) -> Status:
    """A state that is looked up; who asks for unknown ids is held up in the end."""
    address = gate.address(request)
    gate.limits.may_look(address)

    def seen(status: Status) -> None:
        if not status.get("known", True):
            gate.limits.not_found(address)

    try:
        return await _unless_gone(request, waiting(seen))
    except Problem as problem:
        if problem.status == 404:
            gate.limits.not_found(address)
        raise


async def _unless_gone(request: Request, waiting: Coroutine[Any, Any, T]) -> T:
    """What is waited for. Raises ClientDisconnect as soon as nobody wants it."""
    work = asyncio.ensure_future(waiting)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        gone.cancel()
        work.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _check(task_id: str) -> None:
    if not _TASK_ID.fullmatch(task_id):
        raise Problem(404, "A task id is a UUID in lower-case letters.")


def _wait(request: Request) -> float:
    given = request.query_params.getlist("wait") or ["0"]
    text = given[0]
    if len(given) > 1 or not _WAIT.fullmatch(text) or float(text) > LONGEST_WAIT:
        message = f"must be a number of seconds from 0 to {LONGEST_WAIT}"
        raise Problem(
            422,
            f"The parameter wait {message}, given once.",
            extra={"errors": [{"field": "wait", "message": message}]},
        )
    return float(text)
