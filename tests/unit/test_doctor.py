"""What the doctor finds in plain facts."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from smartworker.doctor import (
    AppFacts,
    Endpoint,
    Finding,
    HostFacts,
    ServerFacts,
    SpendingFacts,
    TrafficFacts,
    eviction,
    examine,
    looks_public,
    too_old,
    total,
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
        "commands_per_month": None,
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


# -- what it costs, who else is there, and where it runs -------------------------------


def said(**facts: Any) -> list[tuple[str, str, int | None]]:
    """Severity, subject and price of everything that is found."""
    given = {"redis": GOOD_SERVER, "app": GOOD_APP, "dead_letters": 0, **facts}
    found = examine(**given)
    return [(each.severity, each.subject, each.commands_per_month) for each in found]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"result_expires": None}, [("warning", "result_expires", None)]),
        (
            {"result_expires": None, "results_in_redis": False},
            [],
        ),
        (
            {"result_expires": timedelta(days=8)},
            [("info", "result_expires", None)],
        ),
        ({"result_expires": timedelta(days=7)}, []),
        ({"jobs": 1, "jobs_open": False}, [("warning", "tokens", None)]),
        ({"jobs": 0, "jobs_open": False}, []),
        ({"jobs": 2, "admin": False}, [("info", "admin token", None)]),
        ({"jobs": 2}, []),
        ({"beat_entries": ("sum",)}, [("warning", "beat_schedule", None)]),
        ({"dashboard": "open"}, []),
        ({"unreadable": "They cannot."}, [("warning", "tasks", None)]),
    ],
)
def test_more_of_the_configuration(
    facts: dict[str, Any], expected: list[tuple[str, str, int | None]]
) -> None:
    """Results, tokens, Beat, the dashboard on a machine that nobody knows."""
    assert said(app=replace(GOOD_APP, **facts)) == expected


@pytest.mark.parametrize(
    ("seconds", "found"),
    [(0, False), (2, False), (-2, False), (2.5, True), (-3, True)],
)
def test_the_clock(seconds: float, found: bool) -> None:
    """More than 2 seconds ahead or behind."""
    server = replace(GOOD_SERVER, skew=timedelta(seconds=seconds))
    assert said(redis=server) == ([("warning", "clock", None)] if found else [])
    if found:
        (finding,) = examine(server, GOOD_APP, 0)
        assert ("ahead of" if seconds > 0 else "behind") in finding.message


@pytest.mark.parametrize(
    ("server", "doorbell", "spending", "expected"),
    [
        ({"notifies": False}, "auto", {"published": 900}, ("info", 900)),
        ({"notifies": False}, "auto", {}, ("info", None)),
        ({"notifies": False}, "keyspace", {"published": 900}, ("info", None)),
        ({}, "publish", {"published": 900}, ("info", 900)),
        ({}, "off", {"published": 900}, None),
        ({"missing_flags": "l"}, "auto", {"hearing": 1}, ("warning", None)),
        ({"missing_flags": "l"}, "auto", {}, None),
    ],
)
def test_the_price_of_the_bell(
    server: dict[str, Any],
    doorbell: str,
    spending: dict[str, Any],
    expected: tuple[str, int | None] | None,
) -> None:
    """One command for each message of the month, where a producer rings."""
    found = said(
        redis=replace(GOOD_SERVER, **server),
        app=replace(GOOD_APP, doorbell=doorbell),
        spending=SpendingFacts(**spending),
    )
    assert [(severity, price) for severity, _, price in found] == (
        [expected] if expected else []
    )


@pytest.mark.parametrize(
    ("foreseen", "expected"),
    [
        (None, []),
        (1000, []),
        (1001, [("warning", "budget", 1)]),
        (5000, [("warning", "budget", 4000)]),
    ],
)
def test_a_plan_over_the_budget(foreseen: int | None, expected: list[Any]) -> None:
    """Its price is what is too much."""
    assert said(spending=SpendingFacts(foreseen=foreseen, budget=1000)) == expected


TEN_SECONDS = 259_200  # of these in 30 days


@pytest.mark.parametrize(
    ("traffic", "expected"),
    [
        ({}, []),
        ({"stock_workers": 2}, [("warning", "stock workers", 2 * 142_272 * 30)]),
        (
            {"stock_workers": 1, "calls": {"brpop": 10, "publish": 5, "lmove": 9}},
            [("warning", "stock workers", 15 * TEN_SECONDS)],
        ),
        # The clients are hidden, and the counters are not.
        (
            {"calls": {"brpop": 10}},
            [("warning", "stock workers", 10 * TEN_SECONDS)],
        ),
        # An answer to a question of `celery inspect`.
        ({"calls": {"brpop": 2}}, []),
        ({"monitors": 1}, [("info", "monitors", None)]),
        (
            {"monitors": 1, "calls": {"publish": 2}},
            [("warning", "monitors", 518_400)],
        ),
        # Workers publish, too, when a task runs.
        (
            {"monitors": 1, "calls": {"publish": 2, "lrem": 1}},
            [("info", "monitors", None)],
        ),
        (
            {"monitors": 1, "calls": {"publish": 2, "get": 5}},
            [
                ("warning", "monitors", 518_400),
                ("info", "traffic", 5 * TEN_SECONDS),
            ],
        ),
        # A task within 10 seconds is no rate.
        ({"calls": {"lpush": 1, "lmove": 1, "lrem": 1, "set": 2, "zadd": 1}}, []),
        (
            {"calls": {"lpush": 1, "get": 25}},
            [("info", "traffic", 26 * TEN_SECONDS)],
        ),
        (
            {"stock_producers": 1, "calls": {"subscribe": 1, "unsubscribe": 1}},
            [("info", "stock producers", 2 * TEN_SECONDS)],
        ),
        ({"stock_producers": 1}, [("info", "stock producers", None)]),
        # One command has one price.
        (
            {"stock_producers": 1, "calls": {"subscribe": 5, "get": 5}},
            [
                ("info", "stock producers", 5 * TEN_SECONDS),
                ("info", "traffic", 5 * TEN_SECONDS),
            ],
        ),
        ({"calls": {"exists": 4}}, []),
        ({"calls": {"get": 5}}, [("info", "traffic", 5 * TEN_SECONDS)]),
    ],
)
def test_who_else_is_there(
    traffic: dict[str, Any], expected: list[tuple[str, str, int | None]]
) -> None:
    """Each has a price that was measured, or none."""
    facts = TrafficFacts(seconds=10.0 if "calls" in traffic else 0.0, **traffic)
    assert sorted(said(traffic=facts)) == sorted(expected)


def test_much_work_within_the_budget_is_no_news() -> None:
    """Who pays for it may send it."""
    traffic = TrafficFacts(seconds=10.0, calls={"get": 5})
    budget = SpendingFacts(budget=5 * TEN_SECONDS)
    assert said(traffic=traffic, spending=budget) == []


@pytest.mark.parametrize(
    ("host", "app", "expected"),
    [
        ({}, {}, ["render shutdown"]),
        ({}, {"time_limit": timedelta(seconds=30)}, []),
        ({"kind": "worker"}, {}, ["render health", "render shutdown"]),
        ({"kind": "worker", "health": True}, {}, ["render shutdown"]),
        ({"kind": "cron"}, {}, []),
        ({"kind": "web"}, {}, ["render port", "render proxy", "render sleep"]),
        (
            {"kind": "web", "port": True},
            {"trusts_proxies": True},
            ["render sleep"],
        ),
        (
            {"kind": "web", "port": True, "public": True},
            {"trusts_proxies": True, "dashboard": "open"},
            ["dashboard", "render sleep"],
        ),
        (
            {"kind": "worker", "health": True},
            {"jobs": 1, "jobs_open": False},
            ["render shutdown"],
        ),
        ({"kind": "cron"}, {"jobs": 1, "jobs_open": False}, []),
        (
            {"kind": "pserv"},
            {"jobs": 1, "jobs_open": False},
            ["tokens"],
        ),
        (
            {"kind": "cron"},
            {"endpoints": (Endpoint("broker", "rediss", "oregon-redis.render.com"),)},
            ["render address"],
        ),
    ],
)
def test_render(host: dict[str, Any], app: dict[str, Any], expected: list[str]) -> None:
    """What the platform does, by the kind of service."""
    found = said(
        host=HostFacts(platform="render", **host), app=replace(GOOD_APP, **app)
    )
    assert sorted(subject for _, subject, _ in found) == expected
    elsewhere = said(host=HostFacts(**host), app=replace(GOOD_APP, **app))
    assert not [subject for _, subject, _ in elsewhere if subject.startswith("render")]


def test_the_dearest_of_the_same_kind_comes_first() -> None:
    """And the total leaves out what nobody knows."""
    traffic = TrafficFacts(stock_workers=1, monitors=1)
    spending = SpendingFacts(foreseen=2000, budget=1000)
    app = replace(GOOD_APP, result_expires=None)
    found = examine(GOOD_SERVER, app, 0, spending, traffic)
    assert [each.subject for each in found] == [
        "stock workers",
        "budget",
        "result_expires",
        "monitors",
    ]
    assert total(found) == 142_272 * 30 + 1000


def test_every_new_sentence_is_one() -> None:
    """Message and advice of each finding end with a full stop."""
    app = replace(
        GOOD_APP,
        result_expires=None,
        beat_entries=("a", "b"),
        jobs=2,
        admin=False,
        dashboard="open",
        endpoints=(Endpoint("broker", "rediss", "oregon-redis.render.com"),),
    )
    for kind in ("web", "worker"):
        host = HostFacts(platform="render", kind=kind, public=True)
        traffic = TrafficFacts(10.0, {"get": 9}, stock_producers=2, monitors=2)
        found = examine(
            replace(GOOD_SERVER, skew=timedelta(minutes=1)),
            app,
            0,
            SpendingFacts(foreseen=2, budget=1),
            traffic,
            host,
        )
        assert len(found) > 9
        for finding in found:
            for text in (finding.message, finding.advice):
                assert text.endswith("."), text
                assert "\n" not in text
