"""One log line: ours, bare or inside what a platform puts around it, or another's."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from smartworker.events import EVENTS

#: How deep a line may be packed into others: a syslog line in a platform's JSON.
DEEPEST = 3
Kind = Literal["event", "foreign", "broken", "console"]

_CONSOLE = (b"[info ", b"[warning", b"[error", b"[critical", b"\x1b[")
_WRAPPED = (b'"message":', b'"msg":', b'"log":', b'"line":', b'"text":')


#: Durations and counts that can be; with any other a line is broken, not a figure.
Seconds = Annotated[float, Meta(ge=-1e9, le=1e9)]
Count = Annotated[int, Meta(ge=0, le=10**12)]


class Line(msgspec.Struct, gc=False):
    """The fields that a review reads. Unknown ones are passed over, which is fast."""

    event: str = ""
    timestamp: datetime | None = None
    level: str | None = None
    logger: str | None = None
    task_id: str | None = None
    task: str | None = None
    job: str | None = None
    seconds: Seconds | None = None
    error: str | None = None
    worker: str | None = None
    address: str | None = None
    reason: str | None = None
    detail: str | None = None
    status: int | str | None = None
    window: str | None = None
    poll_seconds: Seconds | None = None
    old_poll_seconds: Seconds | None = None
    kind: str | None = None
    away_seconds: Seconds | None = None
    attempts: Count | None = None
    since: str | None = None
    polls: Count | None = None
    commands: dict[str, Count] | Count | None = None
    # What platforms call the line that they have packed.
    message: str | None = None
    msg: str | None = None
    log: str | None = None
    line: str | None = None
    text: str | None = None
    logs: list[msgspec.Raw] | None = None


class Core(msgspec.Struct, gc=False):
    """What a line is about, whose other fields may have our names and other types."""

    event: str
    timestamp: datetime | None = None
    level: str | None = None
    logger: str | None = None


class Wrapper(msgspec.Struct, gc=False):
    """A platform's object, whose other fields may have our names and other types."""

    message: Any = None
    msg: Any = None
    log: Any = None
    line: Any = None
    text: Any = None


Found = tuple[Kind, Line | None]
_line = msgspec.json.Decoder(Line)
_core = msgspec.json.Decoder(Core)
_wrapper = msgspec.json.Decoder(Wrapper)
_many = msgspec.json.Decoder(list[msgspec.Raw])
_anything = msgspec.json.Decoder(Any)
_FOREIGN: Found = ("foreign", None)
_BROKEN: Found = ("broken", None)


def read(raw: bytes) -> Found | list[Found]:
    """What a line is; several if it is a list of lines. Never raises."""
    try:
        line = _line.decode(raw)
    except (ValueError, RecursionError):
        return _second_look(raw, 0)
    if line.event in EVENTS:
        return "event", line
    return _unpacked(line, 0)


def _second_look(raw: bytes, depth: int) -> Found | list[Found]:
    """The line has something in front of it, or is none of ours."""
    text = raw.strip()
    if text.startswith(_WRAPPED):
        return _packed(text.partition(b":")[2].strip().rstrip(b","), depth)
    if text.startswith(b"[{"):
        return _each(text, depth)
    begin = text.find(b'{"')
    if begin > 0:
        return _read(text[begin:], depth + 1)
    if begin == 0:
        return _loose(text, depth)
    return ("console", None) if _is_console(text) else _FOREIGN


def _read(raw: bytes, depth: int) -> Found | list[Found]:
    if depth > DEEPEST:
        return _FOREIGN
    try:
        line = _line.decode(raw)
    except (ValueError, RecursionError):
        return _second_look(raw, depth + 1)
    return ("event", line) if line.event in EVENTS else _unpacked(line, depth)


def _unpacked(line: Line, depth: int) -> Found | list[Found]:
    if line.event:
        return "foreign", line
    if line.logs is not None:
        return list(_flat(line.logs, depth))
    return _inner(line, depth)


def _loose(raw: bytes, depth: int) -> Found | list[Found]:
    """An object that is no line of ours: another's, a wrapper's, or cut off."""
    with suppress(ValueError, RecursionError):
        core = _core.decode(raw)
        if core.event in EVENTS:
            return _BROKEN
        if core.event:
            return "foreign", Line(core.event, core.timestamp, core.level, core.logger)
    try:
        wrapper = _wrapper.decode(raw)
    except (ValueError, RecursionError):
        # Braces may stand in anybody's text; one of ours that ends early says so.
        return _BROKEN if depth == 0 or b'"event"' in raw else _FOREIGN
    return _inner(wrapper, depth)


def _inner(line: Line | Wrapper, depth: int) -> Found | list[Found]:
    inner = line.message or line.msg or line.log or line.line or line.text
    if not isinstance(inner, str):
        return _FOREIGN
    return _read(inner.encode("utf-8", "replace"), depth + 1)


def _packed(raw: bytes, depth: int) -> Found | list[Found]:
    """A JSON string that holds a line: of an export with line breaks inside."""
    try:
        inner = _anything.decode(raw)
    except (ValueError, RecursionError):
        return _BROKEN
    if not isinstance(inner, str):
        return _FOREIGN
    return _read(inner.encode("utf-8", "replace"), depth + 1)


def _each(raw: bytes, depth: int) -> Found | list[Found]:
    try:
        return list(_flat(_many.decode(raw), depth))
    except (ValueError, RecursionError):
        return _BROKEN


def _flat(items: list[msgspec.Raw], depth: int) -> Iterator[Found]:
    for item in items:
        found = _read(bytes(item), depth + 1)
        if isinstance(found, list):
            yield from found
        else:
            yield found


def _is_console(text: bytes) -> bool:
    head = text[:200]
    return any(mark in head for mark in _CONSOLE)
