"""The held subscription on real servers."""

import select
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from smartworker.broker.doorbell import Doorbell, Ring
from smartworker.store import keys, notifications
from smartworker.store.client import connect, connection_options
from smartworker.store.meter import ledger

pytestmark = pytest.mark.every_server

CHANNEL = keys.keyspace(0, "celery")
SETTING = "notify-keyspace-events"


@pytest.fixture
def foreign(redis_url: str) -> Iterator[Any]:
    """A stock client, such as a producer in another language."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, **options) as client:
        yield client


@pytest.fixture
def ours(redis_url: str) -> Iterator[redis.Redis]:
    """A metered client, nothing counted yet."""
    with connect(redis_url) as client:
        client.ping()
        client.config_resetstat()
        ledger.drain()
        yield client


@pytest.fixture
def doorbell(ours: redis.Redis) -> Iterator[Doorbell]:
    """A doorbell that hangs up at the end."""
    made = Doorbell()
    yield made
    made.close()


def listen(doorbell: Doorbell, ours: redis.Redis, *channels: str) -> None:
    """Ring for lists, and hear these channels."""
    notifications.enable(ours)
    doorbell.subscribe(ours.connection_pool, channels or [CHANNEL], [])


def heard(doorbell: Doorbell, count: int) -> list[Ring]:
    """The next rings: at least so many, or what came within 5 s."""
    rings: list[Ring] = []
    while len(rings) < count and select.select([doorbell], [], [], 5.0)[0]:
        rings += doorbell.read()
    return rings


def test_a_subscription_is_confirmed_when_it_returns(
    doorbell: Doorbell, ours: redis.Redis, foreign: Any
) -> None:
    """The server counts the subscriber before anything else is done."""
    doorbell.subscribe(ours.connection_pool, [CHANNEL, "other"], ["topic.*"])
    assert foreign.pubsub_numsub(CHANNEL, "other") == [
        (CHANNEL.encode(), 1),
        (b"other", 1),
    ]
    assert foreign.pubsub_numpat() == 1
    assert doorbell.connected
    assert doorbell.fileno() >= 0
    assert ledger.by_cause() == {"doorbell": {"psubscribe": 1, "subscribe": 1}}


def test_the_same_subscription_again_costs_nothing(
    doorbell: Doorbell, ours: redis.Redis
) -> None:
    """Only what changed is sent: one command for all that came, one for all gone."""
    doorbell.subscribe(ours.connection_pool, ["a", "b", "c"], [])
    ledger.drain()
    doorbell.subscribe(ours.connection_pool, ["c", "b", "a"], [])
    assert ledger.by_command() == {}
    doorbell.subscribe(ours.connection_pool, ["c", "d", "e"], [])
    assert ledger.by_command() == {"subscribe": 1, "unsubscribe": 1}


def test_what_is_gone_is_not_heard(
    doorbell: Doorbell, ours: redis.Redis, foreign: Any
) -> None:
    """After the change only the new channels ring."""
    doorbell.subscribe(ours.connection_pool, ["a", "b"], [])
    doorbell.subscribe(ours.connection_pool, ["b"], [])
    assert foreign.publish("a", "1") == 0
    assert foreign.publish("b", "2") == 1
    assert heard(doorbell, 1) == [Ring("b", b"2")]


def test_pushes_pops_and_the_end_ring(
    doorbell: Doorbell, ours: redis.Redis, foreign: Any
) -> None:
    """Of a client that knows nothing of us; one ring for a push of many."""
    listen(doorbell, ours)
    foreign.lpush("celery", "1", "2", "3")
    foreign.rpush("celery", "4")
    foreign.rpop("celery")
    foreign.lpop("celery")
    foreign.lmove("celery", "elsewhere", "RIGHT", "LEFT")
    foreign.delete("celery")
    foreign.lpush("another", "1")
    names = [b"lpush", b"rpush", b"rpop", b"lpop", b"rpop", b"del"]
    assert heard(doorbell, 6) == [Ring(CHANNEL, name) for name in names]


def test_the_last_pop_rings_del(
    doorbell: Doorbell, ours: redis.Redis, foreign: Any
) -> None:
    """LMOVE and RPOP of the last message: a pop, then the end, in this order."""
    listen(doorbell, ours)
    for take in ("lmove", "rpop"):
        foreign.lpush("celery", "1")
        if take == "lmove":
            foreign.lmove("celery", "elsewhere", "RIGHT", "LEFT")
        else:
            foreign.rpop("celery")
        assert [ring.data for ring in heard(doorbell, 3)] == [b"lpush", b"rpop", b"del"]


def test_listening_costs_nothing(
    doorbell: Doorbell, ours: redis.Redis, foreign: Any
) -> None:
    """200 rings heard, not one command."""
    listen(doorbell, ours)
    ledger.drain()
    for _ in range(100):
        foreign.lpush("celery", "1")
        foreign.rpush("celery", "1")
    assert len(heard(doorbell, 200)) == 200
    assert ledger.by_command() == {}


def test_a_pattern_tells_its_channel(
    doorbell: Doorbell, ours: redis.Redis, foreign: Any
) -> None:
    """What rings through a pattern is named by its own channel, not the pattern."""
    doorbell.subscribe(ours.connection_pool, [], ["/0.celeryev/*"])
    foreign.publish("/0.celeryev/worker.x", b"\xff\x00")
    assert heard(doorbell, 1) == [Ring("/0.celeryev/worker.x", b"\xff\x00")]


@pytest.mark.parametrize(("channels", "patterns"), [(["a"], []), ([], ["a*"])])
def test_a_ping_is_answered(
    doorbell: Doorbell, ours: redis.Redis, channels: list[str], patterns: list[str]
) -> None:
    """Unanswered until the answer is read; it is no ring and is not billed."""
    doorbell.subscribe(ours.connection_pool, channels, patterns)
    ledger.drain()
    assert doorbell.ping()
    assert doorbell.unanswered == 1
    assert select.select([doorbell], [], [], 5.0)[0]
    assert doorbell.read() == []
    assert doorbell.unanswered == 0
    assert ledger.by_command() == {"ping": 1}
    assert ledger.billed() == 0


def test_without_a_connection_nobody_is_asked(doorbell: Doorbell) -> None:
    """Neither connected nor heard, and hanging up is fine."""
    assert not doorbell.connected
    assert doorbell.fileno() == -1
    assert not doorbell.ping()
    assert doorbell.read() == []
    doorbell.close()


def test_rings_between_confirmations_are_kept(
    doorbell: Doorbell, ours: redis.Redis, foreign: Any
) -> None:
    """What rings while a second subscription is confirmed is read later."""
    doorbell.subscribe(ours.connection_pool, ["a"], [])
    foreign.publish("a", "early")
    assert select.select([doorbell], [], [], 5.0)[0]
    doorbell.subscribe(ours.connection_pool, ["a", "b"], [])
    assert doorbell.heard_early
    assert doorbell.read() == [Ring("a", b"early")]
    assert not doorbell.heard_early


def test_closing_costs_no_command(
    doorbell: Doorbell, ours: redis.Redis, foreign: Any
) -> None:
    """The subscriber is gone without UNSUBSCRIBE, and the pool has its connection."""
    doorbell.subscribe(ours.connection_pool, [CHANNEL], [])
    foreign.config_resetstat()
    ledger.drain()
    doorbell.close()
    doorbell.close()
    assert not doorbell.connected
    assert ledger.by_command() == {}
    assert "cmdstat_unsubscribe" not in foreign.info("commandstats")
    doorbell.subscribe(ours.connection_pool, [CHANNEL], [])
    assert doorbell.connected


def test_a_killed_connection_raises(
    doorbell: Doorbell, ours: redis.Redis, foreign: Any
) -> None:
    """The end of the stream is an error for the caller, not silence."""
    doorbell.subscribe(ours.connection_pool, [CHANNEL], [])
    foreign.client_kill_filter(_type="pubsub")
    assert select.select([doorbell], [], [], 5.0)[0]
    with pytest.raises(redis.ConnectionError):
        doorbell.read()
    doorbell.close()
    doorbell.subscribe(ours.connection_pool, [CHANNEL], [])
    assert doorbell.ping()


@pytest.mark.parametrize(
    ("before", "missing"),
    [
        ("", "Kl$g"),
        ("Ex", "Kl$g"),
        ("Kl", "$g"),
        ("Eg$", "Kl"),
        ("KEA", ""),
        ("A", "K"),
    ],
)
def test_flags_are_added_and_never_removed(
    ours: redis.Redis, foreign: Any, before: str, missing: str
) -> None:
    """Two free commands at most; what somebody else needs stays."""
    foreign.config_set(SETTING, before)
    stands = set(foreign.config_get(SETTING)[SETTING])
    flags = notifications.enable(ours)
    now = set(foreign.config_get(SETTING)[SETTING])
    assert set(flags.before) == stands
    assert set(flags.after) == stands | set(missing)
    # The server writes A for all classes together.
    assert now >= stands or "A" in now
    assert "K" in now
    assert now >= {"l", "$", "g"} or "A" in now
    commands = {"config|get": 1, "config|set": 1} if missing else {"config|get": 1}
    assert ledger.by_cause() == {"doorbell": commands}
    assert ledger.billed() == 0
    assert notifications.enable(ours).before == notifications.enable(ours).after


def test_where_config_is_refused_nothing_rings(redis_url: str, foreign: Any) -> None:
    """A user without CONFIG: enable raises, `rings` is False."""
    foreign.acl_setuser(
        "limited",
        enabled=True,
        passwords=["+limited-password"],
        categories=["+@all"],
        commands=["-config"],
        keys=["*"],
        channels=["*"],
    )
    try:
        url = redis_url.replace("redis://", "redis://limited:limited-password@")
        with connect(url) as limited:
            with pytest.raises(redis.ResponseError, match=r"(?i)permission"):
                notifications.enable(limited)
            assert notifications.rings(limited) is False
        with connect(redis_url) as allowed:
            assert notifications.rings(allowed) is True
    finally:
        foreign.acl_deluser("limited")
