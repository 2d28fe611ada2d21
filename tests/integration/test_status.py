"""What a task's status tells, what waiting for it costs, and who hears of a change."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID, uuid4, uuid5

import httpx
import pytest
from a2wsgi import ASGIMiddleware
from celery import Celery
from celery.app.task import Context
from redis import Redis

import smartworker
from smartworker.broker.channel import OUR_MARK
from smartworker.cron.runs import HEADER
from smartworker.settings import Settings
from smartworker.store import notifications
from smartworker.store.client import connection_options
from smartworker.store.server import EmbeddedServer
from smartworker.web import hearing, tasks
from smartworker.web.limits import UNKNOWN_IDS_OF_ONE
from smartworker.web.watching import Watching
from tests.integration.conftest import StartWorker
from tests.integration.site import SWIM, Site, problem, spent
from tests.processes import wait_until

#: What a connection and a look at the server's flags cost; none of it is billed.
UNBILLED = {"ping", "hello", "select", "config|get", "config|set", "client|setinfo"}
RUN = {"job": "nightly", "slot": "2026-11-22T02:00:00Z", "retention": 90_000}
TOLD = {"job": "nightly", "slot": "2026-11-22T02:00:00Z"}


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """An observer."""
    options: dict[str, Any] = connection_options()
    with Redis.from_url(redis_url, **options) as client:
        yield client


@pytest.fixture
def site(redis_url: str) -> Iterator[Site]:
    """A web process."""
    with Site(redis_url) as site:
        yield site


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Changes how long the watches of the next site wait for what."""

    def change(**options: Any) -> None:
        monkeypatch.setattr(tasks, "Watching", partial(Watching, **options))

    return change


class Store:
    """What a worker does to the states of its tasks."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.app = Celery("worker", set_as_current=False)
        smartworker.setup(self.app, Settings(redis_url=url, **settings))
        self.app.backend.client.ping()

    def __call__(
        self, task_id: str, state: str, result: Any = None, **headers: Any
    ) -> None:
        request = Context(headers=headers or None, properties={OUR_MARK: True})
        self.app.backend.store_result(task_id, result, state, request=request)


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    """The back end of a worker."""
    made = Store(redis_url)
    yield made
    made.app.close()
    made.app.backend.client.connection_pool.disconnect()


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    """Threads that ask."""
    with ThreadPoolExecutor(24) as pool:
        yield pool


def work() -> None:
    """A task."""


def new_id() -> str:
    """The id of a task that somebody queued by `.delay()`."""
    return str(uuid4())


def subscribers(redis: Redis) -> list[Any]:
    """The connections that hold a subscription."""
    return [row for row in redis.client_list() if int(row["sub"])]


def heard(redis: Redis, count: int = 1) -> None:
    """Until so many tasks are subscribed to."""
    wait_until(lambda: len(redis.pubsub_channels("__keyspace*")) == count, 5)


def billed(redis: Redis) -> dict[str, int]:
    """What the server has answered, without the questions of this test."""
    ours = UNBILLED | {
        "pubsub|channels",
        "client|list",
        "client|kill",
        "set",
        "publish",
    }
    return {name: calls for name, calls in spent(redis).items() if name not in ours}


def status(site: Site, task_id: str, **query: Any) -> Any:
    """The state of a task."""
    response = site.get(f"/api/tasks/{task_id}", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def waiting(
    clients: ThreadPoolExecutor, site: Site, task_id: str, wait: float = 20
) -> "Future[httpx.Response]":
    """A client that waits."""
    path = f"/api/tasks/{task_id}"
    return clients.submit(site.get, path, params={"wait": wait}, timeout=30)


# -- one look ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "result", "expected"),
    [
        (
            "QUEUED",
            {"queued_at": "a", "expected_start_by": "2026-11-21T17:30:47Z"},
            {"expected_start_by": "2026-11-21T17:30:47Z"},
        ),
        ("QUEUED", "nonsense", {}),
        ("STARTED", {"pid": 1}, {}),
        ("MISSED", {"anything": 1}, {}),
        ("PROGRESS", {"current": 1}, {"progress": {"current": 1}}),
        ("SUCCESS", [1], {"result": [1]}),
        ("FAILURE", ValueError("no"), {"error": "ValueError: no"}),
    ],
)
def test_each_state_is_told_with_job_and_slot(
    site: Site, store: Store, state: str, result: Any, expected: Any
) -> None:
    """What belongs to it, and whose run it was if it was one."""
    task_id = new_id()
    store(task_id, state, result, **{HEADER: RUN})
    assert status(site, task_id) == {"task_id": task_id, "state": state} | TOLD | (
        expected
    )


def test_a_triggered_run_is_queued(site: Site, redis: Redis) -> None:
    """With the time by which it starts, as the trigger's answer had it."""
    answer = site.post(SWIM).json()
    redis.config_resetstat()
    response = site.get(f"/api/tasks/{answer['task_id']}")
    assert response.json() == {
        "task_id": answer["task_id"],
        "state": "QUEUED",
        "job": "schedule-swim-lanes",
        "slot": answer["slot"],
        "expected_start_by": answer["expected_start_by"],
    }
    assert response.headers["retry-after"] == "2"
    assert billed(redis) == {"get": 1}


