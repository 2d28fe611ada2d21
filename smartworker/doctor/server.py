"""Findings about the server itself."""

from collections.abc import Iterator
from datetime import timedelta

from smartworker.doctor.facts import AppFacts, Finding, ServerFacts, SpendingFacts

#: The first Redis with LMOVE.
OLDEST_SERVER = (6, 2)
#: Of `maxmemory`; above it there is little time left to act.
FULL_SHARE = 0.8
#: Leases end by the server's clock, slots and windows by ours.
MOST_SKEW = timedelta(seconds=2)


def find(
    server: ServerFacts,
    app: AppFacts,
    spending: SpendingFacts,
    dead_letters: int | None,
) -> Iterator[Finding]:
    """All of them."""
    yield from _version(server)
    yield from _eviction(server)
    yield from _persistence(server)
    yield from _memory(server)
    yield from _dead(dead_letters)
    yield from _notifications(server, app, spending)
    yield from _skew(server)
    yield from _unknown(server)


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


def _dead(count: int | None) -> Iterator[Finding]:
    if count:
        waits = "1 dead letter waits" if count == 1 else f"{count:,} dead letters wait"
        yield Finding(
            "warning",
            "dead letters",
            f"{waits} for somebody to look.",
            "See `smartworker dead list`.",
        )


def _notifications(
    server: ServerFacts, app: AppFacts, spending: SpendingFacts
) -> Iterator[Finding]:
    """A bell that costs: with it each message is 5 commands instead of 4."""
    if server.notifies is False and app.doorbell in ("auto", "keyspace"):
        auto = app.doorbell == "auto"
        yield Finding(
            "info",
            "doorbell",
            "The server does not let us see its keyspace notifications.",
            "Nothing to do: producers ring, at 5 commands a task instead of 4."
            if auto
            else "Set notify-keyspace-events to Kl$g, or SMARTWORKER_DOORBELL to auto.",
            spending.published if auto else None,
        )
    elif server.notifies and app.doorbell == "publish":
        yield Finding(
            "info",
            "doorbell",
            "Each task costs 5 commands instead of 4, for its producer rings.",
            "Set SMARTWORKER_DOORBELL to auto: this server can ring by itself.",
            spending.published,
        )
    elif server.notifies and server.missing_flags and spending.hearing:
        yield Finding(
            "warning",
            "doorbell",
            "A worker waits for the server's bell, and notify-keyspace-events lacks"
            f" {server.missing_flags}: work lies until the next poll.",
            "Set notify-keyspace-events to Kl$g, or start the worker anew, which does.",
        )


def _skew(server: ServerFacts) -> Iterator[Finding]:
    skew = server.skew
    if skew is not None and abs(skew) > MOST_SKEW:
        way = "ahead of" if skew > timedelta(0) else "behind"
        yield Finding(
            "warning",
            "clock",
            f"The server's clock is {abs(skew).total_seconds():.0f} s {way} the one"
            " here: leases and slots do not end when they should.",
            "Let NTP set the clock of this machine; hosted servers are right.",
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
