"""Signed calls, by Standard Webhooks or by QStash."""

import base64
import hashlib
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook
from starlette.datastructures import Headers

from smartworker.errors import SettingsError
from smartworker.settings import Settings
from smartworker.web.problems import Problem
from smartworker.web.signatures import Signatures, Signed

NOON = datetime(2026, 11, 21, 17, 0, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"1" * 32).decode()
NEXT = "whsec_" + base64.b64encode(b"2" * 24).decode()
BODY = b'{"day": "2026-11-22"}'
PATH = "/api/cron/book"
CURRENT_KEY, NEXT_KEY = "sig_" + "c" * 32, "sig_" + "n" * 32


@pytest.fixture(autouse=True)
def _noon() -> Any:
    """The libraries read the clock themselves."""
    with freeze_time(NOON):
        yield


def webhook(
    secret: str = SECRET, body: bytes = BODY, at: datetime = NOON, key: str = "msg_1"
) -> dict[str, str]:
    """The headers of a signed call."""
    return {
        "webhook-id": key,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(key, at, body.decode()),
    }


def verify(
    signatures: Signatures,
    headers: Mapping[str, str],
    job: str = "book",
    body: bytes = BODY,
    **options: Any,
) -> Signed | None:
    """What a call with these headers is."""
    return signatures.verify(job, PATH, Headers(headers), body, **options)


def test_a_signed_call_is_valid_and_brings_its_key() -> None:
    """The id is what makes a repeat the same call."""
    signatures = Signatures([SECRET])
    assert verify(signatures, webhook()) == Signed("msg_1")
    empty = webhook(body=b"")
    assert verify(signatures, empty, body=b"") == Signed("msg_1")
    assert verify(signatures, empty, body=b"", query="sync=true") == Signed("msg_1")


def test_two_secrets_are_valid_at_once() -> None:
    """Rotation on our side, and on the sender's: several signatures in one header."""
    both = Signatures([SECRET, NEXT])
    assert verify(both, webhook(SECRET))
    assert verify(both, webhook(NEXT))
    double = webhook(SECRET)
    double["webhook-signature"] += " " + webhook(NEXT)["webhook-signature"]
    assert verify(Signatures([NEXT]), double)
    assert verify(Signatures([SECRET]), double)
    assert not verify(Signatures([NEXT]), webhook(SECRET))


def test_a_secret_of_a_job_is_valid_for_that_job_alone() -> None:
    """`job:whsec_...`, as with tokens."""
    signatures = Signatures([f"book:{SECRET}", NEXT])
    assert verify(signatures, webhook(SECRET), job="book")
    assert not verify(signatures, webhook(SECRET), job="clean")
    assert verify(signatures, webhook(NEXT), job="clean")
    assert signatures.jobs == {"book"}


@pytest.mark.parametrize("seconds", [-301, 301, -86_400, 10**9])
def test_a_call_of_another_time_is_not_valid(seconds: int) -> None:
    """Five minutes either way are allowed."""
    old = webhook(at=NOON + timedelta(seconds=seconds))
    assert verify(Signatures([SECRET]), old) is None


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_clocks_may_differ(seconds: int) -> None:
    """By five minutes."""
    assert verify(Signatures([SECRET]), webhook(at=NOON + timedelta(seconds=seconds)))


def test_the_signature_is_of_this_body_and_id() -> None:
    """Nothing of it can be exchanged."""
    signatures = Signatures([SECRET])
    assert not verify(signatures, webhook(), body=BODY + b" ")
    assert not verify(signatures, webhook() | {"webhook-id": "msg_2"})
    later = str(int(NOON.timestamp()) + 1)
    assert not verify(signatures, webhook() | {"webhook-timestamp": later})


@pytest.mark.parametrize(
    "headers",
    [
        {"webhook-id": ""},
        {"webhook-id": "é"},
        {"webhook-timestamp": "noon"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "1e400"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "9" * 5000},
        {"webhook-signature": ""},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,x"},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": "v1,a,b"},
        {"webhook-signature": "v2,AAAA"},
        {"webhook-signature": "," * 1000},
    ],
)
def test_malformed_headers_are_not_valid(headers: dict[str, str]) -> None:
    """Whatever the library raises on them."""
    assert verify(Signatures([SECRET]), webhook() | headers) is None


