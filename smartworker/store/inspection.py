"""What the server tells of itself. INFO and CONFIG GET are not billed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from smartworker.clock import Clock
from smartworker.doctor import ServerFacts
from smartworker.store.client import ResponseError
from smartworker.store.meter import because
from smartworker.store.notifications import SETTING, missing


def look(client: Any) -> ServerFacts:
    """What INFO tells; nothing is known where it is refused. 1 command, not billed."""
    with because("boot"):
        try:
            info = client.info()
        except ResponseError:
            return ServerFacts()
    # Upstash numbers a server of its own, which has all that we need.
    version = None if "upstash_version" in info else info.get("redis_version")
    aof = _number(info.get("aof_enabled"))
    return ServerFacts(
        version=None if version is None else str(version),
        aof=None if aof is None else bool(aof),
        policy=info.get("maxmemory_policy"),
        memory_used=_number(info.get("used_memory")),
        memory_limit=_number(info.get("maxmemory")),
    )


def inspect(client: Any) -> ServerFacts:
    """What INFO and CONFIG tell. At most 4 commands, none billed."""
    facts = look(client)
    snapshots = _configured(client, "save")
    flags = _configured(client, SETTING)
    return replace(
        facts,
        snapshots=None if snapshots is None else bool(snapshots),
        policy=facts.policy or _configured(client, "maxmemory-policy"),
        notifies=flags is not None,
        missing_flags="" if flags is None else missing(flags),
    )


def skew(client: Any, clock: Clock) -> timedelta | None:
    """How far the server's clock is in front of ours; None where it does not say.

    The way there and back counts half. 1 command.
    """
    before = clock.now()
    with because("doctor"):
        try:
            seconds, micros = client.time()
        except ResponseError:
            return None
    here = before + (clock.now() - before) / 2
    there = datetime.fromtimestamp(int(seconds), UTC)
    return there + timedelta(microseconds=int(micros)) - here


def _configured(client: Any, name: str) -> str | None:
    """One setting of the server; None where it does not show it."""
    with because("boot"):
        try:
            value = client.config_get(name).get(name)
        except ResponseError:
            return None
    return value.decode() if isinstance(value, bytes) else value


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None
