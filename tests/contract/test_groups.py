"""What goes out when a group is sent: one LPUSH per queue key, all of it or nothing."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery, chain, chord, group, signals
from kombu import Producer, pools
from kombu.exceptions import EncodeError, OperationalError

import smartworker
from smartworker.broker import together
from smartworker.settings import Settings
from smartworker.store.client import connection_options
from smartworker.store.meter import ledger
from tests.faults.proxy import FaultProxy

pytestmark = pytest.mark.every_server

QUEUE = "celery"
#: What finding out whether the server rings may cost.
UNBILLED = {"ping", "config|get", "config|set"}


def sender(url: str, **settings: Any) -> Any:
    """An app that sends tasks and runs none."""
    made = Celery("sender", set_as_current=False)
    smartworker.setup(made, Settings(redis_url=url, **settings))
    return made


def close(app: Any) -> None:
    """End its connections."""
    app.close()
    pools.reset()
    app.backend.client.connection_pool.disconnect()


@pytest.fixture
def app(redis_url: str) -> Iterator[Any]:
    """A sender whose connection stands and knows that the server rings."""
    made = sender(redis_url)
    made.signature("first").delay()
    ledger.drain()
    yield made
    close(made)


@pytest.fixture
def client(app: Any, redis_url: str) -> Iterator[Any]:
    """A foreign client, on queues that are empty."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, **options) as made:
        made.delete(QUEUE)
        yield made


@pytest.fixture
def proxy(client: Any) -> Iterator[FaultProxy]:
    """Another way to the server, on which things get lost."""
    with FaultProxy(client.connection_pool.connection_kwargs["port"]) as made:
        yield made


@pytest.fixture
def remote(proxy: FaultProxy) -> Iterator[Any]:
    """A sender at the far end of that way, connected."""
    made = sender(proxy.url)
    made.signature("first").apply_async(queue="mail")
    yield made
    close(made)


def sent() -> dict[str, int]:
    """The commands since the last look, without those that nobody pays."""
    counts = ledger.by_command()
    ledger.drain()
    return {name: count for name, count in counts.items() if name not in UNBILLED}


def messages(client: Any, key: str = QUEUE) -> list[dict[str, Any]]:
    """What waits under a key, in the order in which it will be taken."""
    return [json.loads(raw) for raw in reversed(client.lrange(key, 0, -1))]


def ids(client: Any, key: str = QUEUE) -> list[str]:
    """The task ids of what waits there."""
    return [message["headers"]["id"] for message in messages(client, key)]


def adds(app: Any, count: int, **options: Any) -> list[Any]:
    """So many signatures of one task."""
    return [app.signature("add", (n, n)).set(**options) for n in range(count)]


# -- what it costs -----------------------------------------------------------------


def test_a_group_is_one_push(app: Any, client: Any) -> None:
    """Five hundred tasks, in order, each with its own id."""
    result = group(adds(app, 500)).apply_async()
    assert sent() == {"lpush": 1}
    assert ids(client) == [child.id for child in result]
    assert len({*ids(client)}) == 500


def test_each_queue_and_each_priority_is_one_push(app: Any, client: Any) -> None:
    """Lists of their own on the server, each in the order of the group."""
    turns: list[dict[str, Any]] = [
        {"queue": QUEUE},
        {"queue": "mail"},
        {"queue": QUEUE, "priority": 9},
    ]
    signatures = [app.signature("add", (n, n)).set(**turns[n % 3]) for n in range(30)]
    made = [child.id for child in group(signatures).apply_async()]
    assert sent() == {"lpush": 3}
    urgent = f"{QUEUE}\x06\x169"
    assert [ids(client, key) for key in (QUEUE, "mail", urgent)] == [
        made[0::3],
        made[1::3],
        made[2::3],
    ]


def test_the_header_of_a_chord_is_one_push(app: Any, client: Any) -> None:
    """Its counting costs what it costs with stock Celery."""
    chord(adds(app, 50), app.signature("total")).apply_async()
    assert sent()["lpush"] == 1
    assert len(messages(client)) == 50
    assert all(message["headers"]["group"] for message in messages(client))


def test_chunks_are_a_group(app: Any, client: Any) -> None:
    """100 calls in ten messages: one push."""

    def add(x: int, y: int) -> int:
        return x + y

    task = app.task(add, shared=False)
    task.chunks([(n, n) for n in range(100)], 10).apply_async()
    assert sent() == {"lpush": 1}
    assert len(messages(client)) == 10


