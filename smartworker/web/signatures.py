"""Signed calls, by Standard Webhooks or by QStash, in place of a bearer token."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from standardwebhooks import Webhook
from starlette.datastructures import Headers

from smartworker.credentials import split
from smartworker.errors import SettingsError
from smartworker.settings import Settings
from smartworker.web.problems import Problem

WEBHOOK_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
QSTASH_HEADER = "upstash-signature"
LONGEST_ID = 255

#: Gives the claims of a token; raises anything if it or its signature is wrong.
Claims = Callable[[str, str], dict[str, Any]]


@dataclass(frozen=True)
class Signed:
    """A call with a valid signature; `key`: what makes a repeat of it the same call."""

    key: str | None = None


class Signatures:
    """The secrets with which callers may sign; several at once allow rotation."""

    def __init__(
        self, secrets: Iterable[str] = (), qstash: Claims | None = None
    ) -> None:
        self._webhooks = [(job, Webhook(secret)) for job, secret in map(split, secrets)]
        self._qstash = qstash

    @classmethod
    def of(cls, settings: Settings) -> "Signatures":
        """What the settings say. Raises SettingsError if a library is missing."""
        current, following = settings.qstash_current_key, settings.qstash_next_key
        qstash = _qstash(current, following) if current and following else None
        return cls(settings.webhook_secrets, qstash)

    def __bool__(self) -> bool:
        return bool(self._webhooks or self._qstash)

    @property
    def jobs(self) -> frozenset[str]:
        """The jobs that have a secret of their own."""
        return frozenset(job for job, _ in self._webhooks if job is not None)

    def claimed(self, headers: Headers) -> bool:
        """Whether a request says that it is signed, in a way that is configured."""
        return bool(
            (self._webhooks and WEBHOOK_HEADERS[-1] in headers)
            or (self._qstash and QSTASH_HEADER in headers)
        )

    def verify(
        self, job: str, path: str, headers: Headers, body: bytes, *, query: str = ""
    ) -> Signed | None:
        """The call, if a signature is valid for this job, address and body.

        Raises Problem 400 for a valid webhook with a query that it does not sign.
        """
        if self._qstash and QSTASH_HEADER in headers:
            return self._verify_qstash(self._qstash, path, query, headers, body)
        return self._verify_webhook(job, query, headers, body)

    def _verify_webhook(
        self, job: str, query: str, headers: Headers, body: bytes
    ) -> Signed | None:
        sent = {name: headers.getlist(name) for name in WEBHOOK_HEADERS}
        if any(len(values) != 1 for values in sent.values()):
            return None
        single = {name: values[0] for name, values in sent.items()}
        # Each one is tried: which of them fits does not show in the time.
        valid = [
            owner in (None, job) and _fits(webhook, body, single)
            for owner, webhook in self._webhooks
        ]
        key = single["webhook-id"]
        if not any(valid) or len(key) > LONGEST_ID:
            return None
        if any(name != "sync" for name, _ in parse_qsl(query, keep_blank_values=True)):
            raise Problem(
                400,
                "A webhook signs its body and not its address: send the parameters "
                "in the body.",
            )
        return Signed(key)

    def _verify_qstash(
        self, claims: Claims, path: str, query: str, headers: Headers, body: bytes
    ) -> Signed | None:
        tokens = headers.getlist(QSTASH_HEADER)
        if len(tokens) != 1:
            return None
        try:
            signed = urlsplit(claims(tokens[0], body.decode())["sub"])
        # The libraries raise whatever the malformed part runs into.
        except Exception:
            return None
        # A proxy may have changed the scheme and the host.
        same = unquote(signed.path) == unquote(path) and _pairs(signed.query) == _pairs(
            query
        )
        return Signed() if same else None


def _fits(webhook: Webhook, body: bytes, headers: dict[str, str]) -> bool:
    try:
        webhook.verify(body, headers, json_parse=False)
    # Malformed base64, numbers and characters come as errors of their own.
    except Exception:
        return False
    return True


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def _qstash(current: str, following: str) -> Claims:
    try:
        import jwt
        from qstash import Receiver
    except ImportError as error:
        raise SettingsError(
            "QSTASH_CURRENT_SIGNING_KEY is set and the library for it is missing: "
            "install smartworker[qstash]."
        ) from error
    receiver = Receiver(current, following)

    def claims(token: str, body: str) -> dict[str, Any]:
        receiver.verify(signature=token, body=body)
        # Verified the line above; the receiver keeps the claims to itself.
        return jwt.decode(token, options={"verify_signature": False})

    return claims
