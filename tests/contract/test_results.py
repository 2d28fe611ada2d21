"""Results on real servers: what they cost, who hears of them, and what is left over."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic, sleep
from typing import Any

import pytest
import redis
from celery import Celery, group, states
from celery.app.task import Context
from celery.exceptions import Reject, Retry
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import AsyncResult
from kombu import pools

import smartworker
from smartworker.broker.channel import OUR_MARK
from smartworker.settings import Settings
from smartworker.store.client import connection_options
from smartworker.store.meter import ledger
from smartworker.worker.luggage import MAY_PACK, carrying

pytestmark = pytest.mark.every_server

#: Shorter than the pause between two looks, so only a notice can be the reason.
NOTICED = 5.0
#: What finding out whether the server rings may cost.
UNBILLED = {"ping", "config|get", "config|set"}


@pytest.fixture
def app(redis_url: str) -> Iterator[Any]:
    """A sender's app, whose threads share what they wait with."""
    made = Celery("sender", set_as_current=False)
    made.conf.result_backend_thread_safe = True
    smartworker.setup(made, Settings(redis_url=redis_url))
    yield made
    made.close()
    pools.reset()
    made.backend.client.connection_pool.disconnect()


@pytest.fixture
def worker(redis_url: str) -> Iterator[Any]:
    """Another app, which stores the results."""
    made = Celery("worker", set_as_current=False)
    smartworker.setup(made, Settings(redis_url=redis_url))
    yield made
    made.close()
    made.backend.client.connection_pool.disconnect()


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """A foreign client, whose commands nobody counts."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, **options) as made:
        yield made


@pytest.fixture
def waiters() -> Iterator[ThreadPoolExecutor]:
    """Threads that wait for results."""
    with ThreadPoolExecutor(4) as executor:
        yield executor


def store(
    worker: Any, task_id: str, value: Any = 42, *, ours: bool = True, **info: Any
) -> None:
    """What a worker does when a task has ended."""
    marks = {OUR_MARK: True} if ours else {}
    request = Context(properties=marks, delivery_info=info)
    worker.backend.store_result(task_id, value, states.SUCCESS, request=request)


def until(condition: Callable[[], Any]) -> None:
    """Until it is true."""
    end = monotonic() + NOTICED
    while not condition():
        assert monotonic() < end, "it never became true"
        sleep(0.002)


def heard(client: Any, count: int) -> None:
    """Until so many channels are subscribed to."""
    until(lambda: len(client.pubsub_channels()) == count)


def subscribers(client: Any) -> list[Any]:
    """The connections that hold a subscription."""
    return [row for row in client.client_list() if int(row["sub"])]


def wait_for(waiters: ThreadPoolExecutor, result: Any) -> "Future[Any]":
    """Begin to wait in another thread."""
    return waiters.submit(result.get, timeout=4 * NOTICED)


# -- what it costs -----------------------------------------------------------------


def test_sending_subscribes_to_nothing(app: Any, client: Any) -> None:
    """`.delay()` and a group of ten: pushes, until somebody waits."""
    add = app.signature("add")
    ledger.drain()
    single = add.delay(1, 2)
    many = group(add.clone((n, n)) for n in range(10)).apply_async()
    sent = ledger.by_command()
    assert sent.pop("lpush") <= 11
    assert set(sent) <= UNBILLED
    assert subscribers(client) == []
    assert len({single.id, *(child.id for child in many)}) == 11


def test_one_result_is_one_subscription(
    app: Any, worker: Any, client: Any, waiters: ThreadPoolExecutor
) -> None:
    """SUBSCRIBE, a look, and the GET after the notice."""
    ledger.drain()
    future = wait_for(waiters, AsyncResult("an-id", app=app))
    heard(client, 1)
    store(worker, "an-id")
    assert future.result(NOTICED) == 42
    counts = ledger.by_command()
    assert counts.pop("set") == 1
    assert counts.pop("subscribe") == 1
    assert counts.pop("get") <= 2
    assert set(counts) <= UNBILLED


def test_a_result_that_is_there_needs_no_notice(app: Any, worker: Any) -> None:
    """Stored before anybody waits: found by the look."""
    store(worker, "an-id")
    assert AsyncResult("an-id", app=app).get(timeout=NOTICED) == 42


def test_a_group_is_one_subscription(
    app: Any, worker: Any, client: Any, waiters: ThreadPoolExecutor
) -> None:
    """Ten results: one variadic SUBSCRIBE, and one GET each after its notice."""
    add = app.signature("add")
    result = group(add.clone((n, n)) for n in range(10)).apply_async()
    ledger.drain()
    future = wait_for(waiters, result)
    heard(client, 10)
    for number, child in enumerate(result):
        store(worker, child.id, number)
    assert future.result(NOTICED) == list(range(10))
    counts = ledger.by_command()
    assert counts.pop("set") == 10
    assert counts.pop("subscribe") == 1
    assert counts.pop("mget", 0) <= 1
    assert counts.pop("get") <= 20
    assert set(counts) <= UNBILLED


@pytest.mark.parametrize(
    ("expires", "lifetime"), [(3600, 3600), (7, 7), (None, -1), (0, -1)]
)
def test_a_result_is_one_set(
    worker: Any, client: Any, expires: int | None, lifetime: int
) -> None:
    """Its lifetime travels in the same command; None and 0 mean for ever."""
    worker.conf.result_expires = expires
    store(worker, "first")
    ledger.drain()
    store(worker, "an-id")
    assert ledger.by_command() == {"set": 1}
    left = client.ttl("celery-task-meta-an-id")
    assert lifetime - 5 <= left <= lifetime
    assert (left == -1) == (lifetime == -1)


def test_a_stock_sender_is_told(worker: Any, client: Any) -> None:
    """It listens to a PUBLISH and nothing else; ours hears the server."""
    with client.pubsub(ignore_subscribe_messages=True) as stock:
        stock.subscribe("celery-task-meta-theirs", "celery-task-meta-ours")
        ledger.drain()
        store(worker, "ours")
        assert ledger.by_command().get("publish", 0) == 0
        store(worker, "theirs", ours=False)
        assert ledger.by_command()["publish"] == 1
        found = (stock.get_message(timeout=0.1) for _ in range(50))
        told = next(message for message in found if message)
        assert told["channel"] == b"celery-task-meta-theirs"
        assert told["data"] == client.get("celery-task-meta-theirs")


# -- nothing is missed -------------------------------------------------------------


def test_a_notice_during_a_subscription_is_heard(
    app: Any,
    worker: Any,
    client: Any,
    waiters: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first result comes while the second's subscription is being confirmed."""
    app.conf.result_expires = worker.conf.result_expires = None
    first = wait_for(waiters, AsyncResult("first", app=app))
    heard(client, 1)
    pubsub = app.backend.result_consumer._pubsub
    subscribe = pubsub.subscribe

    def late(*channels: str) -> None:
        # Stored while we hold the lock: its notice stands before the confirmation.
        store(worker, "first", 1)
        subscribe(*channels)

    monkeypatch.setattr(pubsub, "subscribe", late)
    second = wait_for(waiters, AsyncResult("second", app=app))
    assert first.result(NOTICED) == 1
    heard(client, 2)
    store(worker, "second", 2)
    assert second.result(NOTICED) == 2
    assert client.ttl("celery-task-meta-first") == -1


