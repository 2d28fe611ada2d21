"""What the doctor is told, and what a finding is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

Severity = Literal["critical", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One thing worth knowing, and what to do about it."""

    severity: Severity
    subject: str
    message: str
    advice: str
    #: What leaving it as it is costs in 30 days; None where it costs no command, or
    #: nobody can know.
    commands_per_month: int | None = None

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "severity": self.severity,
            "subject": self.subject,
            "message": self.message,
            "advice": self.advice,
            "commands_per_month": self.commands_per_month,
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
    #: Whether it lets us see which keyspace events it tells, and those we lack.
    notifies: bool | None = None
    missing_flags: str = ""
    #: How far its clock is in front of ours; negative: behind.
    skew: timedelta | None = None


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
    #: How long results are kept; None: for good. Where Redis keeps them at all.
    result_expires: timedelta | None = timedelta(hours=1)
    results_in_redis: bool = True
    #: Entries of Beat's schedule.
    beat_entries: tuple[str, ...] = ()
    #: Declared jobs; whether anybody may start them, and whether there is an admin.
    jobs: int = 0
    jobs_open: bool = True
    admin: bool = True
    dashboard: str = "guarded"
    #: Whose word about the address of a caller is taken.
    trusts_proxies: bool = False
    #: Settings that are set by a former name: that, and the present one.
    renamed: tuple[tuple[str, str], ...] = ()
    #: Why the tasks cannot be imported here; None where they can.
    unreadable: str | None = None


@dataclass(frozen=True)
class SpendingFacts:
    """What the month costs; None where nobody has measured it."""

    #: Messages published by all processes in 30 days, as far as the rows tell.
    published: int | None = None
    #: What the plan costs in 30 days, and what it may.
    foreseen: int | None = None
    budget: int = 500_000
    #: Living workers that count on the server's own bell.
    hearing: int = 0


@dataclass(frozen=True)
class TrafficFacts:
    """What others do on the server; empty where it does not tell."""

    #: How long we looked, and what others sent meanwhile, if it is billed.
    seconds: float = 0.0
    calls: Mapping[str, int] = field(default_factory=dict)
    #: Connections by what they are of.
    stock_workers: int = 0
    stock_producers: int = 0
    #: Who hears Celery's events: Flower, an exporter.
    monitors: int = 0


@dataclass(frozen=True)
class HostFacts:
    """Where this process runs: what the platform says in the environment."""

    #: "render", or None for everywhere else.
    platform: str | None = None
    #: Render's kind of service: web, worker, pserv, cron.
    kind: str | None = None
    port: bool = False
    #: Whether the address of the dashboard is known to the internet.
    public: bool = False
    #: Whether the worker answers those who ask for its health, or leaves a file.
    health: bool = False
