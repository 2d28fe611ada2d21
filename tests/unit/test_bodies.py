"""Request bodies: how much is read, for how long, and what JSON is taken."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request

from smartworker.web.bodies import (
    DEEPEST,
    LARGEST_BODY,
    LARGEST_DRAIN,
    MOST_KEYS,
    check_type,
    parse_json,
    read_body,
)
from smartworker.web.problems import Problem

JSON = {"content-type": "application/json"}


def request(
    *chunks: bytes, pause: float = 0, headers: dict[str, str] | None = None
) -> Request:
    """A request whose body comes in these chunks."""
    parts: AsyncIterator[dict[str, Any]]

    async def body() -> AsyncIterator[dict[str, Any]]:
        for chunk in chunks:
            await asyncio.sleep(pause)
            yield {"type": "http.request", "body": chunk, "more_body": True}
        yield {"type": "http.request", "body": b"", "more_body": False}

    parts = body()

    async def receive() -> dict[str, Any]:
        return await anext(parts)

    raw = Headers(JSON if headers is None else headers).raw
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def read(request: Request, **options: Any) -> bytes:
    """The body of a request."""
    return asyncio.run(read_body(request, **options))


def refused(request: Request, **options: Any) -> Problem:
    """The problem that a request gets for its body."""
    with pytest.raises(Problem) as caught:
        read(request, **options)
    return caught.value


def test_a_body_is_put_together() -> None:
    """However many chunks it comes in."""
    assert read(request(b'{"a"', b": 1", b"}")) == b'{"a": 1}'
    assert read(request(b"[", b" " * (LARGEST_BODY - 1))) == b"[".ljust(LARGEST_BODY)


def test_a_body_that_is_too_large_is_read_and_refused() -> None:
    """What counts is what comes, not what the headers say."""
    too_much = request(
        b" " * LARGEST_BODY, b" ", headers=JSON | {"content-length": "1"}
    )
    assert refused(too_much).status == 413


def test_an_endless_body_is_not_read_to_its_end() -> None:
    """The connection is given up after a mebibyte."""
    sent = []

    async def receive() -> dict[str, Any]:
        sent.append(LARGEST_BODY)
        chunk = b" " * LARGEST_BODY
        return {"type": "http.request", "body": chunk, "more_body": True}

    scope = {"type": "http", "method": "POST", "headers": Headers(JSON).raw}
    assert refused(Request(scope, receive)).status == 413
    assert sum(sent) == LARGEST_DRAIN + LARGEST_BODY


def test_a_slow_body_is_refused() -> None:
    """The whole body has one deadline, and the connection is closed."""
    problem = refused(request(b" ", b" ", pause=0.2), deadline_seconds=0.3)
    assert problem.status == 408
    assert problem.headers == {"Connection": "close"}


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "GZIP", "x"])
def test_a_compressed_body_is_refused(coding: str) -> None:
    """Nothing is ever unpacked, so no bomb goes off."""
    packed = request(b"\x1f\x8b", headers=JSON | {"content-encoding": coding})
    assert refused(packed).status == 415
    empty = request(headers=JSON | {"content-encoding": coding})
    assert refused(empty).status == 415


@pytest.mark.parametrize("coding", ["", "identity", "Identity"])
def test_a_body_may_say_that_it_is_not_compressed(coding: str) -> None:
    """Some clients say so."""
    plain = request(b"{}", headers=JSON | {"content-encoding": coding})
    assert read(plain) == b"{}"


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json; charset=utf8; profile=x",
    ],
)
def test_json_is_taken(kind: str) -> None:
    """With and without the charset, which is always the same."""
    check_type(Headers({"content-type": kind}), b"{}")


@pytest.mark.parametrize(
    "kind",
    [
        "application/x-www-form-urlencoded",
        "text/plain",
        "text/json",
        "application/jsonx",
        "application/json, text/plain",
        "application/json; charset=latin-1",
        "",
        "é",
    ],
)
def test_another_type_is_refused_if_there_is_a_body(kind: str) -> None:
    """Cron services send an empty form, which is as good as nothing."""
    with pytest.raises(Problem, match="A body must be JSON"):
        check_type(Headers({"content-type": kind}), b"{}")
    check_type(Headers({"content-type": kind}), b"")


def test_a_body_without_a_type_is_refused() -> None:
    """Nobody guesses what it is; the same with two types."""
    with pytest.raises(Problem, match="A body must be JSON"):
        check_type(Headers({}), b"{}")
    twice = [(b"content-type", b"application/json"), (b"content-type", b"text/plain")]
    with pytest.raises(Problem, match="A body must be JSON"):
        check_type(Headers(raw=twice), b"{}")
    check_type(Headers({}), b"")


def nested(depth: int) -> bytes:
    """An object with lists inside; `depth` levels in all."""
    return b'{"a": %s%s}' % (b"[" * (depth - 1), b"]" * (depth - 1))


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"", {}),
        (b"{}", {}),
        (b' {"a": [1, -2.5, 1e300, true, null, "\\u00e9"]}\n', None),
        ('{"ü": "😀"}'.encode(), {"ü": "😀"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
        (b'{"a": %s}' % (b"9" * 4300), None),
        (nested(DEEPEST), None),
        (json.dumps(dict.fromkeys(map(str, range(MOST_KEYS)))).encode(), None),
    ],
)
def test_objects_are_read(body: bytes, value: Any) -> None:
    """Nothing is an object too."""
    assert parse_json(body) == (json.loads(body) if value is None else value)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "is not JSON, at line 1, column 2"),
        (b"a=b", "is not JSON, at line 1, column 1"),
        (b" ", "is not JSON"),
        (b"{'a': 1}", "is not JSON"),
        (b'{"a": 1,}', "is not JSON"),
        (b'{"a": 01}', "is not JSON"),
        (b'{"a": 1} {}', "is not JSON"),
        (b'{"a": "\n"}', "is not JSON"),
        (b'\xef\xbb\xbf{"a": 1}', "is not JSON"),
        (b'{"a": "\xff"}', "is not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "is not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "is not UTF-8"),
        (b'{"a": NaN}', "has the value NaN, which JSON does not know"),
        (b'{"a": Infinity}', "has the value Infinity"),
        (b'{"a": -Infinity}', "has the value -Infinity"),
        (b'{"a": 1e400}', "has a number that is too large"),
        (b'{"a": -1.0e999999}', "has a number that is too large"),
        (b'{"a": %s}' % (b"9" * 5000), "has a number with too many digits"),
        (b'{"a": 1, "a": 1}', "has an object with the same member twice"),
        (b'{"b": {"a": 1, "\\u0061": 2}}', "has an object with the same member twice"),
        (b'{"a": "\\ud800"}', "has a text with half of a surrogate pair"),
        (b'{"\\udfff": 1}', "has a text with half of a surrogate pair"),
        (b'{"a": ["\\ude00\\ud83d"]}', "has a text with half of a surrogate pair"),
        (nested(DEEPEST + 1), "is nested more than 16 levels deep"),
        (b"[" * 30_000 + b"]" * 30_000, "is nested more than 16 levels deep"),
        (
            b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
            "is nested more than 16 levels deep",
        ),
        (
            json.dumps(dict.fromkeys(map(str, range(MOST_KEYS + 1)))).encode(),
            "has an object with more than 64 members",
        ),
        (b"null", "is not a JSON object"),
        (b"[]", "is not a JSON object"),
        (b"1", "is not a JSON object"),
        (b'"a"', "is not a JSON object"),
        (b"true", "is not a JSON object"),
    ],
)
def test_everything_else_is_refused_with_a_sentence(body: bytes, reason: str) -> None:
    """The sentence says what is wrong, and shows nothing of the body."""
    with pytest.raises(Problem) as caught:
        parse_json(body)
    problem = caught.value
    assert problem.status == 400
    assert problem.detail.startswith(f"The body {reason}")
    assert problem.detail.endswith(".")
