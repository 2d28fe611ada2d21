"""What the doctor finds in plain facts."""

from dataclasses import replace
from datetime import timedelta

import pytest

from smartworker.doctor import (
    AppFacts,
    Endpoint,
    Finding,
    ServerFacts,
    eviction,
    examine,
    looks_public,
    too_old,
)

GOOD_SERVER = ServerFacts(
    version="7.2.4",
    aof=True,
    snapshots=False,
    policy="noeviction",
    memory_used=10,
    memory_limit=0,
    notifies=True,
)
GOOD_APP = AppFacts(endpoints=(Endpoint("broker", "rediss", "a.upstash.io"),))


def seen(
    server: ServerFacts = GOOD_SERVER,
    app: AppFacts = GOOD_APP,
    dead_letters: int | None = 0,
) -> list[tuple[str, str]]:
    """Severity and subject of everything that is found."""
    found = examine(server, app, dead_letters)
    return [(finding.severity, finding.subject) for finding in found]


def test_a_good_set_up_has_no_findings() -> None:
    """Persistent, current, verified, nothing dead."""
    assert seen() == []


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"version": "6.0.16"}, [("critical", "version")]),
        ({"version": "5.0"}, [("critical", "version")]),
        ({"version": "6.2"}, []),
        ({"version": "6.2.14"}, []),
        ({"version": "10.0.1"}, []),
        ({"version": "unstable"}, []),
        ({"version": "6"}, []),
        ({"version": None}, []),
        ({"policy": "allkeys-lru"}, [("critical", "eviction")]),
        ({"policy": "allkeys-random"}, [("critical", "eviction")]),
        ({"policy": "optimistic-volatile"}, [("critical", "eviction")]),
        ({"policy": "volatile-ttl"}, [("warning", "eviction")]),
        ({"policy": None}, [("info", "unknown")]),
        ({"aof": False, "snapshots": False}, [("critical", "persistence")]),
        ({"aof": False, "snapshots": True}, [("info", "persistence")]),
        ({"aof": None, "snapshots": True}, []),
        ({"aof": True, "snapshots": None}, []),
        ({"aof": None, "snapshots": False}, [("info", "unknown")]),
        ({"aof": False, "snapshots": None}, [("info", "unknown")]),
        ({"memory_used": 81, "memory_limit": 100}, [("warning", "memory")]),
        ({"memory_used": 80, "memory_limit": 100}, []),
        ({"memory_used": None, "memory_limit": 100}, []),
        ({"memory_used": 10, "memory_limit": None}, []),
        ({"notifies": False}, [("info", "doorbell")]),
        ({"notifies": None}, []),
    ],
)
def test_server(facts: dict[str, object], expected: list[tuple[str, str]]) -> None:
    """Each fact of the server alone."""
    assert seen(server=replace(GOOD_SERVER, **facts)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"acks_late": False}, [("info", "task_acks_late")]),
        (
            {"reject_on_worker_lost": False},
            [("warning", "task_reject_on_worker_lost")],
        ),
        (
            {"acks_late": False, "reject_on_worker_lost": False},
            [("info", "task_acks_late")],
        ),
        (
            {"accept_content": frozenset({"json", "pickle"})},
            [("critical", "accept_content")],
        ),
        (
            {"accept_content": frozenset({"application/x-yaml"})},
            [("critical", "accept_content")],
        ),
        ({"accept_content": frozenset({"json", "msgpack"})}, []),
        ({"time_limit": timedelta(minutes=30)}, [("info", "task_time_limit")]),
        ({"time_limit": timedelta(minutes=5)}, []),
        ({"visibility_timeout": True}, [("info", "visibility_timeout")]),
    ],
)
def test_configuration(
    facts: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    """Each fact of the app alone."""
    assert seen(app=replace(GOOD_APP, **facts)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scheme", "host", "verified", "expected"),
    [
        ("redis", "redis.example.com", True, [("critical", "broker")]),
        ("redis", "10.0.0.7", True, []),
        ("rediss", "redis.example.com", True, []),
        ("rediss", "redis.example.com", False, [("warning", "broker")]),
        ("rediss", "10.0.0.7", False, [("warning", "broker")]),
    ],
)
def test_connections(
    scheme: str, host: str, verified: bool, expected: list[tuple[str, str]]
) -> None:
    """In the clear over the internet, or to whoever answers."""
    app = AppFacts(endpoints=(Endpoint("broker", scheme, host, verified),))
    assert seen(app=app) == expected


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("localhost", False),
        ("red-abc123", False),
        ("redis.railway.internal", False),
        ("printer.local", False),
        ("redis.default.svc.cluster.local.", False),
        ("127.0.0.1", False),
        ("192.168.1.2", False),
        ("100.64.0.1", False),
        ("::1", False),
        ("fd00::1", False),
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("redis.example.com", True),
        ("INTERNAL.EXAMPLE.COM", True),
    ],
)
def test_public_hosts(host: str, public: bool) -> None:
    """Names with a dot and global addresses, apart from those of private networks."""
    assert looks_public(host) is public


