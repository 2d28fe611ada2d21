"""Connections to Redis: metered, quiet, alive, and never retried blindly."""

import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    InvalidResponse,
    RedisError,
    ResponseError,
)
from redis.maint_notifications import MaintNotificationsConfig

from smartworker.errors import BrokerRefused, BrokerUnreachable
from smartworker.store.meter import command_name, ledger
from smartworker.store.refusals import BUSY, FULL, QUOTA, classify

__all__ = [
    "LOST",
    "TIMED_OUT",
    "ConnectionError",
    "MeteredConnection",
    "MeteredSSLConnection",
    "MeteredUnixConnection",
    "RedisError",
    "ResponseError",
    "client_of",
    "connect",
    "connection_options",
    "explain",
    "metered",
    "tls_options",
    "unverified",
    "verified",
]

#: Errors that mean: no answer, or none that can be trusted.
LOST = (redis.ConnectionError, redis.TimeoutError, InvalidResponse, OSError)

#: Of these, the ones that took their time.
TIMED_OUT = (redis.TimeoutError, TimeoutError)

#: Seconds that a command may take before the connection counts as dead.
COMMAND_TIMEOUT = 5.0
#: Seconds of silence before TCP asks whether the other side is there.
KEEPALIVE_IDLE = 60
KEEPALIVE_PROBES = 3
KEEPALIVE_PAUSE = 10


class _CountingPacker:
    """Packs commands as redis-py does and remembers their names."""

    def __init__(self, packer: Any, packed: list[str]) -> None:
        self._packer = packer
        self._packed = packed

    def pack(self, *arguments: Any) -> Any:
        """The command in the server's protocol."""
        self._packed.append(command_name(arguments))
        return self._packer.pack(*arguments)


class _Metered:
    """Books every command on the ledger once it has left the socket.

    Everything that redis-py sends goes through its packer first and through
    `send_packed_command` second, pipelines and handshakes included.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._packed: list[str] = []
        super().__init__(*args, **kwargs)

    def _construct_command_packer(self, packer: Any) -> Any:
        made = super()._construct_command_packer(packer)  # type: ignore[misc]
        return _CountingPacker(made, self._packed)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send, then book; connecting on the way books the handshake by itself."""
        packed = self._packed.copy()
        self._packed.clear()
        super().send_packed_command(command, check_health)  # type: ignore[misc]
        ledger.book(packed)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """The next answer. Raises InvalidResponse for what is no answer at all."""
        try:
            return super().read_response(*args, **kwargs)  # type: ignore[misc]
        except ValueError as error:
            raise InvalidResponse(f"Protocol error: {error}") from error


class MeteredConnection(_Metered, redis.Connection):
    """A TCP connection that counts its commands."""


class MeteredSSLConnection(_Metered, redis.SSLConnection):
    """A TLS connection that counts its commands."""


class MeteredUnixConnection(_Metered, redis.UnixDomainSocketConnection):
    """A Unix socket connection that counts its commands."""


_METERED = {
    redis.Connection: MeteredConnection,
    redis.SSLConnection: MeteredSSLConnection,
    redis.UnixDomainSocketConnection: MeteredUnixConnection,
}


def metered(connection_class: Any) -> Any:
    """The counting twin of a redis-py connection class; others come back as is."""
    return _METERED.get(connection_class, connection_class)


def connection_options() -> dict[str, Any]:
    """Options that keep a connection from sending commands nobody asked for.

    redis-py 8 would send CLIENT SETINFO twice and CLIENT MAINT_NOTIFICATIONS once
    at every connect. RESP2 is the protocol that all servers and proxies speak.
    """
    return {
        "driver_info": None,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "protocol": 2,
    }


def keepalive_options() -> dict[int, int]:
    """TCP options that find a half-open link without sending a command."""
    wanted = {
        "TCP_KEEPIDLE": KEEPALIVE_IDLE,
        "TCP_KEEPALIVE": KEEPALIVE_IDLE,  # its name on macOS
        "TCP_KEEPINTVL": KEEPALIVE_PAUSE,
        "TCP_KEEPCNT": KEEPALIVE_PROBES,
        "TCP_USER_TIMEOUT": 1000
        * (KEEPALIVE_IDLE + KEEPALIVE_PAUSE * KEEPALIVE_PROBES),
    }
    return {
        getattr(socket, name): value
        for name, value in wanted.items()
        if hasattr(socket, name)
    }