def test_many_threads_wait_at_once(
    app: Any, worker: Any, client: Any, waiters: ThreadPoolExecutor
) -> None:
    """Four threads, forty results that come while others begin to wait."""
    ids = [f"id-{n}" for n in range(40)]

    def get(task_id: str) -> Any:
        threading.Timer(0.01, store, (worker, task_id, task_id)).start()
        return AsyncResult(task_id, app=app).get(timeout=4 * NOTICED)

    begun = monotonic()
    assert list(waiters.map(get, ids)) == ids
    assert monotonic() - begun < 2 * NOTICED
    until(lambda: not subscribers(client))


def test_a_success_is_not_overwritten(app: Any, worker: Any) -> None:
    """A message that came again must not turn a SUCCESS into something else."""
    store(worker, "an-id", "first")
    again = Context(properties={OUR_MARK: True}, delivery_info={"redelivered": True})
    worker.backend.store_result("an-id", KeyError("x"), states.FAILURE, request=again)
    assert AsyncResult("an-id", app=app).state == states.SUCCESS
    worker.backend.store_result("other", KeyError("x"), states.FAILURE, request=again)
    assert AsyncResult("other", app=app).state == states.FAILURE
    store(worker, "other", "second", redelivered=True)
    assert AsyncResult("other", app=app).result == "second"


