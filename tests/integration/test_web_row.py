"""The row of a web process: written when it is worth it, and when it ends."""

from typing import Any

import redis

from smartworker.row_cost import MOST_FRESH
from smartworker.store import processes
from smartworker.store.meter import ledger
from smartworker.testing import commandstats
from tests.integration.site import SWIM, Site
from tests.processes import wait_until


def rows(url: str) -> list[Any]:
    """What stands in the hash."""
    with redis.Redis.from_url(url) as client:
        return processes.read(client)


def test_an_idle_web_process_leaves_no_row(redis_url: str) -> None:
    """It has sent nothing, so there is nothing to record."""
    with Site(redis_url):
        pass
    assert rows(redis_url) == []


def test_the_last_row_has_everything(redis_url: str) -> None:
    """A trigger and its boot, recorded when the process ends."""
    with Site(redis_url) as site:
        assert site.post(SWIM).status_code == 202
        assert rows(redis_url) == []
        with redis.Redis.from_url(redis_url) as client:
            server = commandstats(client)
    (row,) = rows(redis_url)
    assert (row.kind, row.stopped) == ("web", True)
    assert row.name.startswith("web@")
    free = ("info", "client|", "hello", "config|", "ping", "select", "auth")
    billed = {n: c for n, c in server.items() if not n.startswith(free)}
    billed["hgetall"] -= 1  # our own look
    assert row.billed == sum(billed.values())
    assert row.messages == {"published": 1}


def test_ninety_commands_are_written_while_it_runs(redis_url: str) -> None:
    """In a thread of its own, so no answer waits for it."""
    with Site(redis_url):
        ledger.merge({("publish", "lpush"): MOST_FRESH})
        wait_until(lambda: rows(redis_url))
        (row,) = rows(redis_url)
        assert (row.stopped, row.billed) == (False, MOST_FRESH)
        assert row.messages == {"published": MOST_FRESH}


def test_a_server_that_is_gone_delays_no_shutdown(redis_url: str) -> None:
    """The last row cannot be written: one line, and the process ends."""
    with Site("redis://127.0.0.1:1/0") as site:
        ledger.merge({("publish", "lpush"): 5})
        site.server.should_exit = True
        site.thread.join(5)
        assert not site.thread.is_alive()
