"""Is the process alive, and ready? Answered without a Redis command."""

from collections.abc import Callable

from fastapi import APIRouter
from starlette.responses import JSONResponse

from smartworker.vitals import Readiness
from smartworker.web.contract import Alive, Health, Ready, problems
from smartworker.web.problems import unavailable


def routes(readiness: Callable[[], Readiness]) -> APIRouter:
    """`/livez`, `/readyz` and `/healthz`; `readiness` must not wait for anything."""
    router = APIRouter()

    @router.head("/livez", include_in_schema=False)
    @router.get("/livez", response_model=Alive)
    async def livez() -> JSONResponse:
        """The process answers requests."""
        return _told({"status": "ok"})

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz", response_model=Ready, responses=problems(503))
    async def readyz() -> JSONResponse:
        """Redis served the last call. A failed one counts for half a minute: the
        process asks nothing by itself, so only a new call can show that Redis is back.
        """
        found = readiness()
        if not found.ready:
            raise unavailable(found.reason)
        return _told({"status": "ok", "reason": found.reason})

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz", response_model=Health)
    async def healthz() -> JSONResponse:
        """Both at once; 200 as long as the process answers."""
        found = readiness()
        status = "ok" if found.ready else "not ready"
        told = {"alive": True, "ready": found.ready, "reason": found.reason}
        return _told({"status": status, **told})

    return router


def _told(facts: dict[str, object]) -> JSONResponse:
    return JSONResponse(facts, headers={"Cache-Control": "no-store"})
