"""The lease of a job whose runs must not overlap, on real servers."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from smartworker.store import keys
from smartworker.store.client import connect, connection_options
from smartworker.store.meter import ledger
from smartworker.store.overlap import JobLeases
from smartworker.store.records import absent, write_first
from smartworker.testing import commandstats

pytestmark = pytest.mark.every_server

KEY = "smartworker:running:book"
OBSERVING = {"info", "config|resetstat"}

Cost = Callable[[], dict[str, int]]


@pytest.fixture
def observer(redis_url: str) -> Iterator[Any]:
    """A client that is not counted."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, **options) as client:
        yield client


@pytest.fixture
def client(redis_url: str, observer: Any) -> Iterator[Any]:
    """A worker's client, connected and not counted so far."""
    made = connect(redis_url)
    made.ping()
    observer.config_resetstat()
    ledger.drain()
    yield made
    made.connection_pool.disconnect()


@pytest.fixture
def leases(client: Any) -> JobLeases:
    """A worker's view of the leases."""
    return JobLeases(client)


@pytest.fixture
def cost(observer: Any) -> Cost:
    """What the server saw since the last question, which is what the ledger says."""

    def counted() -> dict[str, int]:
        seen = commandstats(observer).items()
        found = {name: count for name, count in seen if name not in OBSERVING}
        assert ledger.by_cause() == ({"cron": found} if found else {})
        observer.config_resetstat()
        ledger.drain()
        return found

    return counted


def test_one_run_at_a_time(
    leases: JobLeases, observer: Any, cost: Cost, older_server: bool
) -> None:
    """The first one has the job until it frees it; another try is 1 command."""
    assert leases.take("book", "a", 60) == "a"
    assert cost() == ({"set": 2} if older_server else {"set": 1})
    assert leases.take("book", "b", 60) == "a"
    assert cost() == ({"set": 2, "get": 1} if older_server else {"set": 1})
    assert observer.get(KEY) == b"a"
    assert 55 <= observer.ttl(KEY) <= 60
    observer.config_resetstat()
    assert leases.release("book", "a")
    assert cost() == {"eval": 1, "get": 1, "del": 1}
    assert leases.take("book", "b", 60) == "b"


def test_nobody_frees_what_is_anothers(
    leases: JobLeases, observer: Any, cost: Cost
) -> None:
    """Neither a skipped run, nor one whose lease has ended, nor one after a flush."""
    leases.take("book", "a", 60)
    cost()
    assert not leases.release("book", "b")
    assert cost() == {"eval": 1, "get": 1}
    assert observer.get(KEY) == b"a"
    observer.delete(KEY)
    ledger.drain()
    assert not leases.release("book", "a")
    assert leases.take("book", "b", 60) == "b"
    assert not leases.release("book", "a")
    assert observer.get(KEY) == b"b"


def test_the_same_run_may_go_on(
    leases: JobLeases, observer: Any, cost: Cost, older_server: bool
) -> None:
    """A message that comes again prolongs the lease of its first try."""
    leases.take("book", "a", 60)
    cost()
    assert leases.take("book", "a", 600) == "a"
    asked = {"set": 2, "get": 1} if older_server else {"set": 1}
    assert cost() == {**asked, "expire": 1}
    assert observer.ttl(KEY) > 590
    assert leases.take("book", "b", 60) == "a"
    assert observer.ttl(KEY) > 590


class OldServer:
    """A server before Redis 7.0, which has no SET with NX and GET; any other command
    goes to a real one.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def set(self, *args: Any, get: bool = False, **options: Any) -> Any:
        """It is refused before anything is done."""
        if get:
            raise redis.ResponseError("syntax error")
        return self._client.set(*args, **options)


def test_an_older_server_is_asked_twice(client: Any, observer: Any, cost: Cost) -> None:
    """The answers are the same."""
    leases = JobLeases(OldServer(client))
    assert leases.take("book", "a", 60) == "a"
    assert cost() == {"set": 1}
    assert leases.take("book", "b", 60) == "a"
    assert cost() == {"set": 1, "get": 1}
    assert leases.take("book", "a", 600) == "a"
    assert cost() == {"set": 1, "get": 1, "expire": 1}
    assert observer.ttl(KEY) > 590


def test_a_lease_ends_by_itself(leases: JobLeases, observer: Any) -> None:
    """Whoever crashed keeps nobody away for ever."""
    leases.take("book", "a", 1)
    assert 0 < observer.pttl(KEY) <= 1000
    observer.pexpire(KEY, 1)
    deadline = threading.Event()
    while observer.exists(KEY):
        deadline.wait(0.002)
    assert leases.take("book", "b", 60) == "b"


def test_jobs_and_prefixes_do_not_touch_each_other(
    client: Any, leases: JobLeases
) -> None:
    """Each application has its own."""
    assert leases.take("book", "a", 60) == "a"
    assert leases.take("mail", "b", 60) == "b"
    assert JobLeases(client, "app:").take("book", "c", 60) == "c"
    assert client.get("app:" + keys.running("book")) == b"c"
    assert not leases.release("mail", "a")
    assert leases.release("book", "a")
    assert client.get(keys.running("mail")) == b"b"


def test_many_at_the_same_time_are_one(redis_url: str) -> None:
    """Eight workers, fifty jobs: one of them gets each."""
    start = threading.Barrier(8)
    answers: list[bool] = []

    def ask(owner: str) -> None:
        mine = connect(redis_url)
        leases = JobLeases(mine)
        mine.ping()
        for number in range(50):
            start.wait(5)
            answers.append(leases.take(f"job-{number}", owner, 60) == owner)
        mine.connection_pool.disconnect()

    threads = [threading.Thread(target=ask, args=(f"w{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (len(answers), sum(answers)) == (400, 50)


def test_records_are_asked_for_together(client: Any, observer: Any, cost: Cost) -> None:
    """One command, and one more each where one is absent."""
    observer.mset({"a": "1", "b": "2"})
    observer.config_resetstat()
    assert absent(client, []) == set()
    assert cost() == {}
    assert absent(client, ["a", "b"]) == set()
    assert absent(client, ["c"]) == {"c"}
    assert cost() == {"exists": 2}
    assert absent(client, ["a", "c", "b"]) == {"c"}
    assert cost() == {"exists": 4}


def test_the_first_writer_wins(client: Any, observer: Any, cost: Cost) -> None:
    """The second one is told."""
    assert write_first(client, "a", "first", 60)
    assert not write_first(client, "a", "second", 60)
    assert cost() == {"set": 2}
    assert observer.get("a") == b"first"
    assert 55 <= observer.ttl("a") <= 60