@pytest.mark.parametrize(
    ("doorbell", "advice"),
    [("auto", "Nothing to do"), ("keyspace", "SMARTWORKER_DOORBELL to auto")],
)
def test_a_deaf_doorbell(doorbell: str, advice: str) -> None:
    """What to do depends on what was asked for."""
    server, app = ServerFacts(notifies=False), AppFacts(doorbell=doorbell)
    found = {finding.subject: finding for finding in examine(server, app, 0)}
    assert advice in found["doorbell"].advice


@pytest.mark.parametrize("doorbell", ["publish", "off"])
def test_a_doorbell_that_needs_no_server(doorbell: str) -> None:
    """Nobody asks for keyspace notifications then."""
    server = replace(GOOD_SERVER, notifies=False)
    assert seen(server, replace(GOOD_APP, doorbell=doorbell)) == []


@pytest.mark.parametrize(
    ("count", "words"),
    [(1, "1 dead letter waits"), (1200, "1,200 dead letters wait")],
)
def test_dead_letters(count: int, words: str) -> None:
    """They wait for somebody."""
    (finding,) = examine(GOOD_SERVER, GOOD_APP, count)
    assert (finding.severity, finding.subject) == ("warning", "dead letters")
    assert finding.message.startswith(words)


def test_nothing_is_found_where_nothing_is_told() -> None:
    """One line says what to look for elsewhere."""
    (finding,) = examine(ServerFacts(), GOOD_APP, None)
    assert finding.severity == "info"
    assert finding.message == (
        "The server does not tell of the eviction policy and persistence."
    )


def test_the_worst_comes_first() -> None:
    """Critical, warning, info; in JSON with all there is to say."""
    server = replace(GOOD_SERVER, policy="allkeys-lru", aof=False, snapshots=True)
    found = examine(server, GOOD_APP, 3)
    severities = [finding.severity for finding in found]
    assert severities == ["critical", "warning", "info"]
    assert found[0].as_json() == {
        "severity": "critical",
        "subject": "eviction",
        "message": "With allkeys-lru a full server drops queues with all their tasks.",
        "advice": "Set maxmemory-policy to noeviction; at Upstash switch eviction off.",
    }


def test_every_sentence_is_one() -> None:
    """Message and advice are full sentences, each on one line."""
    server = ServerFacts("5.0", False, False, "allkeys-lru", 9, 10, notifies=False)
    app = AppFacts(
        endpoints=(
            Endpoint("broker", "redis", "redis.example.com"),
            Endpoint("result backend", "rediss", "redis.example.com", verified=False),
        ),
        time_limit=timedelta(hours=1),
        acks_late=False,
        accept_content=frozenset({"pickle", "yaml"}),
        visibility_timeout=True,
    )
    found = examine(server, app, 2)
    assert len(found) == 12
    for finding in found:
        for text in (finding.message, finding.advice):
            assert text.endswith("."), text
            assert "\n" not in text


def test_what_a_worker_asks_at_its_start() -> None:
    """Too old is known or not; an eviction that matters is a finding."""
    assert too_old(ServerFacts("6.0.9"))
    assert not too_old(ServerFacts(None))
    assert eviction(GOOD_SERVER) is None
    found = eviction(replace(GOOD_SERVER, policy="allkeys-lfu"))
    assert isinstance(found, Finding)
    assert found.severity == "critical"