def test_without_a_doorbell_it_is_no_use_to_ask_soon(redis_url: str) -> None:
    """The header says when the task will have begun."""
    with Site(redis_url, doorbell="off", quiet_poll=timedelta(minutes=10)) as site:
        task_id = site.post(SWIM).json()["task_id"]
        response = site.get(f"/api/tasks/{task_id}")
    assert response.headers["retry-after"] == "605"


def test_a_retry_says_when(site: Site, store: Store, redis: Redis) -> None:
    """As it was stored; the header of the answer says the same."""
    task_id = new_id()
    store(task_id, "RETRY", TimeoutError("slow"))
    key = f"celery-task-meta-{task_id}"
    meta = json.loads(redis.get(key) or b"") | {"retry_at": "2026-11-21T17:01:42Z"}
    redis.set(key, json.dumps(meta))
    response = site.get(f"/api/tasks/{task_id}")
    assert response.json()["retry_at"] == "2026-11-21T17:01:42Z"
    assert response.json()["error"] == "TimeoutError: slow"
    assert response.headers["retry-after"] == "60"


def test_a_finished_task_is_remembered(site: Site, store: Store, redis: Redis) -> None:
    """The second look costs nothing, until a minute has passed."""
    task_id = new_id()
    store(task_id, "SUCCESS", 42)
    first = site.get(f"/api/tasks/{task_id}")
    assert "retry-after" not in first.headers
    redis.config_resetstat()
    assert status(site, task_id) == first.json()
    assert status(site, task_id, wait=5) == first.json()
    assert spent(redis) == {}
    site.clock.monotonic_ahead = 61.0
    status(site, task_id)
    assert billed(redis) == {"get": 1}


def test_a_huge_result_is_not_remembered(
    site: Site, store: Store, redis: Redis
) -> None:
    """Memory is bounded by bytes, too."""
    task_id = new_id()
    store(task_id, "SUCCESS", "x" * 300_000)
    status(site, task_id)
    redis.config_resetstat()
    assert len(status(site, task_id)["result"]) == 300_000
    assert billed(redis) == {"get": 1}


# -- ids of which nothing is known -------------------------------------------------


def test_an_id_of_ours_that_was_never_queued(site: Site, redis: Redis) -> None:
    """Runs are recorded when they are queued: 404, waiting or not."""
    task_id = str(uuid5(UUID(int=1), "nobody"))
    problem(site.get(f"/api/tasks/{task_id}"), 404)
    problem(site.get(f"/api/tasks/{task_id}?wait=20"), 404)
    problem(site.get(f"/api/tasks/{task_id}/events"), 404)
    assert spent(redis)["get"] == 3


def test_an_id_of_celery_may_have_been_queued(site: Site) -> None:
    """The answer says that it is not known, and what would change that."""
    task_id = new_id()
    answer = status(site, task_id)
    assert (answer["state"], answer["known"]) == ("PENDING", False)
    assert "SMARTWORKER_TRACK_QUEUED" in answer["message"]


