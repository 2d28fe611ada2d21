"""Bearer tokens: who may call which job, and who may manage them."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256

from smartworker.credentials import digest_of, split


class Role(Enum):
    """What a presented token may do, seen from one job."""

    #: Manage, and start every job.
    ADMIN = "admin"
    #: Start this job.
    JOB = "job"
    #: Start some other job, and not this one.
    OTHER = "other"
    #: Nothing: the token is not known.
    NONE = "none"

    @property
    def may_trigger(self) -> bool:
        """Whether it starts the job that was asked for."""
        return self in (Role.ADMIN, Role.JOB)

    @property
    def may_manage(self) -> bool:
        """Whether it pauses, resumes and runs jobs."""
        return self is Role.ADMIN


@dataclass(frozen=True)
class Token:
    """One valid token, as its digest; `job` is None if it opens all jobs."""

    job: str | None
    digest: bytes = field(repr=False)
    manages: bool = False


class Tokens:
    """All tokens that are valid at the moment; several at once allow rotation."""

    def __init__(self, tokens: Iterable[Token] = ()) -> None:
        self._tokens = tuple(tokens)

    @classmethod
    def parse(cls, entries: Iterable[str], admin: str | None = None) -> "Tokens":
        """The tokens of the settings; each entry is `token` or `job:token`.

        `sha256=` and 64 digits may stand for a token. Where there is no admin token,
        one that opens all jobs manages too. Raises SettingsError for a wrong hash.
        """
        pairs = [split(entry) for entry in entries]
        tokens = [
            Token(job, digest_of(secret), manages=admin is None and job is None)
            for job, secret in pairs
        ]
        if admin is not None:
            tokens.append(Token(None, digest_of(admin), manages=True))
        return cls(tokens)

    def __bool__(self) -> bool:
        return bool(self._tokens)

    @property
    def jobs(self) -> frozenset[str]:
        """The jobs that have a token of their own."""
        return frozenset(token.job for token in self._tokens if token.job is not None)

    @property
    def fingerprint(self) -> bytes:
        """Another one as soon as the tokens that manage are others; b"" for none."""
        managing = sorted(token.digest for token in self._tokens if token.manages)
        return sha256(b"".join(managing)).digest() if managing else b""

    def role(self, job: str | None, presented: bytes) -> Role:
        """What these bytes may do with this job; None: with no job in particular."""
        digest = sha256(presented).digest()
        known = opens = manages = False
        # No early exit and no `and`: the time tells nothing about which token fits.
        for token in self._tokens:
            same = hmac.compare_digest(digest, token.digest)
            known |= same
            opens |= same & (token.job in (None, job))
            manages |= same & token.manages
        if not (known and presented):
            return Role.NONE
        if manages:
            return Role.ADMIN
        return Role.JOB if opens else Role.OTHER

    def allow(self, job: str, presented: bytes) -> bool:
        """Whether these bytes are a token for this job."""
        return self.role(job, presented).may_trigger


def bearer(header: bytes | None) -> bytes | None:
    """The token of an Authorization header; None if it carries none."""
    scheme, _, token = (header or b"").strip().partition(b" ")
    return token.strip() or None if scheme.lower() == b"bearer" else None