@pytest.mark.parametrize("name", list(webhook()))
def test_every_header_stands_there_once(name: str) -> None:
    """Missing, or twice: not valid."""
    headers = webhook()
    raw = [(key.encode(), value.encode()) for key, value in headers.items()]
    twice = Headers(raw=[*raw, (name.encode(), headers[name].encode())])
    assert Signatures([SECRET]).verify("book", PATH, twice, BODY) is None
    del headers[name]
    assert verify(Signatures([SECRET]), headers) is None


def test_a_body_that_is_no_text_is_not_valid() -> None:
    """It cannot have been signed."""
    assert verify(Signatures([SECRET]), webhook(), body=b"\xff") is None


def test_an_id_that_is_too_long_for_a_key_is_not_valid() -> None:
    """255 characters are enough for everybody."""
    assert verify(Signatures([SECRET]), webhook(key="m" * 255))
    assert verify(Signatures([SECRET]), webhook(key="m" * 256)) is None


def test_a_webhook_has_no_parameters_in_its_address() -> None:
    """They are not signed: whoever repeats the call could exchange them."""
    signatures = Signatures([SECRET])
    with pytest.raises(Problem, match="send the parameters in the body") as caught:
        verify(signatures, webhook(), query="day=2026-11-23")
    assert caught.value.status == 400
    with pytest.raises(Problem):
        verify(signatures, webhook(), query="sync=true&day=")
    assert verify(signatures, {}, query="day=2026-11-23") is None


@given(st.dictionaries(st.sampled_from(list(webhook())), st.text(max_size=40)))
def test_no_header_raises(headers: dict[str, str]) -> None:
    """Whatever stands in them."""
    latin = {
        k: v.encode("latin-1", "replace").decode("latin-1") for k, v in headers.items()
    }
    with freeze_time(NOON):
        assert verify(Signatures([SECRET]), latin) is None


def test_nothing_is_claimed_where_nothing_is_configured() -> None:
    """The caller can tell `not signed` from `signed wrongly`."""
    assert not Signatures()
    assert not Signatures().claimed(Headers(webhook()))
    assert not Signatures().claimed(Headers({"upstash-signature": "x"}))
    assert verify(Signatures(), webhook()) is None
    assert Signatures([SECRET])
    assert Signatures([SECRET]).claimed(Headers({"Webhook-Signature": "x"}))
    assert not Signatures([SECRET]).claimed(Headers({"authorization": "x"}))
    assert not Signatures([SECRET]).claimed(Headers({"upstash-signature": "x"}))


@pytest.fixture
def qstash() -> Signatures:
    """The keys of the settings."""
    return Signatures.of(
        Settings(qstash_current_key=CURRENT_KEY, qstash_next_key=NEXT_KEY)
    )


def claims(**changes: Any) -> dict[str, Any]:
    """What QStash signs; None leaves a claim out."""
    now = int(NOON.timestamp())
    body = base64.urlsafe_b64encode(hashlib.sha256(BODY).digest()).decode()
    found = {
        "iss": "Upstash",
        "sub": f"https://example.com{PATH}",
        "exp": now + 300,
        "nbf": now,
        "iat": now,
        "jti": "jwt_1",
        "body": body,
    } | changes
    return {key: value for key, value in found.items() if value is not None}


def token(key: str = CURRENT_KEY, algorithm: str = "HS256", **changes: Any) -> Any:
    """The headers of a call from QStash."""
    signed = jwt.encode(claims(**changes), key, algorithm)
    return {"Upstash-Signature": signed}


@pytest.mark.parametrize("key", [CURRENT_KEY, NEXT_KEY])
def test_a_call_of_qstash_is_valid_with_either_key(
    qstash: Signatures, key: str
) -> None:
    """Upstash rotates the next one into the place of the current one."""
    assert qstash
    assert qstash.claimed(Headers(token(key)))
    assert verify(qstash, token(key)) == Signed(None)
    assert verify(qstash, token(key), job="any-other") == Signed(None)