def test_with_tracking_all_that_is_queued_is_known(
    redis_url: str, redis: Redis
) -> None:
    """`.delay()` costs one command more, and 404 is the answer to all other ids."""
    sender = Store(redis_url, track_queued=True)
    task = sender.app.task(work, name="tracked", shared=False)
    task.delay()
    redis.config_resetstat()
    queued = task.delay()
    counts = spent(redis)
    later = task.apply_async(eta=datetime(2030, 1, 2, 3, 4, tzinfo=UTC))
    assert counts == {"set": 1, "lpush": 1}
    assert redis.ttl(f"celery-task-meta-{queued.id}") > 86_000
    with Site(redis_url, track_queued=True) as site:
        answer = status(site, queued.id)
        assert answer["state"] == "QUEUED"
        assert datetime.fromisoformat(answer["expected_start_by"])
        answer = status(site, later.id)
        assert answer["expected_start_by"] == "2030-01-02T03:04:00Z"
        redis.config_resetstat()
        problem(site.get(f"/api/tasks/{new_id()}"), 404)
        assert billed(redis) == {"get": 1}
        task_id = site.post(SWIM).json()["task_id"]
        assert status(site, task_id)["job"] == "schedule-swim-lanes"
    sender.app.close()


def test_each_application_records_what_it_queues(redis_url: str, redis: Redis) -> None:
    """Two in one process, each with a database of its own."""
    first = Store(redis_url, track_queued=True)
    second = Store(redis_url.removesuffix("/0") + "/1", track_queued=True)
    for store in (first, second):
        store.app.task(work, name="tracked", shared=False).delay()
    metas = "celery-task-meta-*"
    assert len(redis.keys(metas)) == 1
    redis.select(1)
    assert len(redis.keys(metas)) == 1
    redis.select(0)
    for store in (first, second):
        store.app.close()


