"""Answers for everything that goes wrong: problem documents (RFC 9457)."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse


class Document(JSONResponse):
    """JSON that any stored result fits in: no NaN, no character that breaks UTF-8."""

    def render(self, content: Any) -> bytes:
        """The content as ASCII JSON; what JSON does not know becomes text or null."""
        text = json.dumps(content, default=str, skipkeys=True)
        plain = json.loads(text, parse_constant=lambda _name: None)
        return json.dumps(plain, separators=(",", ":")).encode("ascii")


class Problem(Exception):
    """A request that gets a problem document as its answer."""

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.extra = extra

    def response(self) -> Document:
        """The problem as an answer."""
        return Document(
            {
                "type": "about:blank",
                "title": HTTPStatus(self.status).phrase,
                "status": self.status,
                "detail": self.detail,
                **(self.extra or {}),
            },
            status_code=self.status,
            headers=dict(self.headers or {}) | {"Cache-Control": "no-store"},
            media_type="application/problem+json",
        )


def unavailable(detail: str) -> Problem:
    """503 with the advice to come back soon."""
    return Problem(503, detail, {"Retry-After": "5"})


def install(app: FastAPI) -> None:
    """Make every error of the app a problem document."""
    app.add_exception_handler(Problem, _known)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unexpected)


_SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not take this method; the Allow header says which.",
}


async def _known(_request: Request, error: Exception) -> Document:
    assert isinstance(error, Problem)  # noqa: S101 - tells mypy what Starlette knows
    return error.response()


async def _refused(_request: Request, error: Exception) -> Document:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    detail = _SENTENCES.get(error.status_code, "The request was refused.")
    return Problem(error.status_code, detail, error.headers).response()


async def _invalid(_request: Request, _error: Exception) -> Document:
    return Problem(422, "A parameter has a value that is not allowed.").response()


async def _gone(_request: Request, _error: Exception) -> Document:
    return Problem(400, "The request ended before its body was complete.").response()


async def _unexpected(_request: Request, _error: Exception) -> Document:
    return Problem(500, "Something went wrong here; the log says what.").response()