def tls_options(authority: Path | None, *, verify: bool = True) -> dict[str, Any]:
    """Options that verify the server's certificate and its host name.

    Without `verify`, options that accept any: only where the operator says so.
    """
    if not verify:
        return {"ssl_cert_reqs": ssl.CERT_NONE, "ssl_check_hostname": False}
    options: dict[str, Any] = {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_check_hostname": True,
    }
    if authority is not None:
        options["ssl_ca_certs"] = str(authority)
    return options


def verified(
    params: dict[str, Any], authority: str | None, *, verify: bool = True
) -> dict[str, Any]:
    """The parameters of a connection; over TLS they verify the certificate.

    kombu accepts any certificate where nobody says otherwise, and its parameters
    do not tell whether somebody did.
    """
    if not issubclass(params["connection_class"], redis.SSLConnection):
        return params
    if params.get("ssl_cert_reqs") in (ssl.CERT_REQUIRED, "required", "CERT_REQUIRED"):
        return params
    path = Path(authority) if authority else None
    return {**params, **tls_options(path, verify=verify)}


def unverified(options: Any) -> bool:
    """Whether somebody asks for TLS without verification: a URL, or ssl options."""
    asked: Any = ssl.CERT_REQUIRED
    if isinstance(options, str):
        asked = parse_qs(urlsplit(options).query).get("ssl_cert_reqs", [asked])[-1]
    elif isinstance(options, dict):
        asked = options.get("ssl_cert_reqs", asked)
    if isinstance(asked, str):
        return asked.lower() not in ("required", "cert_required")
    return bool(asked != ssl.CERT_REQUIRED)


def connect(
    url: str, authority: Path | None = None, *, verify: bool = True
) -> redis.Redis:
    """A client for `url` whose commands are counted and never repeated."""
    options: dict[str, Any] = {
        "connection_class": MeteredConnection,
        "socket_timeout": COMMAND_TIMEOUT,
        "socket_connect_timeout": COMMAND_TIMEOUT,
        "socket_keepalive": True,
        "socket_keepalive_options": keepalive_options(),
        **connection_options(),
    }
    if urlsplit(url).scheme == "rediss":
        options["connection_class"] = MeteredSSLConnection
        options.update(tls_options(authority, verify=verify))
    return redis.Redis(connection_pool=redis.ConnectionPool.from_url(url, **options))


def client_of(pool: redis.ConnectionPool) -> redis.Redis:
    """A client on an existing pool."""
    return redis.Redis(connection_pool=pool)


def explain(url: str, error: Exception) -> BrokerRefused | BrokerUnreachable:
    """The sentence for an error of the first connection to `url`."""
    parts = urlsplit(url)
    where = f"Redis at {parts.hostname}:{parts.port or 6379}"
    text = str(error)
    if isinstance(error, AuthenticationError) or text.startswith(
        ("WRONGPASS", "NOAUTH", "invalid password", "invalid username-password")
    ):
        return BrokerRefused(
            f"{where} refused the password: check user and password in REDIS_URL "
            "or UPSTASH_REDIS_PASSWORD."
        )
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text.lower():
        return BrokerRefused(
            f"{where} showed a certificate that cannot be verified "
            f"({_reason(text)}): name its authority in SMARTWORKER_TLS_CA, or check "
            "the host name in the URL."
        )
    refusal = classify(error)
    if refusal in (BUSY, FULL, QUOTA):
        return BrokerUnreachable(
            f"{where} cannot serve now ({_short(text)}): {refusal.advice}."
        )
    if isinstance(error, ResponseError):
        return BrokerRefused(f"{where} refused the connection: {text}.")
    hint = "is it running, and is the port right"
    silent = parts.scheme == "rediss" and "Timeout" in text
    if silent or any(word in text for word in ("SSL", "closed", "reset")):
        hint = "does rediss:// or redis:// fit what the server speaks"
    return BrokerUnreachable(f"{where} cannot be reached ({_short(text)}): {hint}?")


def _reason(text: str) -> str:
    return text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or (
        "certificate verify failed"
    )


def _short(text: str) -> str:
    return text.strip().rstrip(".")[:120]
