"""Bearer tokens: who may call which job."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256


@dataclass(frozen=True)
class Token:
    """One valid token, as its digest; `job` is None if it opens all jobs."""

    job: str | None
    digest: bytes = field(repr=False)


class Tokens:
    """All tokens that are valid at the moment; several at once allow rotation."""

    def __init__(self, tokens: Iterable[Token] = ()) -> None:
        self._tokens = tuple(tokens)

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "Tokens":
        """The tokens of SMARTWORKER_CRON_TOKENS: each `token` or `job:token`."""
        return cls(_token(entry) for entry in entries)

    def __bool__(self) -> bool:
        return bool(self._tokens)

    @property
    def jobs(self) -> frozenset[str]:
        """The jobs that have a token of their own."""
        return frozenset(token.job for token in self._tokens if token.job is not None)

    def allow(self, job: str, presented: bytes) -> bool:
        """Whether these bytes are a token for this job."""
        digest = sha256(presented).digest()
        allowed = False
        # No early exit and no `and`: the time tells nothing about which token fits.
        for token in self._tokens:
            same = hmac.compare_digest(digest, token.digest)
            allowed |= same & (token.job in (None, job))
        return allowed and bool(presented)


def bearer(header: bytes | None) -> bytes | None:
    """The token of an Authorization header; None if it carries none."""
    scheme, _, token = (header or b"").strip().partition(b" ")
    return token.strip() or None if scheme.lower() == b"bearer" else None


def _token(entry: str) -> Token:
    job, _, secret = entry.strip().rpartition(":")
    digest = sha256(secret.encode("utf-8", "surrogateescape")).digest()
    return Token(job or None, digest)
