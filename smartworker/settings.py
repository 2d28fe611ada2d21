"""All settings: one frozen object, read once, checked once, passed down.

The table of `variables.py` is the contract with the environment; nothing else in the
package reads environment variables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from smartworker.credentials import check_signing, check_tokens
from smartworker.durations import format_duration
from smartworker.environment import (
    Variable,
    parse_value,
    read_text,
    refuse_unknown,
)
from smartworker.errors import SettingsError
from smartworker.renames import Renamed, explained, present_names
from smartworker.values import Network, whole
from smartworker.variables import (
    UPSTASH_PASSWORD,
    VARIABLES,
    Dashboard,
    Doorbell,
    LogFormat,
)
from smartworker.windows import Windows

SHORTEST_POLL = timedelta(seconds=1)
LONGEST_POLL = timedelta(days=1)
#: How far quiet polls widen when the budget is used up, unless the operator says it.
LONGEST_QUIET_POLL = timedelta(hours=2)
DEFAULT_ZONE = "America/New_York"
DEFAULT_WINDOWS = "20:00-23:00=30s"
SCHEMES = ("redis", "rediss")


def _secret(default: Any = None) -> Any:
    """A field that `repr` leaves out."""
    return field(default=default, repr=False)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the operator decides. Raises SettingsError for a value not allowed."""

    redis_url: str | None = _secret()
    result_url: str | None = _secret()
    timezone: str = DEFAULT_ZONE
    windows: Windows = field(
        default_factory=lambda: Windows.parse(DEFAULT_WINDOWS, DEFAULT_ZONE)
    )
    quiet_poll: timedelta = timedelta(minutes=30)
    longest_quiet_poll: timedelta | None = None
    doorbell: Doorbell = "auto"
    lease: timedelta | None = None
    max_deliveries: int = 5
    tls_ca: Path | None = None
    tls_verify: bool = True
    tasks: tuple[str, ...] = ("smartworker.examples.swim.tasks",)
    cron_tokens: tuple[str, ...] = _secret(())
    admin_token: str | None = _secret()
    webhook_secrets: tuple[str, ...] = _secret(())
    qstash_current_key: str | None = _secret()
    qstash_next_key: str | None = _secret()
    dashboard: Dashboard = "guarded"
    trigger_limit: int = 1200
    trusted_proxies: tuple[Network, ...] = ()
    monthly_budget: int = 500_000
    track_queued: bool = False
    log_format: LogFormat = "json"
    port: int = 8000
    database_url: str | None = _secret()
    state_dir: str = ""
    ping_url: str | None = _secret()
    #: Where a worker listens: address and port; None: nowhere.
    metrics_port: tuple[str, int] | None = None
    #: Former names under which something is set; an attribute keeps its name.
    renamed: tuple[Renamed, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Check what the types cannot say."""
        check_poll("SMARTWORKER_QUIET_POLL", self.quiet_poll)
        check_longest(self.longest_quiet_poll, self.quiet_poll)
        for span in self.windows.spans:
            check_poll("SMARTWORKER_WINDOWS", span.poll)
        for name, url in (
            ("REDIS_URL", self.redis_url),
            ("SMARTWORKER_RESULT_URL", self.result_url),
        ):
            if url is not None:
                check_url(name, url)
        check_tokens(self.cron_tokens, self.admin_token)
        check_signing(
            self.webhook_secrets, self.qstash_current_key, self.qstash_next_key
        )

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], variables: Sequence[Variable] = VARIABLES
    ) -> "Settings":
        """The settings that these variables mean.

        A secret may come from the file named by `NAME_FILE`. Raises SettingsError
        with one sentence that names the variable, the value, and what is allowed.
        """
        environment, renamed = present_names(environment, variables)
        try:
            refuse_unknown(environment, variables)
            return cls(**_values(environment, variables), renamed=renamed)
        except SettingsError as error:
            raise explained(error, renamed) from error.__cause__


def _values(
    environment: Mapping[str, str], variables: Sequence[Variable]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable in variables:
        text = read_text(environment, variable) if variable.attribute else None
        if text is not None:
            values[variable.attribute] = parse_value(variable, text)
    values.update(_parts(environment))
    zone = environment.get("SMARTWORKER_TIMEZONE", "").strip() or DEFAULT_ZONE
    spans = environment.get("SMARTWORKER_WINDOWS", "").strip() or DEFAULT_WINDOWS
    return {**values, "timezone": zone, "windows": parse_windows(spans, zone)}


def check_poll(name: str, poll: timedelta) -> None:
    """Refuse an interval shorter than a second or longer than a day."""
    if not SHORTEST_POLL <= poll <= LONGEST_POLL:
        raise SettingsError(
            f"{name} asks for a poll every {poll.total_seconds():g} seconds: "
            "allowed is 1s to 24h, such as 30s or 30m."
        )


def check_longest(longest: timedelta | None, quiet: timedelta) -> None:
    """Refuse a bound of the quiet poll that is below the quiet poll itself."""
    if longest is None:
        return
    check_poll("SMARTWORKER_LONGEST_QUIET_POLL", longest)
    if longest < quiet:
        raise SettingsError(
            f"SMARTWORKER_LONGEST_QUIET_POLL is {format_duration(longest)} and "
            f"SMARTWORKER_QUIET_POLL is {format_duration(quiet)}: the longest must not "
            "be shorter; write the same for both, and quiet polls never widen."
        )


def parse_windows(text: str, zone: str) -> Windows:
    """The windows, or one sentence that says which variable is wrong."""
    try:
        return Windows.parse(text, zone)
    except ValueError as error:
        raise SettingsError(
            f"SMARTWORKER_WINDOWS is {text!r} in SMARTWORKER_TIMEZONE {zone!r}: {error}"
        ) from error


def check_url(name: str, url: str) -> None:
    """Refuse a Redis URL that cannot work. The URL itself never stands in the error."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    scheme, mark, _ = url.partition("://")
    if not mark or scheme.lower() not in SCHEMES:
        hint = " (the REST address does not take Celery)" if "http" in url[:5] else ""
        # Without the mark it may be a bare password.
        start = f"it starts with {scheme[:12]!r}" if mark else "it has no scheme"
        raise SettingsError(
            f"{name} must start with redis:// or rediss://{hint}; {start}."
        )
    # An @ behind the host is the real one: an unquoted / or ? cut the password.
    cut = "@" in parts.path + parts.query
    if not host or cut or parts.fragment or parts.path.count("/") > 1:
        raise SettingsError(
            f"{name} has no host or port that can be read: write the characters "
            "@ : / # ? % of the password percent-encoded, such as %40 for @."
        )
    if port is None and ":" in parts.netloc.rpartition("@")[2].rpartition("]")[2]:
        raise SettingsError(f"{name} has no port that can be read: write it as :6379.")
    _check_database(name, host, parts.path.strip("/"))


def _check_database(name: str, host: str, database: str) -> None:
    if database and not database.isdecimal():
        raise SettingsError(
            f"{name} names the database {database!r}: it must be a number, "
            "or left out for database 0."
        )
    if host.endswith(".upstash.io") and int(database or 0):
        raise SettingsError(
            f"{name} names database {database}: Upstash has database 0 alone; "
            "end the URL with /0 or without a number."
        )


def is_local(host: str) -> bool:
    """Whether a host name means this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parts(environment: Mapping[str, str]) -> dict[str, str]:
    """The Redis URL that the three UPSTASH_REDIS_ variables make, if they are set."""
    if (environment.get("REDIS_URL") or environment.get("REDIS_URL_FILE", "")).strip():
        return {}
    host = environment.get("UPSTASH_REDIS_HOST", "").strip()
    if not host:
        return {}
    password = read_text(environment, UPSTASH_PASSWORD)
    if not password:
        raise SettingsError(
            "UPSTASH_REDIS_HOST is set and UPSTASH_REDIS_PASSWORD is not: "
            "copy both from the Upstash console."
        )
    if "/" in host or ":" in host:
        shown = "a value that is not shown" if "@" in host else repr(host)
        raise SettingsError(
            f"UPSTASH_REDIS_HOST is {shown}: it must be a bare host name, "
            "without https:// and without a port."
        )
    port = environment.get("UPSTASH_REDIS_PORT", "").strip() or "6379"
    try:
        whole(1, 65_535)(port)
    except ValueError:
        raise SettingsError(
            f"UPSTASH_REDIS_PORT is {port!r}: write a port number from 1 to 65535."
        ) from None
    return {"redis_url": f"rediss://default:{quote(password, safe='')}@{host}:{port}/0"}


def password_of(url: str) -> str | None:
    """The password inside a URL, decoded; None if there is none."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return None
    return unquote(password) if password else None
