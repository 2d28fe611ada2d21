"""A result is stored before its message is acknowledged, whatever the server says."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from smartworker.broker.bells import Bells
from smartworker.broker.courier import SHORTEST_WAIT, Courier, Source
from smartworker.broker.lease import Lease
from smartworker.store.client import RedisError, connect, connection_options
from smartworker.store.leases import Leases
from smartworker.store.meter import ledger
from smartworker.store.queues import Delivery, Queues, Result
from smartworker.testing import ManualClock

pytestmark = pytest.mark.every_server

KEY = "celery"
#: Seconds that an exchange takes by the clock of these tests.
ROUND_TRIP = 0.02
INFLIGHT = "smartworker:inflight:w1:celery"


class Anybody:
    """A consumer that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[Delivery] = []

    def room(self) -> int:
        """Room for three at a time."""
        return 3

    def receive(self, source: Source, delivery: Delivery, payload: Any) -> bool:
        """A message came."""
        self.got.append(delivery)
        return True


class Desk:
    """A courier and what is around it; `client` is somebody else's."""

    def __init__(self, url: str, client: Any) -> None:
        self.client = client
        self.consumer = Anybody()
        self.source = Source(KEY, KEY, 0, True, self.consumer)
        self.sources = [self.source]
        self.clock = ManualClock(datetime.now(UTC))
        lease = Lease(Leases(client), "w1", "", self.clock, lambda: [KEY])
        own = connect(url)
        self.queues = Queues(own, "w1")
        self.courier = Courier(
            self.queues, Bells(), lambda: self.sources, lease, clock=self.clock
        )
        self.courier.patience = ROUND_TRIP
        self.denied: list[RedisError] = []
        #: When another round is asked for.
        self.waits: list[float] = []
        self.courier.on_stored = self.waits.append

    def take(self, count: int) -> list[Delivery]:
        """Messages that are in flight."""
        for number in range(count):
            self.client.lpush(KEY, f'{{"body": "{number}", "properties": {{}}}}')
        self.courier.bells.pushed(KEY, count)
        while self.courier.round():
            pass
        got, self.consumer.got = self.consumer.got, []
        assert len(got) == count
        return got

    def finish(self, deliveries: list[Delivery]) -> None:
        """Tasks have ended, each with a result."""
        for number, delivery in enumerate(deliveries):
            result = Result(f"result-{number}", b"42", 60, self.denied.append)
            self.courier.finish(replace(delivery, result=result))

    def results(self) -> int:
        """How many results are stored."""
        return len(self.client.keys("result-*"))

    def in_flight(self) -> int:
        """How many messages are not acknowledged."""
        return int(self.client.llen(INFLIGHT))


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """Somebody who looks, and makes trouble."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, **options) as made:
        yield made
        made.config_set("maxmemory", 0)
        made.replicaof("NO", "ONE")
        made.acl_deluser("poor")


@pytest.fixture
def desk(redis_url: str, client: Any) -> Iterator[Desk]:
    """A courier with nothing in flight."""
    made = Desk(redis_url, client)
    yield made
    made.queues.client.close()


def full(client: Any) -> None:
    """No memory for anything more."""
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)


def replica(client: Any) -> None:
    """It takes no writes."""
    client.config_set("replica-serve-stale-data", "yes")
    client.replicaof("127.0.0.1", 1)


def poor(desk: Desk, may: str) -> None:
    """From now on the courier may do only this much."""
    words = ["SETUSER", "poor", "reset", "on", ">secret", "~*", "&*"]
    desk.client.execute_command("ACL", *words, *may.split())
    desk.queues.client.execute_command("AUTH", "poor", "secret")


def well(client: Any) -> None:
    """All is well again."""
    client.config_set("maxmemory", 0)
    client.replicaof("NO", "ONE")


def test_results_first_and_acknowledgements_with_the_next_round(desk: Desk) -> None:
    """Two commands for each, and what ends meanwhile goes along."""
    first, second, third = desk.take(3)
    ledger.drain()
    desk.finish([first, second])
    desk.courier.round()
    assert (desk.results(), desk.in_flight()) == (2, 3)
    assert 59 <= desk.client.ttl("result-0") <= 60
    assert set(desk.courier.underway()) == {first, second}
    desk.courier.finish(third)
    desk.courier.round()
    assert (desk.in_flight(), desk.courier.underway()) == (0, [])
    assert ledger.by_cause() == {"result": {"set": 2}, "done": {"lrem": 3}}


def test_acknowledgements_without_company_wait_for_one_round_trip(desk: Desk) -> None:
    """No round before that, and one is asked for then."""
    desk.finish(desk.take(1))
    desk.courier.round()
    desk.courier.patience = ROUND_TRIP
    ledger.drain()
    desk.courier.round()
    assert (desk.in_flight(), ledger.by_command()) == (1, {})
    assert desk.waits[-1] == ROUND_TRIP
    desk.clock.advance(2 * ROUND_TRIP)
    desk.courier.round()
    assert (desk.in_flight(), ledger.by_command()) == (0, {"lrem": 1})


def test_whoever_stops_waits_for_both(desk: Desk) -> None:
    """A flush stores and acknowledges."""
    desk.finish(desk.take(2))
    desk.courier.flush()
    assert (desk.results(), desk.in_flight()) == (2, 0)


@pytest.mark.parametrize("trouble", [full, replica])
def test_a_refused_result_keeps_its_message(
    desk: Desk, trouble: Callable[[Any], None]
) -> None:
    """In flight until the server takes the result; others are acknowledged."""
    first, second, plain = desk.take(3)
    trouble(desk.client)
    desk.finish([first, second])
    desk.courier.finish(plain)
    for _ in range(3):
        with pytest.raises(redis.ResponseError):
            desk.courier.flush()
    assert desk.results() == 0
    assert desk.in_flight() == (2 if trouble is full else 3)
    assert {first, second} <= set(desk.courier.underway())
    well(desk.client)
    desk.courier.flush()
    assert (desk.results(), desk.in_flight(), desk.denied) == (2, 0, [])


def test_trouble_between_result_and_acknowledgement(desk: Desk) -> None:
    """Stored, then a replica: the acknowledgement follows, the result is not sent."""
    desk.finish(desk.take(1))
    desk.courier.round()
    desk.client.delete("result-0")
    replica(desk.client)
    with pytest.raises(redis.ResponseError):
        desk.courier.flush()
    assert desk.in_flight() == 1
    well(desk.client)
    desk.courier.flush()
    assert (desk.results(), desk.in_flight()) == (0, 0)


def test_a_full_server_gets_no_result_until_the_next_round(desk: Desk) -> None:
    """What ends meanwhile is acknowledged, 1 command each, whatever else waits."""
    first, second, third = desk.take(3)
    full(desk.client)
    desk.finish([first, second])
    with pytest.raises(redis.ResponseError):
        desk.courier.flush()
    ledger.drain()
    desk.courier.acknowledge()
    assert ledger.by_command() == {}
    desk.courier.finish(third)
    desk.courier.acknowledge()
    assert (desk.in_flight(), ledger.by_command()) == (2, {"lrem": 1})
    with pytest.raises(redis.ResponseError):
        desk.courier.probe()
    assert ledger.by_command() == {"lrem": 1, "set": 1}
    well(desk.client)
    desk.courier.flush()
    assert (desk.results(), desk.in_flight()) == (2, 0)


def test_trouble_with_one_message_does_not_hold_up_another(desk: Desk) -> None:
    """A round that ends with an error: what it has stored is acknowledged in time."""
    desk.finish(desk.take(1))
    desk.waits.clear()
    desk.client.hset("wrong", "kind", "of key")
    wrong = replace(desk.source, queue_key="wrong")
    desk.sources.append(wrong)
    desk.courier.bells.pushed("wrong", 1)
    with pytest.raises(redis.ResponseError):
        desk.courier.round()
    assert (desk.results(), desk.in_flight(), desk.waits) == (1, 1, [SHORTEST_WAIT])


def test_a_result_that_is_denied_for_good(desk: Desk) -> None:
    """Told once with the reason; the message is done, and nothing is in trouble."""
    (one,) = desk.take(1)
    poor(desk, "+@all -set")
    ledger.drain()
    desk.finish([one])
    desk.courier.flush()
    (error,) = desk.denied
    assert isinstance(error, redis.exceptions.NoPermissionError)
    assert (desk.results(), desk.in_flight(), desk.courier.underway()) == (0, 0, [])
    # One of them asked whether the server takes anything at all.
    assert ledger.by_command() == {"set": 1, "lrem": 2}


@pytest.mark.parametrize("also", [True, False], ids=["beside others", "alone"])
def test_an_account_that_may_do_nothing(desk: Desk, *, also: bool) -> None:
    """No matter of the result, which is kept with its message."""
    one, two = desk.take(2)
    poor(desk, "+@all -@write")
    desk.finish([one])
    if also:
        desk.courier.finish(two)
    for _ in range(2):
        with pytest.raises(redis.exceptions.NoPermissionError):
            desk.courier.flush()
        with pytest.raises(redis.exceptions.NoPermissionError):
            desk.courier.probe()
    assert desk.denied == []
    assert one in desk.courier.underway()
    poor(desk, "+@all")
    desk.courier.flush()
    assert (desk.results(), desk.in_flight()) == (1, 0 if also else 1)


def test_whoever_is_told_of_a_denial_holds_up_nobody(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """Another thread acknowledges meanwhile, and an error is a line in the log."""
    one, two = desk.take(2)
    poor(desk, "+@all -set")
    done: list[bool] = []

    def tell(error: RedisError) -> None:
        desk.courier.finish(two)
        other = threading.Thread(target=desk.courier.flush)
        other.start()
        other.join(5)
        done.append(not other.is_alive())
        raise ValueError("it was too much")

    result = Result("result", b"42", 60, tell)
    desk.courier.finish(replace(one, result=result))
    desk.courier.flush()
    assert done == [True]
    assert (desk.in_flight(), desk.courier.underway()) == (0, [])
    assert "denial_not_stored" in caplog.text


def test_a_message_that_goes_back_leaves_its_result(desk: Desk) -> None:
    """It runs again, and that run stores its own."""
    (one,) = desk.take(1)
    desk.courier.refuse(replace(one, result=Result("result-0", b"42", None)))
    desk.courier.flush()
    assert (desk.results(), desk.in_flight()) == (0, 0)
    assert desk.client.llen(KEY) == 1