def test_what_cannot_be_recorded_is_queued_all_the_same(
    redis_url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is a service; the task is what counts."""
    sender = Store(redis_url, track_queued=True)
    task = sender.app.task(work, name="tracked", shared=False)
    away = ConnectionError("away")

    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise away

    monkeypatch.setattr(sender.app.backend.client, "set", fail)
    task.delay()
    assert redis.llen("celery") == 1
    sender.app.close()


def test_states_that_are_kept_elsewhere(redis_url: str, redis: Redis) -> None:
    """What is queued stands on the broker, what came of it with the results."""
    with (
        EmbeddedServer() as other,
        Site(redis_url, result_url=other.url) as site,
        ThreadPoolExecutor(1) as clients,
        Redis.from_url(other.url) as results,
    ):
        task_id = site.post(SWIM).json()["task_id"]
        assert redis.exists(f"smartworker:record:{task_id}")
        assert status(site, task_id)["state"] == "QUEUED"
        redis.config_resetstat()
        assert status(site, task_id)["state"] == "QUEUED"
        assert not status(site, str(uuid4()))["known"]
        assert billed(redis) == {}
        future = waiting(clients, site, task_id)
        heard(results)
        worker = Store(redis_url, result_url=other.url)
        worker(task_id, "SUCCESS", 7)
        assert future.result(5).json()["result"] == 7
        problem(site.get(f"/api/tasks/{uuid5(UUID(int=1), 'nobody')}"), 404)
        worker.app.close()


# -- waiting -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "wait",
    ["-1", "nan", "NaN", "1e9", "inf", "31", "", "x", "0x10", "1_0", "٣", "1" * 5000],
)
def test_no_other_wait_is_accepted(site: Site, redis: Redis, wait: str) -> None:
    """A problem document that names the parameter; no command."""
    document = problem(site.get(f"/api/tasks/{new_id()}", params={"wait": wait}), 422)
    assert document["errors"][0]["field"] == "wait"
    assert "wait" in document["detail"]
    assert spent(redis) == {}


def test_a_wait_given_twice_is_refused(site: Site) -> None:
    """Nobody knows which was meant."""
    problem(site.get(f"/api/tasks/{new_id()}?wait=1&wait=2"), 422)


def test_twenty_clients_cost_what_one_costs(
    site: Site, store: Store, redis: Redis, clients: ThreadPoolExecutor
) -> None:
    """One subscription and two reads, and all of them hear of it at once."""
    task_id = site.post(SWIM).json()["task_id"]
    redis.config_resetstat()
    futures = [waiting(clients, site, task_id) for _ in range(10)]
    heard(redis)
    futures += [waiting(clients, site, task_id) for _ in range(10)]
    wait_until(lambda: len(site.server.server_state.tasks) >= 20, 5)
    assert not any(future.done() for future in futures)
    begun = monotonic()
    store(task_id, "SUCCESS", 42)
    for future in futures:
        assert future.result(5).json()["result"] == 42
    assert monotonic() - begun < 2
    assert billed(redis) == {"subscribe": 1, "get": 2}


def test_more_clients_than_unknown_ids_are_allowed(
    site: Site, clients: ThreadPoolExecutor, redis: Redis
) -> None:
    """They may share an address, and what they ask for is known."""
    task_id = site.post(SWIM).json()["task_id"]
    limits = httpx.Limits(max_connections=None)
    many = UNKNOWN_IDS_OF_ONE + 40
    with (
        httpx.Client(timeout=20, limits=limits, trust_env=False) as client,
        ThreadPoolExecutor(many) as pool,
    ):
        address = f"http://127.0.0.1:{site.port}/api/tasks/{task_id}?wait=2"
        waiting = [pool.submit(client.get, address) for _ in range(many)]
        answers = {each.result().status_code for each in waiting}
    assert answers == {200}


def test_an_outage_is_not_held_against_those_who_ask() -> None:
    """Whoever goes on asking hears that Redis is away, and of nothing else."""
    with EmbeddedServer() as server, Site(server.url) as site:
        task_id = site.post(SWIM).json()["task_id"]
        server.stop()
        for _ in range(UNKNOWN_IDS_OF_ONE + 5):
            problem(site.get(f"/api/tasks/{task_id}"), 503)


def test_nothing_changes_until_the_time_is_over(
    site: Site, store: Store, redis: Redis
) -> None:
    """The answer is what is known; the next client finds the subscription there."""
    task_id = new_id()
    store(task_id, "STARTED")
    redis.config_resetstat()
    begun = monotonic()
    response = site.get(f"/api/tasks/{task_id}?wait=0.3")
    assert 0.3 <= monotonic() - begun < 2
    assert response.json()["state"] == "STARTED"
    assert response.headers["retry-after"] == "2"
    status(site, task_id, wait=0.3)
    assert billed(redis) == {"subscribe": 1, "get": 1}


def test_waiting_for_nothing_is_a_look(site: Site, redis: Redis) -> None:
    """`wait=0` subscribes to nothing."""
    status(site, new_id(), wait=0)
    assert billed(redis) == {"get": 1}


def test_what_happens_between_two_clients_is_not_missed(
    redis_url: str,
    store: Store,
    redis: Redis,
    clients: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A watch without clients does not read, and its next client gets the news."""
    made: list[Watching] = []

    def make(*args: Any, **options: Any) -> Watching:
        made.append(Watching(*args, **options))
        return made[-1]

    monkeypatch.setattr(tasks, "Watching", make)
    task_id = new_id()
    store(task_id, "STARTED")
    with Site(redis_url) as site:
        status(site, task_id, wait=0.1)
        (watch,) = made[0]._watches.values()
        redis.config_resetstat()
        wait_until(lambda: watch.users == 0, 5)
        store(task_id, "PROGRESS", 1)
        wait_until(watch.stale.is_set, 5)
        assert billed(redis) == {}
        future = waiting(clients, site, task_id)
        wait_until(lambda: billed(redis), 5)
        store(task_id, "SUCCESS", 42)
        assert future.result(5).json()["state"] == "SUCCESS"
        assert billed(redis) == {"get": 2}


def test_a_task_that_nobody_knows_yet_can_be_waited_for(
    site: Site, store: Store, redis: Redis, clients: ThreadPoolExecutor
) -> None:
    """That of `.delay()`: PENDING, until its first state is stored."""
    task_id = new_id()
    future = waiting(clients, site, task_id)
    heard(redis)
    wait_until(lambda: billed(redis).get("get"), 5)
    store(task_id, "STARTED")
    assert future.result(5).json()["state"] == "STARTED"


def test_nobody_waits_any_more(
    redis_url: str, redis: Redis, hasty: Callable[..., None]
) -> None:
    """The connection is closed without a command, also if the client has just gone."""
    hasty(linger=0.05)
    with Site(redis_url) as site:
        with pytest.raises(httpx.ReadTimeout):
            site.get(f"/api/tasks/{new_id()}?wait=30", timeout=0.3)
        wait_until(lambda: not subscribers(redis), 5)
        with site.client.stream("GET", f"/api/tasks/{new_id()}/events"):
            heard(redis)
        wait_until(lambda: not subscribers(redis), 5)
        names = {thread.name for thread in threading.enumerate()}
        assert "tasks" not in names
        assert billed(redis) == {"subscribe": 2, "get": 2}


def test_a_lost_subscription_is_renewed(
    site: Site, store: Store, redis: Redis, clients: ThreadPoolExecutor
) -> None:
    """One subscription and one read more, for all tasks together one subscription."""
    ids = [new_id() for _ in range(3)]
    futures = [waiting(clients, site, task_id) for task_id in ids]
    heard(redis, 3)
    wait_until(lambda: billed(redis).get("get") == 3, 5)
    (row,) = subscribers(redis)
    redis.config_resetstat()
    redis.client_kill_filter(_id=row["id"])
    wait_until(lambda: billed(redis).get("get") == 3, 5)
    heard(redis, 3)
    assert billed(redis) == {"subscribe": 1, "get": 3}
    for task_id in ids:
        store(task_id, "SUCCESS", task_id)
    for future, task_id in zip(futures, ids, strict=True):
        assert future.result(5).json()["result"] == task_id


def test_a_change_while_the_subscription_is_lost_is_found(
    site: Site, store: Store, redis: Redis, clients: ThreadPoolExecutor
) -> None:
    """That is what the read after the loss is for."""
    task_id = new_id()
    future = waiting(clients, site, task_id)
    heard(redis)
    wait_until(lambda: billed(redis).get("get") == 1, 5)
    (row,) = subscribers(redis)
    with redis.pipeline() as both:
        both.client_kill_filter(_id=row["id"])
        key = store.app.backend.get_key_for_task(task_id)
        meta = {"status": "SUCCESS", "result": 1, "task_id": task_id}
        both.set(key, json.dumps(meta))
        both.execute()
    assert future.result(5).json()["state"] == "SUCCESS"


def test_a_server_that_goes_away_is_a_503_soon(clients: ThreadPoolExecutor) -> None:
    """For those who wait, and for those who come then; health checks go on."""
    server = EmbeddedServer()
    with server, Site(server.url) as site, Redis.from_url(server.url) as redis:
        future = waiting(clients, site, new_id())
        heard(redis)
        redis.shutdown(nosave=True)
        begun = monotonic()
        problem(future.result(10), 503)
        assert monotonic() - begun < 5
        response = site.get(f"/api/tasks/{new_id()}?wait=25")
        assert problem(response, 503)
        assert response.headers["retry-after"] == "5"
        assert response.elapsed < timedelta(seconds=5)
        assert site.get("/livez").elapsed < timedelta(seconds=1)


def test_where_nobody_tells_it_is_looked_at_again(
    redis_url: str,
    store: Store,
    redis: Redis,
    clients: ThreadPoolExecutor,
    hasty: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With growing pauses, and without a subscription."""
    hasty(pauses=(0.05, 0.1, 0.4))
    monkeypatch.setattr(notifications, "rings", lambda _client: False)
    task_id = new_id()
    store(task_id, "STARTED")
    with Site(redis_url) as site:
        begun = monotonic()
        future = waiting(clients, site, task_id)
        wait_until(lambda: billed(redis).get("get", 0) >= 4, 5)
        assert monotonic() - begun >= 0.5
        store(task_id, "SUCCESS", 1)
        assert future.result(5).json()["result"] == 1
        assert set(billed(redis)) == {"get"}


def test_only_so_many_tasks_are_watched(
    redis_url: str, redis: Redis, clients: ThreadPoolExecutor, hasty: Any
) -> None:
    """503 for one more; asking without waiting goes on, and so do lingering watches."""
    hasty(most=2)
    with Site(redis_url) as site:
        status(site, new_id(), wait=0.05)
        futures = [waiting(clients, site, new_id(), 2) for _ in range(2)]
        heard(redis, 3)
        response = site.get(f"/api/tasks/{new_id()}?wait=5")
        problem(response, 503)
        assert response.headers["retry-after"]
        assert status(site, new_id())["state"] == "PENDING"
        assert {future.result(5).status_code for future in futures} == {200}


def test_channels_that_nobody_needs_are_given_up(
    site: Site,
    store: Store,
    redis: Redis,
    clients: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By hanging up and beginning anew, while somebody waits who hears all the same."""
    monkeypatch.setattr(hearing, "MOST_CHANNELS", 3)
    task_id = new_id()
    store(task_id, "STARTED")
    future = waiting(clients, site, task_id)
    heard(redis)
    for number in range(8):
        other = new_id()
        waits = waiting(clients, site, other)
        wait_until(partial(_is_heard, redis, other), 5)
        store(other, "SUCCESS", number)
        assert waits.result(5).json()["state"] == "SUCCESS"
    assert len(redis.pubsub_channels()) <= 5
    assert not future.done()
    store(task_id, "SUCCESS")
    assert future.result(5).json()["state"] == "SUCCESS"


def _is_heard(redis: Redis, task_id: str) -> bool:
    return any(task_id in str(channel) for channel in redis.pubsub_channels())


def test_an_idle_process_sends_nothing(site: Site, redis: Redis) -> None:
    """Nor does one that lingers."""
    status(site, new_id(), wait=0.05)
    redis.config_resetstat()
    threading.Event().wait(0.5)
    assert spent(redis) == {}


# -- the stream --------------------------------------------------------------------


@contextmanager
def stream(site: Site, task_id: str, **headers: str) -> Iterator[Any]:
    """(response, its events as they come)."""
    path = f"/api/tasks/{task_id}/events"
    with site.client.stream("GET", path, headers=headers) as response:
        yield response, _events(response.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    event: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            event[name or "comment"] = value
        else:
            yield event
            event = {}


def test_a_stream_tells_each_state_and_ends(
    site: Site, store: Store, redis: Redis
) -> None:
    """From the first to the last; one read for each, and one subscription."""
    task_id = site.post(SWIM).json()["task_id"]
    redis.config_resetstat()
    with stream(site, task_id) as (response, events):
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-accel-buffering"] == "no"
        seen = [next(events)]
        for state, result in (("STARTED", {}), ("PROGRESS", 1), ("SUCCESS", "a\nb")):
            store(task_id, state, result)
            seen.append(next(events))
        assert list(events) == []
    states = [json.loads(event["data"]) for event in seen]
    assert {event["event"] for event in seen} == {"state"}
    assert [each["state"] for each in states] == [
        "QUEUED",
        "STARTED",
        "PROGRESS",
        "SUCCESS",
    ]
    assert states[-1]["result"] == "a\nb"
    assert [event.get("id") for event in seen] == [None, None, None, "end"]
    assert billed(redis) == {"subscribe": 1, "get": 4}


def test_streams_and_waits_share_one_watch(
    site: Site, store: Store, redis: Redis, clients: ThreadPoolExecutor
) -> None:
    """Twenty clients of both kinds: one subscription and two reads."""
    task_id = new_id()

    def last() -> Any:
        with stream(site, task_id) as (_, events):
            return json.loads(list(events)[-1]["data"])

    futures: list[Future[Any]] = [clients.submit(last) for _ in range(10)]
    futures += [waiting(clients, site, task_id) for _ in range(10)]
    wait_until(lambda: len(site.server.server_state.tasks) >= 20, 5)
    heard(redis)
    wait_until(lambda: billed(redis).get("get"), 5)
    store(task_id, "SUCCESS", 42)
    for future in futures:
        answer = future.result(5)
        assert (answer if isinstance(answer, dict) else answer.json())["result"] == 42
    assert billed(redis) == {"subscribe": 1, "get": 2}


def test_a_quiet_stream_gives_a_sign_of_life(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comment, which costs no command."""
    monkeypatch.setattr(tasks, "KEEPALIVE", 0.5)
    with stream(site, new_id()) as (_, events):
        assert "data" in next(events)
        assert next(events) == {"comment": "ping"}
        assert next(events) == {"comment": "ping"}


def test_a_browser_that_has_seen_the_end_is_told_to_stop(
    site: Site, redis: Redis
) -> None:
    """It would connect again for ever; 204 ends that, and costs no command."""
    with stream(site, new_id(), **{"Last-Event-ID": "end"}) as (response, events):
        assert response.status_code == 204
        assert list(events) == []
    assert spent(redis) == {}


def test_a_stream_of_no_uuid_is_not_found(site: Site, redis: Redis) -> None:
    """No command either."""
    problem(site.get("/api/tasks/celery/events"), 404)
    assert spent(redis) == {}


def test_inside_a_wsgi_server(redis_url: str, store: Store) -> None:
    """As in a Flask application: looks, waits and streams work there, too."""
    with Site(redis_url) as site:
        app = ASGIMiddleware(site.app)  # type: ignore[arg-type]
        transport = httpx.WSGITransport(app)  # type: ignore[arg-type]
        with httpx.Client(transport=transport, base_url="http://wsgi") as client:
            task_id = new_id()
            path = f"/api/tasks/{task_id}"
            assert client.get(path).json()["state"] == "PENDING"
            assert client.get(f"{path}?wait=0.2").json()["state"] == "PENDING"
            with ThreadPoolExecutor(1) as clients:
                future = clients.submit(client.get, f"{path}?wait=20")
                wait_until(lambda: future.running(), 5)
                store(task_id, "SUCCESS", 1)
                assert future.result(5).json()["result"] == 1
            assert "SUCCESS" in client.get(f"{path}/events").text


# -- real workers ------------------------------------------------------------------


@pytest.fixture
def progressing(redis_url: str, start_worker: StartWorker) -> Iterator[Any]:
    """A worker whose tasks tell how far they are, and how to queue them."""
    worker = start_worker(
        "-P", "threads", "-c", "4", app="tests.integration.progressing"
    )
    worker.wait_for("worker_ready")
    app = Celery("sender", set_as_current=False)
    smartworker.setup(app, Settings(redis_url=redis_url))

    def send(name: str, *args: Any, **options: Any) -> str:
        path = f"tests.integration.progressing.{name}"
        return str(app.send_task(path, args, **options).id)

    yield send
    app.close()


def test_progress_costs_one_command_a_second(
    progressing: Any, site: Site, redis: Redis
) -> None:
    """Fifty reports in a second and one that is followed by silence: two writes."""
    redis.config_resetstat()
    task_id = progressing("count", 60, 0.02, 1.5)
    with stream(site, task_id) as (_, events):
        states = [json.loads(event["data"]) for event in events]
    told = [each["progress"] for each in states if each["state"] == "PROGRESS"]
    assert told[-1] == {"current": 60, "total": 60, "message": "counting"}
    assert len(told) == 2
    assert states[-1]["result"] == 60
    assert spent(redis)["set"] == 3


def test_a_short_task_writes_no_progress(
    progressing: Any, site: Site, redis: Redis
) -> None:
    """Nothing is written after its result either."""
    redis.config_resetstat()
    task_id = progressing("count", 5, 0.001, 0)
    wait_until(lambda: status(site, task_id)["state"] == "SUCCESS")
    threading.Event().wait(1.2)
    assert spent(redis)["set"] == 1


@pytest.mark.parametrize("seconds", [40, 41])
def test_a_retry_tells_when_it_runs_again(
    progressing: Any, site: Site, redis: Redis, seconds: int
) -> None:
    """From a countdown and from a moment; a job's run is kept as long as it says."""
    begun = datetime.now(UTC)
    task_id = progressing("later", seconds, headers={HEADER: RUN})
    wait_until(lambda: status(site, task_id)["state"] == "RETRY")
    answer = status(site, task_id)
    assert answer["job"] == "nightly"
    assert answer["error"] == "TimeoutError: the facility is slow"
    waited = datetime.fromisoformat(answer["retry_at"]) - begun
    assert seconds - 2 <= waited.total_seconds() <= seconds + 5
    assert redis.ttl(f"celery-task-meta-{task_id}") > 89_000
