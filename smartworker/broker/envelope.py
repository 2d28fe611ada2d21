"""The envelope of a message: JSON with a body, headers and properties."""

from dataclasses import dataclass
from typing import Any

from kombu.utils.json import dumps, loads

from smartworker.errors import SmartworkerError

#: A header: how many workers have had the message and given it back started.
ATTEMPTS = "smartworker_attempts"


class Unreadable(SmartworkerError):
    """A message is not what a message must be."""


@dataclass(frozen=True)
class Attempt:
    """A message that goes back after an attempt, and what is known of it."""

    raw: bytes
    attempts: int
    task: str | None
    task_id: str | None


def read(raw: bytes) -> dict[str, Any]:
    """The envelope of a message. Raises Unreadable for everything else."""
    try:
        payload = loads(raw)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error
    if not isinstance(payload, dict) or not isinstance(payload.get("properties"), dict):
        raise Unreadable("it is no object with properties")
    if not isinstance(payload.get("body"), str | bytes | None):
        raise Unreadable("its body is no text")
    inner = payload.get("headers"), payload["properties"].get("delivery_info")
    if not all(isinstance(part, dict | None) for part in inner):
        raise Unreadable("its headers or its delivery info are no objects")
    return payload


def attempted(raw: bytes) -> Attempt:
    """The message marked as redelivered, with one attempt more."""
    payload = read(raw)
    headers = payload.get("headers") or {}
    before = headers.get(ATTEMPTS, 0)
    attempts = 1 + (before if isinstance(before, int) else 0)
    payload["headers"] = {**headers, ATTEMPTS: attempts, "redelivered": True}
    info = payload["properties"].get("delivery_info") or {}
    payload["properties"]["delivery_info"] = {**info, "redelivered": True}
    return Attempt(
        dumps(payload).encode(), attempts, headers.get("task"), headers.get("id")
    )
