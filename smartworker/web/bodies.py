"""Request bodies: how much is read, for how long, and what JSON is taken."""

import asyncio
import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.requests import Request

from smartworker.web.problems import Problem

LARGEST_BODY = 64 * 1024
# A refused body is still read up to here: closing the connection on a client that
# is sending would take the answer away from it.
LARGEST_DRAIN = 1024 * 1024
DEADLINE_SECONDS = 10.0
DEEPEST = 16
MOST_KEYS = 64


async def read_body(
    request: Request, *, deadline_seconds: float = DEADLINE_SECONDS
) -> bytes:
    """The body, empty or JSON.

    Raises Problem: 413 if it is too large, 408 if it takes too long, 415 if it is
    compressed or of another type.
    """
    body = await _arrived(request, deadline_seconds)
    check_type(request.headers, body)
    return body


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form that a page of ours has sent; of two the last.

    Raises Problem: 413 and 408 as `read_body`, 415 if it is no such form.
    """
    body = await _arrived(request, DEADLINE_SECONDS)
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and media != "application/x-www-form-urlencoded":
        raise Problem(415, "Send the fields as a form does.")
    try:
        text = body.decode("utf-8")
        return dict(parse_qsl(text, errors="strict", max_num_fields=MOST_KEYS))
    except ValueError:
        raise Problem(400, "The form cannot be read.") from None


def check_type(headers: Headers, body: bytes) -> None:
    """Refuse what is compressed, and a body that does not say that it is JSON.

    Cron services send an empty body as a form, so the type of nothing is not asked.
    """
    codings = ",".join(headers.getlist("content-encoding")).lower().split(",")
    if any(coding.strip() not in ("", "identity") for coding in codings):
        raise Problem(
            415, "A compressed body is not taken: send it without Content-Encoding."
        )
    types = headers.getlist("content-type")
    if body and not (types and all(map(_is_json, types))):
        raise Problem(
            415,
            "A body must be JSON in UTF-8: send it with Content-Type "
            "application/json, or send no body.",
        )


def parse_json(body: bytes) -> dict[str, Any]:
    """The object in the body; nothing in an empty one. Raises Problem 400."""
    if not body:
        return {}
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_float,
            parse_int=_int,
        )
        _check(value, 1)
    except RecursionError:
        raise _refusal(f"is nested more than {DEEPEST} levels deep") from None
    except UnicodeDecodeError:
        raise _refusal("is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _refusal(
            f"is not JSON, at line {error.lineno}, column {error.colno}"
        ) from None
    if not isinstance(value, dict):
        raise _refusal('is not a JSON object such as {"name": "value"}')
    return value


async def _arrived(request: Request, deadline_seconds: float) -> bytes:
    try:
        async with asyncio.timeout(deadline_seconds):
            return await _read(request)
    except TimeoutError as error:
        # The rest of the body would be read as the next request.
        headers = {"Connection": "close"}
        raise Problem(408, "The body did not arrive in time.", headers) from error


async def _read(request: Request) -> bytes:
    body = bytearray()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= LARGEST_BODY:
            body += chunk
        elif size > LARGEST_DRAIN:
            break
    if size > LARGEST_BODY:
        raise Problem(413, f"A body may have {LARGEST_BODY} bytes at most.")
    return bytes(body)


def _is_json(header: str) -> bool:
    media, *options = header.split(";")
    charsets = [
        value.strip().strip('"').lower()
        for name, _, value in (option.partition("=") for option in options)
        if name.strip().lower() == "charset"
    ]
    return media.strip().lower() == "application/json" and all(
        charset in ("utf-8", "utf8") for charset in charsets
    )


def _object(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(pairs) > MOST_KEYS:
        raise _refusal(f"has an object with more than {MOST_KEYS} members")
    if len(found) < len(pairs):
        raise _refusal("has an object with the same member twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise _refusal(f"has the value {name}, which JSON does not know")


def _float(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise _refusal("has a number that is too large")
    return number


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # Python reads 4,300 digits at most: more would take minutes
        raise _refusal("has a number with too many digits") from None


def _check(value: Any, depth: int) -> None:
    """What the parser does not see: the depth, and halves of surrogate pairs."""
    if isinstance(value, str):
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise _refusal("has a text with half of a surrogate pair")
    elif isinstance(value, dict | list):
        if depth > DEEPEST:
            raise _refusal(f"is nested more than {DEEPEST} levels deep")
        members = value if isinstance(value, list) else [*value, *value.values()]
        for member in members:
            _check(member, depth + 1)


def _refusal(what: str) -> Problem:
    return Problem(400, f"The body {what}.")