@pytest.mark.parametrize("ended", [states.SUCCESS, states.FAILURE])
def test_a_retry_does_not_overwrite_the_run_that_was_faster(
    app: Any, worker: Any, ended: str
) -> None:
    """The next run is queued before RETRY is stored, and may have ended by then."""
    run = Context(properties={OUR_MARK: True}, delivery_info={})
    waiting = AsyncResult("an-id", app=app)
    ledger.drain()
    worker.backend.store_result("an-id", Retry("busy"), states.RETRY, request=run)
    assert (waiting.state, ledger.by_command()) == (states.RETRY, {"set": 1, "get": 1})
    result = KeyError("x") if ended == states.FAILURE else 42
    worker.backend.store_result("an-id", result, ended, request=run)
    ledger.drain()
    worker.backend.store_result("an-id", Retry("busy"), states.RETRY, request=run)
    assert ledger.by_command() == {"set": 2}
    assert waiting.state == ended


def test_a_result_on_its_way_home_that_the_server_refuses(
    worker: Any, client: Any
) -> None:
    """Its run is over and wants to be done, and nobody has the result: it goes back."""
    worker.conf.result_backend_transport_options = {
        "retry_policy": {"max_retries": 1, "interval_start": 0, "interval_step": 0}
    }

    def trace(task_id: str, *_: Any) -> None:
        request = Context(properties={OUR_MARK: True}, delivery_info={})
        worker.backend.mark_as_done(task_id, 42, request)
        raise Reject("as a handler of the task says")

    run = carrying(trace)
    request = {"properties": {MAY_PACK: True}}
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(Reject) as refused:
            run("an-id", (), {}, request)
    finally:
        client.config_set("maxmemory", 0)
    assert refused.value.requeue
    with pytest.raises(Reject) as rejected:
        run("an-id", (), {}, request)
    assert not rejected.value.requeue
    assert worker.AsyncResult("an-id").result == 42


def test_a_first_delivery_is_not_asked_about(worker: Any) -> None:
    """Only what came again can have left something: no GET before the SET."""
    store(worker, "an-id", "first")
    ledger.drain()
    store(worker, "an-id", "second", redelivered=False)
    assert ledger.by_command() == {"set": 1}
    store(worker, "an-id", "third", redelivered=True)
    assert ledger.by_command() == {"set": 1, "get": 1}


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
def test_a_killed_connection_is_renewed(
    app: Any, worker: Any, client: Any, waiters: ThreadPoolExecutor, kind: str
) -> None:
    """The wait goes on, and the result is noticed over the new subscription."""
    future = wait_for(waiters, AsyncResult("an-id", app=app))
    heard(client, 1)
    before = {row["id"] for row in subscribers(client)}
    client.client_kill_filter(_type=kind, skipme=True)
    if kind == "pubsub":
        until(lambda: {row["id"] for row in subscribers(client)} - before)
    store(worker, "an-id")
    assert future.result(NOTICED) == 42


def test_a_result_stored_during_the_outage_is_found(
    app: Any, worker: Any, client: Any, waiters: ThreadPoolExecutor
) -> None:
    """Killed and stored in one transaction: the look after the renewal finds it."""
    future = wait_for(waiters, AsyncResult("an-id", app=app))
    heard(client, 1)
    store(worker, "other")
    meta = client.get("celery-task-meta-other").replace(b"other", b"an-id")
    with client.pipeline(transaction=True) as pipe:
        pipe.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        pipe.set("celery-task-meta-an-id", meta)
        pipe.execute()
    assert future.result(NOTICED) == 42


# -- nothing is left ---------------------------------------------------------------


def test_nothing_stays_subscribed(
    app: Any, worker: Any, client: Any, waiters: ThreadPoolExecutor
) -> None:
    """Once all waits are over nobody subscribes, and the next wait works again."""
    for turn in range(3):
        ids = [f"{turn}-{n}" for n in range(3)]
        futures = [wait_for(waiters, AsyncResult(each, app=app)) for each in ids]
        heard(client, 3)
        assert len(subscribers(client)) == 1
        for each in ids:
            store(worker, each)
        assert [future.result(NOTICED) for future in futures] == [42] * 3
        until(lambda: not subscribers(client))


def test_a_wait_given_up_leaves_nothing(app: Any, client: Any) -> None:
    """Timed out, then forgotten: hung up without an UNSUBSCRIBE."""
    result = AsyncResult("an-id", app=app)
    ledger.drain()
    with pytest.raises(CeleryTimeoutError):
        result.get(timeout=0.05)
    assert len(subscribers(client)) == 1
    result.forget()
    until(lambda: not subscribers(client))
    assert "unsubscribe" not in ledger.by_command()
