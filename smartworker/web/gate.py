"""Who may come in: tokens, signatures, and the patience with those who fail."""

from dataclasses import dataclass
from typing import Any, NoReturn

from starlette.requests import Request

from smartworker.cron.auth import Role, Tokens, bearer
from smartworker.web.bodies import parse_json, read_body
from smartworker.web.limits import Limits
from smartworker.web.problems import Problem
from smartworker.web.signatures import Signatures

_TOKEN_FIELDS = frozenset({"token", "access_token", "api_key"})
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="smartworker"'}


@dataclass(frozen=True)
class Gate:
    """Admits requests without a Redis command; raises Problem for all others."""

    tokens: Tokens
    signatures: Signatures
    limits: Limits

    def address(self, request: Request) -> str | None:
        """Where the request comes from, as far as that can be known."""
        peer = request.client.host if request.client else None
        return self.limits.address(peer, request.headers.getlist("x-forwarded-for"))

    async def admit(
        self, request: Request, job: str
    ) -> tuple[dict[str, Any], str | None]:
        """The body of a call that may start this job, and the key of its signature."""
        self._check_address(request, job)
        if self.tokens.role(job, _presented(request)).may_trigger:
            return parse_json(await read_body(request)), None
        if not self.signatures.claimed(request.headers):
            self._refuse(
                request,
                "The Authorization header carries no token that is valid for this job.",
            )
        body = await read_body(request)
        signed = self.signatures.verify(
            job, request.url.path, request.headers, body, query=request.url.query
        )
        if signed is None:
            self._refuse(
                request,
                "The signature is not valid for this job and body, or it is too old.",
            )
        return parse_json(body), signed.key

    def admit_manager(self, request: Request, job: str) -> None:
        """Let pass who may pause, resume and run this job."""
        self._check_address(request, job)
        role = self.tokens.role(job, _presented(request))
        if role is Role.NONE:
            self._refuse(request, "The Authorization header carries no valid token.")
        if not role.may_manage:
            raise Problem(
                403,
                "This token starts jobs and does not manage them: send the one of "
                "SMARTWORKER_ADMIN_TOKEN.",
            )

    def admit_reader(self, request: Request) -> None:
        """Let pass whoever has a token, be it for one job."""
        self._check_address(request, None)
        if self.tokens.role(None, _presented(request)) is Role.NONE:
            self._refuse(request, "The Authorization header carries no valid token.")

    def _check_address(self, request: Request, job: str | None) -> None:
        if any(
            field.lower() in _TOKEN_FIELDS
            or self._is_token(job, field)
            or self._is_token(job, value)
            for field, value in request.query_params.multi_items()
        ):
            raise Problem(
                400,
                "A token in the address ends up in logs: send it in the "
                "Authorization header, and replace this one.",
            )
        if not (self.tokens or self.signatures):
            raise Problem(
                503,
                "No token is configured, so every trigger is refused: set "
                "SMARTWORKER_CRON_TOKENS.",
            )

    def _is_token(self, job: str | None, value: str) -> bool:
        raw = value.encode("utf-8", "surrogatepass")
        return self.tokens.role(job, raw) is not Role.NONE

    def _refuse(self, request: Request, detail: str) -> NoReturn:
        """401, or 429 for an address that keeps failing."""
        self.limits.failed(self.address(request))
        raise Problem(401, detail, _CHALLENGE)


def _presented(request: Request) -> bytes:
    headers = request.headers.getlist("authorization")
    # Starlette decodes headers as latin-1; this gives the bytes back as they came.
    return bearer(headers[0].encode("latin-1")) or b"" if len(headers) == 1 else b""
