"""What is wrong with a set-up: decided on plain facts, without asking anybody."""

from collections.abc import Iterable
from itertools import chain

from smartworker.doctor import application, costs, render, server
from smartworker.doctor.application import looks_public
from smartworker.doctor.facts import (
    SEVERITIES,
    AppFacts,
    Endpoint,
    Finding,
    HostFacts,
    ServerFacts,
    Severity,
    SpendingFacts,
    TrafficFacts,
)
from smartworker.doctor.server import eviction, too_old

__all__ = [
    "SEVERITIES",
    "AppFacts",
    "Endpoint",
    "Finding",
    "HostFacts",
    "ServerFacts",
    "Severity",
    "SpendingFacts",
    "TrafficFacts",
    "eviction",
    "examine",
    "looks_public",
    "too_old",
    "total",
]


def examine(
    redis: ServerFacts,
    app: AppFacts,
    dead_letters: int | None,
    spending: SpendingFacts = SpendingFacts(),  # noqa: B008 - frozen
    traffic: TrafficFacts = TrafficFacts(),  # noqa: B008
    host: HostFacts = HostFacts(),  # noqa: B008
) -> list[Finding]:
    """Everything there is to say, the worst first, and of these the dearest."""
    found = chain(
        server.find(redis, app, spending, dead_letters),
        application.find(app, host),
        costs.find(spending, traffic, app),
        render.find(app, host),
    )
    return sorted(found, key=_rank)


def _rank(finding: Finding) -> tuple[int, int]:
    return SEVERITIES.index(finding.severity), -(finding.commands_per_month or 0)


def total(findings: Iterable[Finding]) -> int:
    """What all of it costs in 30 days, as far as it is known."""
    return sum(finding.commands_per_month or 0 for finding in findings)
