"""What is wrong with a set-up: decided on plain facts, without asking anybody."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from itertools import chain
from typing import Any, Literal

from smartworker.durations import format_duration

Severity = Literal["critical", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")

#: The first Redis with LMOVE.
OLDEST_SERVER = (6, 2)
#: Of `maxmemory`; above it there is little time left to act.
FULL_SHARE = 0.8
#: Serializers that run code of whoever may write to Redis, by name and content type.
UNSAFE = frozenset(
    {
        "pickle",
        "application/x-python-serialize",
        "yaml",
        "application/x-yaml",
    }
)
#: Host names that only a private network knows.
PRIVATE_ENDS = (".internal", ".local", ".localdomain", ".lan", ".svc")


@dataclass(frozen=True)
class Finding:
    """One thing worth knowing, and what to do about it."""

    severity: Severity
    subject: str
    message: str
    advice: str

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "severity": self.severity,
            "subject": self.subject,
            "message": self.message,
            "advice": self.advice,
        }


@dataclass(frozen=True)
class ServerFacts:
    """What a server tells of itself; None where it does not."""

    version: str | None = None
    #: Whether each write goes to disk, and whether there are snapshots now and then.
    aof: bool | None = None
    snapshots: bool | None = None
    policy: str | None = None
    memory_used: int | None = None
    memory_limit: int | None = None
    #: Whether it lets us see which keyspace events it tells.
    notifies: bool | None = None


@dataclass(frozen=True)
class Endpoint:
    """One server that the app talks to: for what, and how."""

    name: str
    scheme: str
    host: str
    verified: bool = True


@dataclass(frozen=True)
class AppFacts:
    """What the configuration of a Celery app says."""

    endpoints: tuple[Endpoint, ...] = ()
    doorbell: str = "auto"
    lease: timedelta = timedelta(minutes=5)
    time_limit: timedelta | None = None
    acks_late: bool = True
    reject_on_worker_lost: bool = True
    accept_content: frozenset[str] = frozenset({"json"})
    visibility_timeout: bool = False


def examine(
    server: ServerFacts, app: AppFacts, dead_letters: int | None
) -> list[Finding]:
    """Everything there is to say, the worst first."""
    found = chain(
        _version(server),
        _eviction(server),
        _persistence(server),
        _memory(server),
        _content(app),
        _connections(app),
        _acknowledgement(app),
        _dead(dead_letters),
        _notifications(server, app),
        _unknown(server),
        _time_limit(app),
        _visibility(app),
    )
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def too_old(server: ServerFacts) -> bool:
    """Whether this server lacks commands that we need; false if nobody knows."""
    version = _numbers(server.version)
    return version is not None and version < OLDEST_SERVER


def _numbers(text: str | None) -> tuple[int, ...] | None:
    parts = (text or "").split(".")[:2]
    known = len(parts) == 2 and all(map(str.isdecimal, parts))
    return tuple(map(int, parts)) if known else None


def eviction(server: ServerFacts) -> Finding | None:
    """The finding about an evicting server; None if it evicts nothing."""
    return next(_eviction(server), None)


def _version(server: ServerFacts) -> Iterator[Finding]:
    if too_old(server):
        yield Finding(
            "critical",
            "version",
            f"The server is Redis {server.version}, which has no LMOVE.",
            "Move to Redis 6.2 or newer, or to Valkey.",
        )


def _eviction(server: ServerFacts) -> Iterator[Finding]:
    policy = server.policy
    if policy is None or policy == "noeviction":
        return
    if policy.startswith("volatile-"):
        yield Finding(
            "warning",
            "eviction",
            f"With {policy} a full server drops results before they expire.",
            "Set maxmemory-policy to noeviction.",
        )
    else:
        # Upstash's optimistic-volatile too takes keys that never expire.
        yield Finding(
            "critical",
            "eviction",
            f"With {policy} a full server drops queues with all their tasks.",
            "Set maxmemory-policy to noeviction; at Upstash switch eviction off.",
        )


def _persistence(server: ServerFacts) -> Iterator[Finding]:
    if server.aof is False and server.snapshots is False:
        yield Finding(
            "critical",
            "persistence",
            "Nothing is written to disk: a restart of Redis loses every task.",
            "Set appendonly to yes, or choose a plan with persistence.",
        )
    elif server.aof is False and server.snapshots:
        yield Finding(
            "info",
            "persistence",
            "Snapshots alone: a crash of Redis loses the tasks since the last one.",
            "Set appendonly to yes to lose at most a second.",
        )


def _memory(server: ServerFacts) -> Iterator[Finding]:
    used, limit = server.memory_used, server.memory_limit
    if used is not None and limit and used > FULL_SHARE * limit:
        yield Finding(
            "warning",
            "memory",
            f"{used / limit:.0%} of maxmemory are in use; a full server takes no task.",
            "Raise maxmemory, or delete what is not needed.",
        )


def _content(app: AppFacts) -> Iterator[Finding]:
    if unsafe := sorted(app.accept_content & UNSAFE):
        yield Finding(
            "critical",
            "accept_content",
            f"It has {' and '.join(unsafe)}: who writes to Redis runs code in workers.",
            "Leave json alone in accept_content and result_accept_content.",
        )


def _connections(app: AppFacts) -> Iterator[Finding]:
    for endpoint in app.endpoints:
        if endpoint.scheme == "rediss" and not endpoint.verified:
            yield Finding(
                "warning",
                endpoint.name,
                "TLS without verification: anybody on the way can pose as the server.",
                "Name its authority in SMARTWORKER_TLS_CA, and leave"
                " SMARTWORKER_TLS_VERIFY on.",
            )
        if endpoint.scheme == "redis" and looks_public(endpoint.host):
            yield Finding(
                "critical",
                endpoint.name,
                f"Password and tasks travel to {endpoint.host} in the clear.",
                "Write rediss:// in its URL, or use the private network's host name.",
            )


def looks_public(host: str) -> bool:
    """Whether a host is one that the way to leads over the internet."""
    try:
        return ip_address(host).is_global
    except ValueError:
        name = host.lower().rstrip(".")
        return "." in name and not name.endswith(PRIVATE_ENDS)


def _acknowledgement(app: AppFacts) -> Iterator[Finding]:
    if not app.acks_late:
        yield Finding(
            "info",
            "task_acks_late",
            "It is off: a task that runs when its worker dies is not run again.",
            "Leave it on, unless running twice is worse than not at all.",
        )
    elif not app.reject_on_worker_lost:
        yield Finding(
            "warning",
            "task_reject_on_worker_lost",
            "It is off: a task whose pool process is killed is not run again.",
            "Switch it on; SMARTWORKER_MAX_DELIVERIES ends a loop.",
        )


def _dead(count: int | None) -> Iterator[Finding]:
    if count:
        waits = "1 dead letter waits" if count == 1 else f"{count:,} dead letters wait"
        yield Finding(
            "warning",
            "dead letters",
            f"{waits} for somebody to look.",
            "See `smartworker dead list`.",
        )


def _notifications(server: ServerFacts, app: AppFacts) -> Iterator[Finding]:
    if server.notifies is False and app.doorbell in ("auto", "keyspace"):
        yield Finding(
            "info",
            "doorbell",
            "The server does not let us see its keyspace notifications.",
            "Nothing to do: producers ring, at 5 commands a task instead of 4."
            if app.doorbell == "auto"
            else "Set notify-keyspace-events to Kl$g, or SMARTWORKER_DOORBELL to auto.",
        )


def _unknown(server: ServerFacts) -> Iterator[Finding]:
    hidden = ["the eviction policy"] if server.policy is None else []
    # Either of the two keeps tasks; what the other one is does not matter then.
    kept = server.aof or server.snapshots
    if not kept and None in (server.aof, server.snapshots):
        hidden.append("persistence")
    if hidden:
        yield Finding(
            "info",
            "unknown",
            f"The server does not tell of {' and '.join(hidden)}.",
            "Look in your provider's console: eviction off, persistence on.",
        )


def _time_limit(app: AppFacts) -> Iterator[Finding]:
    if app.time_limit is not None and app.time_limit > app.lease:
        limit, lease = format_duration(app.time_limit), format_duration(app.lease)
        yield Finding(
            "info",
            "task_time_limit",
            f"A task may run for {limit}, longer than its lease of {lease}.",
            "Nothing to do: a living worker renews its leases.",
        )


def _visibility(app: AppFacts) -> Iterator[Finding]:
    if app.visibility_timeout:
        yield Finding(
            "info",
            "visibility_timeout",
            "Leases take its place; it only tells when a stock worker is given up.",
            "Take it out of broker_transport_options once no stock worker runs.",
        )
