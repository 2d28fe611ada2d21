"""The table of settings: each environment variable, how it is read, what is allowed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal, get_args

from smartworker.durations import parse_duration
from smartworker.errors import SettingsError
from smartworker.ping import check_ping

Doorbell = Literal["auto", "keyspace", "publish", "off"]
LogFormat = Literal["json", "console"]
Dashboard = Literal["guarded", "open", "private", "off"]
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Variable:
    """One environment variable: its name, where it goes, and how it is read."""

    name: str
    attribute: str
    parse: Callable[[str], Any]
    allowed: str
    secret: bool = False


def parse_value(variable: Variable, text: str) -> Any:
    """What the text means; raises SettingsError that names the variable."""
    try:
        return variable.parse(text)
    except (LookupError, ValueError, SettingsError) as error:
        shown = "a value that is not shown" if variable.secret else repr(text)
        raise SettingsError(
            f"{variable.name} is {shown}: {variable.allowed}."
        ) from error


def read_text(environment: Mapping[str, str], variable: Variable) -> str | None:
    """The text of a variable, or of the file it names; None if unset or blank.

    Raises SettingsError for a file that cannot be read.
    """
    text = environment.get(variable.name, "").strip()
    path = environment.get(f"{variable.name}_FILE", "").strip()
    if variable.secret and path:
        if text:
            raise SettingsError(
                f"{variable.name} and {variable.name}_FILE are both set: keep one."
            )
        try:
            text = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{variable.name}_FILE names {path!r}, which cannot be read: "
                f"{getattr(error, 'strerror', None) or 'it is not text'}."
            ) from error
    return text or None


def refuse_unknown(environment: Mapping[str, str]) -> None:
    """Raise SettingsError for a variable that is none of ours, and name the nearest."""
    known = {variable.name for variable in VARIABLES}
    known |= {f"{variable.name}_FILE" for variable in VARIABLES if variable.secret}
    known |= {"SMARTWORKER_TIMEZONE", "SMARTWORKER_WINDOWS"}
    for name in environment:
        if name.startswith("SMARTWORKER_") and name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "remove it."
            raise SettingsError(f"{name} is not a setting of smartworker: {hint}")


def _choice(choices: tuple[str, ...]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(text)
        return text.lower()

    return check


def _switch(text: str) -> bool:
    return {"on": True, "off": False}[text.lower()]


def whole(least: int, most: int) -> Callable[[str], int]:
    """A reader of whole numbers in these bounds."""

    def check(text: str) -> int:
        number = int(text)
        if not least <= number <= most:
            raise ValueError(text)
        return number

    return check


def _listener(text: str) -> tuple[str, int]:
    """A port on all addresses, or on the one before the colon."""
    host, colon, port = text.rpartition(":")
    if colon:
        IPv4Address(host)
    return host or "0.0.0.0", whole(1, 65_535)(port)  # noqa: S104 - asked for


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(part, strict=False) for part in _names(text))


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise ValueError(text)
    return path


UPSTASH_PASSWORD = Variable("UPSTASH_REDIS_PASSWORD", "", str, "", secret=True)

VARIABLES = (
    Variable("REDIS_URL", "redis_url", str, "", secret=True),
    Variable("SMARTWORKER_RESULT_URL", "result_url", str, "", secret=True),
    Variable(
        "SMARTWORKER_QUIET_POLL",
        "quiet_poll",
        parse_duration,
        "write a duration from 1s to 24h, such as 30m",
    ),
    Variable(
        "SMARTWORKER_LONGEST_QUIET_POLL",
        "longest_quiet_poll",
        parse_duration,
        "write a duration from 1s to 24h, such as 2h",
    ),
    Variable(
        "SMARTWORKER_DOORBELL",
        "doorbell",
        _choice(get_args(Doorbell)),
        f"allowed is {', '.join(get_args(Doorbell))}",
    ),
    Variable(
        "SMARTWORKER_LEASE",
        "lease",
        parse_duration,
        "write a duration of 1s or more, such as 5m",
    ),
    Variable(
        "SMARTWORKER_MAX_DELIVERIES",
        "max_deliveries",
        whole(1, 1000),
        "write a whole number from 1 to 1000",
    ),
    Variable("SMARTWORKER_TLS_CA", "tls_ca", _file, "name a file that exists"),
    Variable("SMARTWORKER_TLS_VERIFY", "tls_verify", _switch, "allowed is on, or off"),
    Variable("SMARTWORKER_TASKS", "tasks", _names, "name modules, comma-separated"),
    Variable(
        "SMARTWORKER_CRON_TOKENS",
        "cron_tokens",
        _names,
        "write tokens, comma-separated",
        secret=True,
    ),
    Variable("SMARTWORKER_ADMIN_TOKEN", "admin_token", str, "", secret=True),
    Variable(
        "SMARTWORKER_WEBHOOK_SECRETS",
        "webhook_secrets",
        _names,
        "write secrets such as whsec_..., comma-separated",
        secret=True,
    ),
    Variable("QSTASH_CURRENT_SIGNING_KEY", "qstash_current_key", str, "", secret=True),
    Variable("QSTASH_NEXT_SIGNING_KEY", "qstash_next_key", str, "", secret=True),
    Variable(
        "SMARTWORKER_DASHBOARD",
        "dashboard",
        _choice(get_args(Dashboard)),
        f"allowed is {', '.join(get_args(Dashboard))}",
    ),
    Variable(
        "SMARTWORKER_TRIGGER_LIMIT",
        "trigger_limit",
        whole(1, 1_000_000),
        "write a whole number of triggers a minute, such as 1200",
    ),
    Variable(
        "SMARTWORKER_TRUSTED_PROXIES",
        "trusted_proxies",
        _networks,
        "write addresses or networks, comma-separated, such as 10.0.0.0/8",
    ),
    Variable(
        "SMARTWORKER_MONTHLY_BUDGET",
        "monthly_budget",
        whole(1, 10**12),
        "write a whole number of commands, such as 500000",
    ),
    Variable(
        "SMARTWORKER_TRACK_QUEUED", "track_queued", _switch, "allowed is on, or off"
    ),
    Variable(
        "SMARTWORKER_LOG_FORMAT",
        "log_format",
        _choice(get_args(LogFormat)),
        f"allowed is {', '.join(get_args(LogFormat))}",
    ),
    Variable("PORT", "port", whole(0, 65_535), "write a port number from 0 to 65535"),
    Variable(
        "SMARTWORKER_METRICS_PORT",
        "metrics_port",
        _listener,
        "write a port from 1 to 65535, such as 9808, or 127.0.0.1:9808",
    ),
    Variable("DATABASE_URL", "database_url", str, "", secret=True),
    Variable("SMARTWORKER_STATE_DIR", "state_dir", str, ""),
    Variable(
        "SMARTWORKER_PING_URL",
        "ping_url",
        check_ping,
        "write an address such as https://hc-ping.com/KEY/{job}",
        secret=True,
    ),
)
