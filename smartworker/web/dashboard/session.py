"""Who looks at the dashboard: strangers, and those who have signed in."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from itsdangerous import BadSignature, TimestampSigner
from starlette.requests import Request
from starlette.responses import Response

from smartworker.clock import Clock
from smartworker.cron.auth import Role
from smartworker.logs import get_logger
from smartworker.web.gate import Gate
from smartworker.web.problems import Problem

logger = get_logger(__name__)

COOKIE = "smartworker"
#: Seconds for which a sign-in lasts.
LASTS = 30 * 24 * 3600
_SALT = b"smartworker dashboard session"
_SIGNED_IN = "signed in"


class Signer(TimestampSigner):
    """itsdangerous on our clock."""

    def __init__(self, secret: bytes, clock: Clock) -> None:
        super().__init__(secret, salt=_SALT, digest_method=sha256)
        self._clock = clock

    def get_timestamp(self) -> int:
        """Now, in whole seconds."""
        return int(self._clock.now().timestamp())


@dataclass(frozen=True)
class Session:
    """Sign-in with the admin token, kept in a signed cookie. No Redis command.

    The key comes from the tokens: a cookie dies with the token that opened it, and
    all web processes of an app know each other's. It comes from the address of Redis
    too, for the settings may have the hash of a token alone, which must open nothing.
    """

    gate: Gate
    signer: Signer

    @classmethod
    def of(cls, gate: Gate, redis_url: str, clock: Clock) -> "Session":
        """The sessions that the tokens of this gate open."""
        place = redis_url.encode("utf-8", "surrogateescape")
        secret = sha256(gate.tokens.fingerprint + place).digest()
        return cls(gate, Signer(secret, clock))

    @property
    def is_possible(self) -> bool:
        """Whether there is a token that signs in."""
        return bool(self.gate.tokens.fingerprint)

    def is_open(self, request: Request) -> bool:
        """Whether the request comes from somebody who has signed in."""
        if not self.is_possible:
            return False  # the key would be no secret
        try:
            cookie = request.cookies.get(COOKIE, "")
            value = self.signer.unsign(cookie, max_age=LASTS)
        except (BadSignature, UnicodeError):
            return False
        return bool(value == _SIGNED_IN.encode())

    def is_trusted(self, request: Request) -> bool:
        """Whether the request may see everything: by cookie, or by its token.

        Raises Problem for a token that is wrong: else this would be the place to try
        them.
        """
        if self.is_open(request):
            return True
        if not _has_token(request):
            return False
        self.gate.admit_manager(request, "")
        return True

    def sign_in(self, request: Request, token: str) -> None:
        """Let pass who has the admin token. Raises Problem 401 or 429."""
        address = self.gate.address(request)
        raw = token.strip().encode("utf-8", "surrogatepass")
        try:
            if self.gate.tokens.role(None, raw) is not Role.ADMIN:
                self.gate.limits.failed(address)
                raise Problem(401, "This is not the admin token.")
        except Problem as problem:
            logger.warning("sign_in_refused", status=problem.status, address=address)
            raise
        logger.info("signed_in", address=address)

    def keep(self, request: Request, response: Response) -> None:
        """Give the browser the cookie."""
        value = self.signer.sign(_SIGNED_IN).decode()
        response.set_cookie(COOKIE, value, max_age=LASTS, **_form(request))

    def end(self, request: Request, response: Response) -> None:
        """Take the cookie back."""
        response.delete_cookie(COOKIE, **_form(request))


@dataclass(frozen=True)
class SessionGate(Gate):
    """A gate that also opens for who has signed in."""

    session: Session

    @classmethod
    def of(cls, session: Session) -> "SessionGate":
        """The gate of these sessions."""
        gate = session.gate
        return cls(gate.tokens, gate.signatures, gate.limits, session)

    def admit_manager(self, request: Request, job: str) -> None:
        """Let pass who may pause, resume and run this job."""
        if self.session.is_open(request):
            return
        if not _has_token(request):
            raise Problem(401, "Sign in with the admin token first.")
        super().admit_manager(request, job)


def check_origin(request: Request) -> None:
    """Raise Problem 403 for a form that another site has sent.

    Browsers say where a form comes from; a call without a word of it is let through
    if it carries a token, for no other site can add one.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        same = site == "same-origin"
    elif origin is not None:
        same = _netloc(origin) == request.headers.get("host", "").lower()
    else:
        same = _has_token(request)
    if not same:
        raise Problem(403, "This form was not sent from the dashboard itself.")


def _has_token(request: Request) -> bool:
    """Whether it carries a bearer token; browsers add `Basic` ones by themselves."""
    scheme = request.headers.get("authorization", "").strip().partition(" ")[0]
    return scheme.lower() == "bearer"


def _netloc(origin: str) -> str:
    try:
        parts = urlsplit(origin)
        usual = {"http": 80, "https": 443}.get(parts.scheme)
        host = parts.netloc.lower()
        return host.removesuffix(f":{usual}") if parts.port == usual else host
    except ValueError:
        return ""


def _form(request: Request) -> dict[str, Any]:
    # A header that a stranger made up makes his own cookie stricter, nobody's laxer:
    # so it is believed without a list of proxies.
    forwarded = request.headers.get("x-forwarded-proto", "").lower()
    secure = request.url.scheme == "https" or forwarded.startswith("https")
    return {"path": "/", "httponly": True, "samesite": "strict", "secure": secure}
