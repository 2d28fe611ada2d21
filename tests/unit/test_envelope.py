"""Envelopes: what is refused, and what an attempt changes in one and what it keeps."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartworker.broker.envelope import ATTEMPTS, Unreadable, counted, read, write


def envelope(**parts: Any) -> dict[str, Any]:
    """An envelope as kombu writes it, with some parts replaced."""
    return {
        "body": "W10=",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"task": "project.add", "id": "an-id"},
        "properties": {"delivery_info": {"exchange": "", "routing_key": "celery"}},
        **parts,
    }


def raw(**parts: Any) -> bytes:
    """The same in bytes."""
    return json.dumps(envelope(**parts)).encode()


def attempted(data: bytes) -> bytes:
    """The message with one attempt more."""
    payload = read(data)
    return write(payload, **{ATTEMPTS: counted(payload, ATTEMPTS) + 1})


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"not json",
    "half an object": raw()[:-1],
    "an empty object": b"{}",
    "an empty list": b"[]",
    "a number": b"5",
    "null": b"null",
    "a string": b'"celery"',
    "invalid UTF-8": b"\xff\xfe\x00",
    "invalid UTF-8 inside": raw().replace(b"W10=", b"W1\xff="),
    "nested lists": b"[" * 100_000,
    "nested lists, closed": b"[" * 100_000 + b"]" * 100_000,
    "nested objects": b'{"a":' * 100_000,
    "nested headers": raw(headers="?").replace(b'"?"', b'{"a":' * 100_000),
    "a body that is a number": raw(body=5),
    "a body that is a list": raw(body=[]),
    "headers that are a list": raw(headers=[]),
    "headers that are text": raw(headers="text"),
    "no properties": b'{"body": ""}',
    "properties that are null": raw(properties=None),
    "properties that are a list": raw(properties=[]),
    "delivery info that is a number": raw(properties={"delivery_info": 5}),
    "delivery info that is a list": raw(properties={"delivery_info": []}),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("act", [read, attempted])
def test_hostile_messages_are_unreadable(act: Any, hostile: bytes) -> None:
    """One error of ours with a reason, whatever the bytes are."""
    with pytest.raises(Unreadable) as caught:
        act(hostile)
    assert str(caught.value)


@given(st.binary() | st.text().map(lambda text: json.dumps(text).encode()))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    """Read, or refused: no third way."""
    with suppress(Unreadable):
        assert isinstance(read(data), dict)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"body": None},
        {"headers": None},
        {"headers": {}},
        {"properties": {}},
        {"properties": {"delivery_info": None}},
    ],
)
def test_what_kombu_may_leave_out(parts: dict[str, Any]) -> None:
    """A missing part is no error, and an attempt can be counted all the same."""
    assert read(raw(**parts)) == envelope(**parts)
    again = attempted(raw(**parts))
    assert read(again)["headers"][ATTEMPTS] == 1
    assert read(again)["properties"]["delivery_info"]["redelivered"] is True


def test_attempts_are_counted() -> None:
    """Each return adds one."""
    data = raw()
    for number in range(1, 8):
        data = attempted(data)
        assert read(data)["headers"][ATTEMPTS] == number


@pytest.mark.parametrize("count", ["5", None, [], {}, 1.5])
def test_a_count_of_somebody_else_starts_anew(count: Any) -> None:
    """What is no whole number is no count."""
    again = attempted(raw(headers={ATTEMPTS: count}))
    assert read(again)["headers"][ATTEMPTS] == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
names = st.text().filter(lambda name: not name.startswith("__"))


@given(
    headers=st.dictionaries(names, json_values),
    properties=st.dictionaries(names, json_values),
    info=st.dictionaries(names, json_values),
    body=st.text(),
    more=json_values,
)
def test_everything_else_is_kept(
    headers: dict[str, Any],
    properties: dict[str, Any],
    info: dict[str, Any],
    body: str,
    more: Any,
) -> None:
    """An attempt changes the count and the two marks, no other value anywhere."""
    before = envelope(
        headers={**headers, ATTEMPTS: 2},
        properties={**properties, "delivery_info": info},
        body=body,
        more=more,
    )
    marked = {"redelivered": True}
    assert json.loads(attempted(json.dumps(before).encode())) == {
        **before,
        "headers": {**headers, ATTEMPTS: 3, **marked},
        "properties": {**properties, "delivery_info": {**info, **marked}},
    }


TYPED = {
    "__type__": "datetime",
    "__value__": "2026-11-22T01:42:49+00:00",
}


@pytest.mark.parametrize(
    "value",
    [
        TYPED,
        {"__type__": "date", "__value__": "2026-11-22"},
        {"__type__": "uuid", "__value__": {"hex": "0" * 32, "version": 4}},
        {"__type__": "decimal", "__value__": "1.10"},
        {"__type__": "bytes", "__value__": "AAE="},
        "2026-11-22T01:42:49.123456Z",
        1.10,
        10**30,
        "żółć \u2028 \x00 😀",
    ],
)
def test_values_survive_a_round_trip(value: Any) -> None:
    """kombu's typed values too: what the next worker reads is what was sent."""
    again = attempted(raw(headers={"value": value}))
    assert (
        read(again)["headers"]["value"]
        == read(raw(headers={"value": value}))["headers"]["value"]
    )
