"""What became of a task: `GET /api/tasks/{id}`."""

import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter

from smartworker.errors import BrokerUnreachable
from smartworker.logs import Redactor
from smartworker.web.blocking import Blocking
from smartworker.web.problems import Document, Problem, unavailable

LONGEST_ERROR = 2000
_TASK_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_FAILED = frozenset({"FAILURE", "RETRY", "REVOKED"})
_SILENT = frozenset({"PENDING", "RECEIVED", "STARTED"})


def routes(celery_app: Any, blocking: Blocking) -> APIRouter:
    """The status of a task, also at its former address. The random id is the key."""
    router = APIRouter()

    @router.get("/api/tasks/{task_id}")
    @router.get("/api/task-status/{task_id}")
    async def status(task_id: str) -> Document:
        """The state of a task with its result, error or progress."""
        if not _TASK_ID.fullmatch(task_id):
            raise Problem(404, "A task id is a UUID in lower-case letters.")
        try:
            meta = await blocking.run(_read, celery_app, task_id)
        except BrokerUnreachable as error:
            raise unavailable("The state cannot be read now; try again.") from error
        return Document(
            {"task_id": task_id} | describe(meta),
            headers={"Cache-Control": "no-store"},
        )

    return router


def _read(celery_app: Any, task_id: str) -> Any:
    # Uncached: the back end would keep every result that anyone asked for.
    return celery_app.backend.get_task_meta(task_id, cache=False)


def describe(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What the stored record of a task tells to the outside; never a traceback."""
    state, result = str(meta.get("status")), meta.get("result")
    if state in _SILENT:
        return {"state": state}
    if state == "SUCCESS":
        return {"state": state, "result": result}
    if state in _FAILED:
        return {"state": state, "error": _sentence(result)}
    return {"state": state, "progress": result}


def _sentence(error: Any) -> str:
    text = (
        f"{type(error).__name__}: {error}"
        if isinstance(error, BaseException)
        else str(error)
    )
    return Redactor().clean(text)[:LONGEST_ERROR]
