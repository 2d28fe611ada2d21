"""The answers as OpenAPI tells them; the tests hold it against the real ones."""

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import FastAPI, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

Answers = dict[int | str, dict[str, Any]]


class ProblemDocument(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    detail: str


class Accepted(BaseModel):
    """The run is queued, or was by an earlier call for the same slot or key."""

    status: Literal["accepted"]
    message: str
    task_id: str = Field(description="A UUID; ask for its state at /api/tasks/{id}.")
    job: str
    slot: str = Field(description="The time that the run counts for, in UTC.")
    expected_start_by: str = Field(description="By when a running worker begins.")


class Skipped(BaseModel):
    """Nothing was queued, and nothing is wrong."""

    status: Literal["skipped"]
    reason: Literal["not due", "paused", "outside its windows", "overlapping", "missed"]
    message: str
    job: str


class Finished(BaseModel):
    """The run is over; told to callers with `sync=true`."""

    model_config = ConfigDict(extra="allow")
    status: Literal["finished"]
    task_id: str
    job: str
    slot: str
    state: Literal["SUCCESS", "FAILURE", "REVOKED"]


class TaskStatus(BaseModel):
    """What became of a task."""

    model_config = ConfigDict(extra="allow")
    task_id: str
    state: str = Field(description="QUEUED, STARTED, PROGRESS, RETRY, SUCCESS, ...")


class JobState(BaseModel):
    """A job that was paused or resumed."""

    job: str
    state: Literal["paused", "active"]
    since: str | None = None


class JobList(BaseModel):
    """All jobs, in the order of their declaration."""

    jobs: list[dict[str, Any]]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class Ready(BaseModel):
    """Redis served the last call, or none was made lately."""

    status: Literal["ok"]
    reason: str


class Health(BaseModel):
    """The process answers; `ready` as `/readyz` says it."""

    status: Literal["ok", "not ready"]
    alive: bool
    ready: bool
    reason: str


BEARER = HTTPBearer(auto_error=False, description="SMARTWORKER_CRON_TOKENS")
WEBHOOK = APIKeyHeader(
    name="webhook-signature",
    scheme_name="StandardWebhooks",
    auto_error=False,
    description="With webhook-id and webhook-timestamp (Standard Webhooks).",
)
QSTASH = APIKeyHeader(
    name="Upstash-Signature",
    scheme_name="QStash",
    auto_error=False,
    description="The signature that QStash puts on its calls.",
)
ADMIN = HTTPBearer(
    scheme_name="AdminBearer",
    auto_error=False,
    description="SMARTWORKER_ADMIN_TOKEN, or a token for all jobs where it is not set",
)
CALLERS = [Security(BEARER), Security(WEBHOOK), Security(QSTASH)]
MANAGERS = [Security(ADMIN)]
READERS = [Security(BEARER), Security(ADMIN)]

_MEANINGS = {
    400: "The request cannot be read, or carries a token in its address.",
    401: "No valid token or signature.",
    403: "The token may not do this.",
    404: "There is no such job or task.",
    405: "The address does not take this method.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "A parameter or key has a value that is not allowed.",
    429: "Too many calls; Retry-After says when to come back.",
    500: "Something went wrong here.",
    503: "Redis cannot be reached, or no token is configured.",
}

RUN_HEADERS = {
    "Location": {
        "description": "Where the state of the run is told.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds until asking makes sense.",
        "schema": {"type": "integer"},
    },
    "Idempotent-Replayed": {
        "description": "`true` if an earlier call had queued the run.",
        "schema": {"type": "string"},
    },
}
KEY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key again starts nothing; it takes the place of the slot.",
    "schema": {"type": "string"},
}
SYNC = {
    "name": "sync",
    "in": "query",
    "required": False,
    "description": "Wait for the result, where the job allows it.",
    "schema": {"type": "boolean"},
}
PARAMETERS = {
    "name": "parameters",
    "in": "query",
    "required": False,
    "description": "The parameters that the job declares, each under its own name.",
    "style": "form",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}
BODY = {
    "required": False,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "description": "The parameters that the job declares.",
            }
        }
    },
}


def problems(*statuses: int) -> Answers:
    """Problem documents with these statuses."""
    return {
        status: {
            "description": _MEANINGS[status],
            "content": {
                "application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/ProblemDocument"}
                }
            },
        }
        for status in statuses
    }


def answer(model: Any, description: str = "") -> dict[str, Any]:
    """An answer that looks like this model."""
    return {"model": model, "description": description or (model.__doc__ or "")}


def unseen(*parameters: Mapping[str, Any], body: bool = False) -> dict[str, Any]:
    """What FastAPI does not see, since the handler reads it itself."""
    found: dict[str, Any] = {"parameters": [dict(each) for each in parameters]}
    return found | ({"requestBody": BODY} if body else {})


#: What a call that starts a run may be answered with.
TRIGGERED: Answers = {
    200: answer(
        Skipped | Finished, "Nothing was queued, or the result with sync=true."
    ),
    202: {"headers": RUN_HEADERS},
    **problems(400, 401, 404, 408, 413, 415, 422, 429, 503),
}
RUN_NOW: Answers = {**TRIGGERED, **problems(403)}


def complete(app: FastAPI) -> None:
    """Add what FastAPI cannot know: that every problem is one kind of document."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        description = plain()
        schemas = description["components"]["schemas"]
        schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for operations in description["paths"].values():
            for operation in operations.values():
                # FastAPI adds it to each address with a name in it; ours are texts.
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
        return description

    app.openapi = openapi  # type: ignore[method-assign]