def test_a_group_inside_a_group(app: Any, client: Any) -> None:
    """Celery unrolls it: one push, in order."""
    one, two, three, four = signatures = adds(app, 4)
    group(one, group(two, three), four).apply_async()
    assert sent() == {"lpush": 1}
    found = [message["headers"]["argsrepr"] for message in messages(client)]
    assert found == [str(signature.args) for signature in signatures]


def test_a_chain_inside_a_group_is_sent_by_itself(app: Any, client: Any) -> None:
    """Celery does not hand it the producer of the group."""
    one, two, three, four = adds(app, 4)
    group(one, chain(two, three), four).apply_async()
    assert sent() == {"lpush": 2}
    assert len(messages(client)) == 3


def test_a_group_at_the_head_of_a_chain(app: Any, client: Any) -> None:
    """It is sent as a chord."""
    chain(group(adds(app, 20)), app.signature("total")).apply_async()
    assert sent()["lpush"] == 1
    assert len(messages(client)) == 20


def test_a_single_task_is_sent_as_before(app: Any, client: Any) -> None:
    """At once, also right after a group."""
    group(adds(app, 3)).apply_async()
    app.signature("add").delay(1, 2)
    assert sent() == {"lpush": 2}
    assert len(messages(client)) == 4


@pytest.mark.parametrize("way", ["producer", "connection"])
def test_a_producer_or_a_connection_of_ones_own(
    app: Any, client: Any, way: str
) -> None:
    """Passed to `apply_async`, as Celery takes them."""
    with app.connection_for_write() as connection:
        channel = connection.channel()
        given = Producer(channel) if way == "producer" else connection
        ledger.drain()
        group(adds(app, 20)).apply_async(**{way: given})
        assert sent() == {"lpush": 1}
    assert len(messages(client)) == 20


def test_a_server_that_does_not_ring_costs_one_more(
    client: Any, redis_url: str
) -> None:
    """The producer rings once for each push and says how many came."""
    ringing = sender(redis_url, doorbell="publish")
    try:
        with client.pubsub() as hearing:
            hearing.psubscribe("*")
            assert hearing.get_message(timeout=1)["type"] == "psubscribe"
            ledger.drain()
            group(adds(ringing, 20)).apply_async()
            assert sent() == {"lpush": 1, "publish": 1}
            assert hearing.get_message(timeout=1)["data"] == b"20"
    finally:
        close(ringing)


# -- how much at once --------------------------------------------------------------


def test_a_large_group_goes_out_in_parts(app: Any, client: Any) -> None:
    """Each below what a request may hold; the order stays."""
    big = "x" * 200_000
    signatures = [app.signature("keep", (n, big)) for n in range(9)]
    result = group(signatures).apply_async()
    # A body is base64 inside JSON: three of these are below 1 MB, four are not.
    assert sent() == {"lpush": 3}
    assert ids(client) == [child.id for child in result]


