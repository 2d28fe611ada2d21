"""What a web process knows of paused jobs, whatever happens while it learns it."""

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from celery import Celery
from redis import Redis

import smartworker
from smartworker.errors import BrokerUnreachable
from smartworker.settings import Settings
from smartworker.store import jobs, keys
from smartworker.web import states as home
from smartworker.web.blocking import Blocking
from smartworker.web.states import States
from tests.processes import wait_until

WHEN = "2026-11-22T02:00:00Z"


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """An observer."""
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def states(redis_url: str) -> Iterator[States]:
    """What one process knows."""
    app = Celery("states", set_as_current=False)
    smartworker.setup(app, Settings(redis_url=redis_url))
    blocking = Blocking()
    states = States(app, blocking)
    yield states
    states.close()
    blocking.close()
    app.close()


def paused(states: States) -> set[str]:
    """The jobs that are paused, as far as this process knows."""
    return set(asyncio.run(states.get()).paused)


def listeners() -> int:
    """How many threads hear news."""
    return sum(thread.name == "news" for thread in threading.enumerate())


def test_a_subscription_that_is_lost_while_the_hash_is_read(
    states: States, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is told once and not kept: nobody would hear of its changes."""
    before = listeners()

    def load(*args: Any, **options: Any) -> jobs.JobState:
        state = jobs.load(*args, **options)
        redis.client_kill_filter(_type="pubsub")
        wait_until(lambda: listeners() <= before)
        return state

    with monkeypatch.context() as patch:
        patch.setattr(home.jobs, "load", _once(load, jobs.load))
        assert paused(states) == set()
    jobs.pause(redis, "nightly", WHEN)
    assert paused(states) == {"nightly"}


def test_two_pieces_of_news_at_once(
    states: States, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the listener and from a request of this process: none is lost."""
    assert paused(states) == set()
    both = threading.Barrier(2)
    merge = home._with

    def slowly(*args: Any) -> jobs.JobState:
        with suppress(threading.BrokenBarrierError):
            both.wait(0.3)
        return merge(*args)

    monkeypatch.setattr(home, "_with", slowly)
    with ThreadPoolExecutor(2) as pool:
        for job in ("one", "two"):
            news = json.dumps({"job": job, "paused": WHEN}).encode()
            pool.submit(states._hear, "news", news)
    assert paused(states) == {"one", "two"}


def test_a_pause_of_which_only_the_news_are_lost(
    states: States, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller hears of an error, and the process looks at what was written."""
    assert paused(states) == set()

    def pause(_client: Any, job: str, when: str, prefix: str = "") -> None:
        redis.hset(prefix + keys.JOBS, f"paused:{job}", when)
        raise ConnectionError("away")

    monkeypatch.setattr(home.jobs, "pause", pause)
    with pytest.raises(BrokerUnreachable):
        asyncio.run(states.pause("nightly", WHEN))
    assert paused(states) == {"nightly"}


def _once(first: Any, then: Any) -> Any:
    calls = iter([first])
    return lambda *args, **options: next(calls, then)(*args, **options)
