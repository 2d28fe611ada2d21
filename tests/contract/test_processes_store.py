"""The rows of processes on real servers: cost, folding, and two that fold at once."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from smartworker import rows
from smartworker.rows import Row
from smartworker.store import keys, processes
from smartworker.store.client import connect
from smartworker.store.meter import ledger
from smartworker.testing import commandstats

pytestmark = pytest.mark.every_server

NOW = datetime(2026, 11, 14, 12, 0, tzinfo=UTC)
OBSERVING = {"info", "config|resetstat", "ping", "hello"}


def row(name: str, **changes: Any) -> Row:
    """A row of a worker that has spent 10 commands and was written just now."""
    made = Row(
        id=name,
        kind="worker",
        name=name,
        started="2026-11-01T00:00:00+00:00",
        written=NOW.isoformat(),
        month="2026-11",
        commands={"poll": 10},
        runs={"job": {"succeeded": 1}},
    )
    return replace(made, **changes)


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """A metered client on an empty server, not counted so far."""
    made = connect(redis_url)
    made.ping()
    made.config_resetstat()
    ledger.drain()
    yield made
    made.close()


def counted(url: str) -> dict[str, int]:
    """What the server has counted, without the test's own."""
    with redis.Redis.from_url(url) as observer:
        found = commandstats(observer)
    return {
        name: n
        for name, n in found.items()
        if name not in OBSERVING and not name.startswith("client|")
    }


def mine() -> dict[str, int]:
    """What the ledger has counted, without what is not billed."""
    found = ledger.by_command()
    return {name: n for name, n in found.items() if name not in OBSERVING}


def test_writing_and_reading_cost_one_command_each(client: Any, redis_url: str) -> None:
    """One HSET, one HGETALL, and the ledger says the same as the server."""
    processes.write(client, row("a"), "tenant:")
    assert processes.read(client, "tenant:") == [row("a")]
    assert counted(redis_url) == {"hset": 1, "hgetall": 1} == mine()
    assert set(ledger.by_cause()) <= {"row", "other"}


def test_few_that_are_gone_stay(client: Any) -> None:
    """Up to 20 rows of the dead are left as they are."""
    for n in range(processes.MOST_GONE):
        processes.write(client, row(f"p{n}", stopped=True))
    assert processes.fold_gone(client, NOW) == 0
    assert len(processes.read(client)) == processes.MOST_GONE


def test_folding_keeps_the_sums(client: Any, redis_url: str) -> None:
    """Many dead become one row per kind; the living stay; the price is four."""
    gone = [row(f"p{n}", stopped=True) for n in range(18)]
    gone += [row("silent", written=(NOW - timedelta(days=3)).isoformat())]
    gone += [row(f"web{n}", kind="web", stopped=True) for n in range(3)]
    gone += [row("october", month="2026-10", stopped=True)]
    gone += [row("may", month="2026-05", stopped=True)]
    alive = [row("alive")]
    for each in gone + alive:
        processes.write(client, each)
    client.config_resetstat()
    ledger.drain()
    assert processes.fold_gone(client, NOW) == len(gone)
    assert counted(redis_url) == mine()
    assert sum(mine().values()) == 1 + 4
    left = processes.read(client)
    assert {each.id for each in left} == {"alive", "folded-worker", "folded-web"}
    everyone = gone + alive
    assert rows.spent(left, "2026-11") == rows.spent(everyone, "2026-11")
    assert rows.runs_of(left, "2026-11") == rows.runs_of(everyone, "2026-11")
    assert rows.total_before(left, "2026-10") == 10


def test_folding_twice_adds_to_the_first(client: Any) -> None:
    """The folded row grows; nothing is counted twice."""
    for _ in range(2):
        for n in range(processes.MOST_GONE + 1):
            processes.write(client, row(f"p{n}", stopped=True))
        assert processes.fold_gone(client, NOW) == processes.MOST_GONE + 1
    assert rows.spent(processes.read(client), "2026-11") == {"poll": 420}


def test_two_that_fold_at_once_count_nothing_twice(client: Any, redis_url: str) -> None:
    """Both have read the same rows; the second finds them changed and does nothing."""
    for n in range(30):
        processes.write(client, row(f"p{n}", stopped=True))
    raw = processes.read_raw(client)
    folded: list[int] = []
    start = threading.Barrier(4)

    def go() -> None:
        other = connect(redis_url)
        start.wait()
        folded.append(processes.fold_gone(other, NOW, raw=raw))
        other.close()

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(folded) == [0, 0, 0, 30]
    assert rows.spent(processes.read(client), "2026-11") == {"poll": 300}


def test_a_process_that_writes_meanwhile_is_not_folded(client: Any) -> None:
    """Somebody taken for gone who writes after the rows were read keeps his row."""
    for n in range(30):
        processes.write(client, row(f"p{n}", stopped=True))
    raw = processes.read_raw(client)
    processes.write(client, row("p7", commands={"poll": 11}))
    assert processes.fold_gone(client, NOW, raw=raw) == 0
    assert rows.spent(processes.read(client), "2026-11") == {"poll": 301}


def test_foreign_fields_are_left_alone(client: Any) -> None:
    """What is no row stands where it stood, and breaks nothing."""
    client.hset(keys.PROCESSES, "foreign", "rubbish")
    for n in range(30):
        processes.write(client, row(f"p{n}", stopped=True))
    assert processes.fold_gone(client, NOW) == 30
    assert client.hget(keys.PROCESSES, "foreign") == b"rubbish"