def test_a_proxy_may_change_scheme_and_host(qstash: Signatures) -> None:
    """What must be the same is the path and the query."""
    assert verify(qstash, token(sub=f"http://10.0.0.1:8000{PATH}"))
    assert verify(qstash, token(sub="https://x/api/cron/b%6Fok"))
    with_query = token(sub=f"https://x{PATH}?day=2026-11-22&sync=true")
    assert verify(qstash, with_query, query="day=2026%2D11-22&sync=true")


@pytest.mark.parametrize(
    ("sub", "query"),
    [
        ("https://example.com/api/cron/clean", ""),
        (f"https://example.com{PATH}/", ""),
        ("https://example.com", ""),
        (f"https://example.com{PATH}?day=2026-11-22", ""),
        (f"https://example.com{PATH}?day=2026-11-22", "day=2026-11-23"),
        (f"https://example.com{PATH}", "day=2026-11-22"),
        ("https://[", ""),
        ("", ""),
        (None, ""),
        (7, ""),
        (["x"], ""),
    ],
)
def test_a_call_for_another_address_is_not_valid(
    qstash: Signatures, sub: Any, query: str
) -> None:
    """A token for one job does not start another one."""
    headers = {"Upstash-Signature": _encode(claims(sub=sub))}
    assert verify(qstash, headers, query=query) is None


def _encode(payload: Mapping[str, Any]) -> str:
    """A signed token, also of claims that PyJWT would not sign."""
    text = json.dumps(payload).encode()
    return jwt.api_jws.encode(text, CURRENT_KEY, "HS256")


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "sig_" + "x" * 32},
        {"algorithm": "HS384"},
        {"iss": "Somebody"},
        {"exp": int(NOON.timestamp()) - 1},
        {"nbf": int(NOON.timestamp()) + 60},
        {"exp": None},
        {"nbf": None},
        {"body": None},
        {"body": "AAAA"},
        {"body": 7},
    ],
)
@pytest.mark.filterwarnings("ignore:The HMAC key is")
def test_wrong_claims_are_not_valid(
    qstash: Signatures, changes: dict[str, Any]
) -> None:
    """Each claim counts, and a malformed one is no 500."""
    assert verify(qstash, token(**changes)) is None


@pytest.mark.parametrize(
    "value",
    ["", "x", "a.b.c", "é.é.é", "." * 1000, "eyJhbGciOiJub25lIn0.e30.", "a" * 10_000],
)
def test_malformed_tokens_are_not_valid(qstash: Signatures, value: str) -> None:
    """Unsigned ones among them."""
    assert verify(qstash, {"upstash-signature": value}) is None


def test_the_token_is_of_this_body(qstash: Signatures) -> None:
    """Another one, or one that is no text."""
    assert verify(qstash, token(), body=b"{}") is None
    assert verify(qstash, token(), body=b"\xff") is None
    twice = Headers(raw=[(b"upstash-signature", token().popitem()[1].encode())] * 2)
    assert qstash.verify("book", PATH, twice, BODY) is None


def test_a_webhook_is_taken_beside_qstash() -> None:
    """Both may be configured."""
    both = Signatures.of(
        Settings(
            webhook_secrets=(SECRET,),
            qstash_current_key=CURRENT_KEY,
            qstash_next_key=NEXT_KEY,
        )
    )
    assert verify(both, webhook()) == Signed("msg_1")
    assert verify(both, token()) == Signed()


def test_qstash_without_its_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the start, and only where its keys are set."""
    monkeypatch.setitem(sys.modules, "qstash", None)
    assert not Signatures.of(Settings())
    with pytest.raises(SettingsError, match=r"install smartworker\[qstash\]"):
        Signatures.of(
            Settings(qstash_current_key=CURRENT_KEY, qstash_next_key=NEXT_KEY)
        )