def test_a_slow_generator_holds_nothing_up(
    app: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it gave some seconds ago is sent when it gives the next one."""
    monkeypatch.setattr(together, "LONGEST", 0.0)
    waiting = []

    def slowly() -> Iterator[Any]:
        for signature in adds(app, 8):
            waiting.append(client.llen(QUEUE))
            yield signature

    group(slowly()).apply_async()
    assert len(messages(client)) == 8
    # Celery asks the generator for some signatures ahead.
    assert (waiting[0], waiting[-1]) == (0, 4)
    assert sent() == {"lpush": 8}


# -- what Celery does besides --------------------------------------------------------


def test_signals_options_and_delays_stay(app: Any, client: Any) -> None:
    """Each task has both signals, its own options and its own time."""
    heard: list[tuple[str, str]] = []

    def before(headers: Any, **_: Any) -> None:
        heard.append(("before", headers["id"]))

    def after(headers: Any, **_: Any) -> None:
        heard.append(("after", headers["id"]))

    signals.before_task_publish.connect(before)
    signals.after_task_publish.connect(after)
    try:
        result = group(adds(app, 3)).apply_async(countdown=60, expires=90)
    finally:
        signals.before_task_publish.disconnect(before)
        signals.after_task_publish.disconnect(after)
    assert heard == [
        (when, child.id) for child in result for when in ("before", "after")
    ]
    assert all(message["headers"]["eta"] for message in messages(client))
    assert all(message["headers"]["expires"] for message in messages(client))


def test_queued_records_come_first(client: Any, redis_url: str) -> None:
    """With `track_queued`: one SET a task, then one push."""
    tracking = sender(redis_url, track_queued=True)
    try:
        ledger.drain()
        result = group(adds(tracking, 5)).apply_async()
        assert sent() == {"set": 5, "lpush": 1}
        assert {child.state for child in result} == {"QUEUED"}
    finally:
        close(tracking)


def test_what_others_send_meanwhile_goes_at_once(
    app: Any, client: Any, redis_url: str
) -> None:
    """A handler of the signal that publishes by another app is not held up."""
    other = sender(redis_url)
    found = []

    def also(headers: Any, **_: Any) -> None:
        if headers["task"] == "add":
            other.signature("note").apply_async(queue="mail")
            found.append((client.llen("mail"), client.llen(QUEUE)))

    signals.before_task_publish.connect(also)
    try:
        group(adds(app, 2)).apply_async()
    finally:
        signals.before_task_publish.disconnect(also)
        close(other)
    assert found == [(1, 0), (2, 0)]
    assert len(messages(client)) == 2


def test_other_apps_and_other_brokers_stay_as_they_are(
    app: Any, client: Any, redis_url: str
) -> None:
    """An app without `setup`, and one whose broker is none of ours."""
    plain = Celery("plain", broker=redis_url, set_as_current=False)
    group(adds(plain, 3)).apply_async()
    assert sent()["lpush"] == 3
    plain.close()
    memory = Celery("memory", broker="memory://", set_as_current=False)
    smartworker.setup(memory, Settings())
    queue = uuid4().hex  # it outlives its connection
    group(adds(memory, 3, ignore_result=True, queue=queue)).apply_async()
    with memory.connection_for_read() as connection:
        assert connection.default_channel._size(queue) == 3
    memory.close()


# -- what goes wrong ---------------------------------------------------------------


def test_an_error_in_one_sends_none(app: Any, client: Any) -> None:
    """Stock Celery has sent those before it by then."""
    signatures = adds(app, 10)
    signatures[7] = app.signature("add", (object(), 1))
    with pytest.raises((EncodeError, TypeError)):
        group(signatures).apply_async()
    assert sent() == {}
    assert client.llen(QUEUE) == 0
    group(adds(app, 2)).apply_async()
    assert len(messages(client)) == 2


def test_a_dropped_connection_is_renewed(
    client: Any, proxy: FaultProxy, remote: Any
) -> None:
    """As for a single task: all of them, and each once."""
    proxy.trap("LPUSH", lose="request", then="close")
    result = group(adds(remote, 30)).apply_async()
    assert ids(client) == [child.id for child in result]


def test_a_lost_answer_is_at_least_once(
    client: Any, proxy: FaultProxy, remote: Any
) -> None:
    """Nobody knows what the server did: the push of this queue goes out again."""
    signatures = [*adds(remote, 2, queue="mail"), *adds(remote, 3)]
    client.delete("mail")
    trap = proxy.trap("LPUSH", then="close")
    result = group(signatures).apply_async()
    made = [child.id for child in result]
    assert trap.caught == 1
    assert ids(client, "mail") == 2 * made[:2]
    assert ids(client) == made[2:]


def test_a_worker_does_not_try_for_ever(
    client: Any, proxy: FaultProxy, remote: Any
) -> None:
    """A group after a task, and nothing listens: without the cap this would not end."""
    send = group(adds(remote, 3)).apply_async
    proxy.refuse()
    proxy.close()
    policy = {"max_retries": None, "interval_start": 0, "interval_step": 0}
    with pytest.raises(OperationalError):
        remote.amqp._retry_publish(send, retry_policy=policy)
    proxy.accept()
    remote.signature("add").delay(1, 2)
    assert len(messages(client)) == 1


def test_without_retry_the_error_is_the_callers(
    client: Any, proxy: FaultProxy, remote: Any
) -> None:
    """One try, Celery's own error; what was not sent is not sent later."""
    proxy.trap("LPUSH", lose="request", then="close")
    with pytest.raises(OperationalError):
        group(adds(remote, 3)).apply_async(retry=False)
    assert client.llen(QUEUE) == 0
    remote.signature("add").delay(1, 2)
    assert len(messages(client)) == 1
