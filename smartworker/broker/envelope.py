"""The envelope of a message: JSON with a body, headers and properties."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from kombu.utils.json import dumps, loads

from smartworker.errors import SmartworkerError

#: A header: how many workers have had the message and not finished it.
ATTEMPTS = "smartworker_attempts"
#: A header: how often workers that do not know its task have had the message.
STRANGERS = "smartworker_strangers"
#: A header: messages published with the same one are one message.
ONCE = "smartworker_key"
#: A header: earlier deaths of a message that people put back.
HISTORY = "smartworker_history"


class Unreadable(SmartworkerError):
    """A message is not what a message must be."""


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


def header(payload: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """One header of an envelope."""
    return (payload.get("headers") or {}).get(name, default)


def counted(payload: Mapping[str, Any], name: str) -> int:
    """A header that counts; 0 where it is missing or no number."""
    value = header(payload, name)
    return value if isinstance(value, int) else 0


def once(payload: Mapping[str, Any]) -> str | None:
    """What makes a message the same as another one; None for most.

    A retry carries the headers of its run, and is another message all the same.
    """
    key = header(payload, ONCE)
    if key is None:
        return None
    parts = (key, header(payload, "task", ""), counted(payload, "retries"))
    text = "\0".join(map(str, parts))
    return sha256(text.encode()).hexdigest()


def forget_deliveries(payload: dict[str, Any]) -> None:
    """A retry carries the headers of its run, and is a new message all the same."""
    for name in (ATTEMPTS, STRANGERS, "redelivered"):
        (payload.get("headers") or {}).pop(name, None)


def write(payload: dict[str, Any], **headers: Any) -> bytes:
    """The envelope with these headers, marked as redelivered."""
    old = payload.get("headers") or {}
    info = payload["properties"].get("delivery_info") or {}
    properties = {
        **payload["properties"],
        "delivery_info": {**info, "redelivered": True},
    }
    marked = {**old, **headers, "redelivered": True}
    text: str = dumps({**payload, "headers": marked, "properties": properties})
    return text.encode()
