"""Is the process alive? Answered without a Redis command."""

from fastapi import APIRouter
from starlette.responses import JSONResponse

from smartworker.web.contract import Alive


def routes() -> APIRouter:
    """`/livez`."""
    router = APIRouter()

    @router.head("/livez", include_in_schema=False)
    @router.get("/livez", response_model=Alive)
    async def livez() -> JSONResponse:
        """The process answers requests."""
        return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})

    return router
