"""The trigger step on real servers: record and message together, and only once."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from smartworker.cron.registry import Jobs
from smartworker.cron.runs import HEADER, Names, Run
from smartworker.cron.slots import Slot
from smartworker.settings import Settings
from smartworker.store import keys
from smartworker.store.client import connection_options
from smartworker.store.meter import ledger
from smartworker.testing import commandstats
from smartworker.worker.publish import queue_run
from smartworker.worker.setup import setup

pytestmark = pytest.mark.every_server

NOW = datetime(2026, 11, 22, 2, 0, 7, tzinfo=UTC)
SLOT = Slot(datetime(2026, 11, 22, 2, 0, tzinfo=UTC), scheduled=True)
NAMES = Names(b"a secret")
OBSERVING = {"info", "config|resetstat", "config|get", "hello", "client|setinfo"}

Cost = Callable[[], dict[str, int]]


def jobs() -> Jobs:
    """One job that may overlap, and one that may not."""
    found = Jobs()
    found.declare("nightly", "tasks.nightly", schedule="0 21 * * *")
    found.declare("single", "tasks.single", overlap="skip", kwargs={"deep": True})
    return found


@pytest.fixture
def observer(redis_url: str) -> Iterator[Any]:
    """A client that is not counted; takes the memory limit away at the end."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, decode_responses=True, **options) as client:
        yield client
        client.config_set("maxmemory", 0)


@pytest.fixture
def app(redis_url: str, observer: Any) -> Iterator[Any]:
    """A producer whose connection is open and not counted."""
    app = setup(
        Celery("triggers", set_as_current=False), Settings(redis_url=redis_url), jobs()
    )
    with app.connection_for_write() as connection:
        connection.default_channel.client.ping()
    queue_run(app, run("warm-up"), now=NOW)
    observer.flushall()
    observer.config_resetstat()
    ledger.drain()
    yield app
    app.close()


@pytest.fixture
def cost(observer: Any, older_server: bool) -> Cost:
    """What the server saw since the last question, which is what the ledger says."""

    def counted() -> dict[str, int]:
        seen = commandstats(observer).items()
        found = {name: count for name, count in seen if name not in OBSERVING}
        if older_server and "eval" in found:
            # It is asked twice, which the ledger does not know.
            found["set"] -= found["eval"]
            found.pop("get", None)
        booked = {
            name: count
            for name, count in ledger.by_command().items()
            if name not in OBSERVING
        }
        assert booked == found
        observer.config_resetstat()
        ledger.drain()
        return found

    return counted


def run(task_id: str, job: str = "nightly", **more: Any) -> Run:
    """A run of a job under this id."""
    return Run(job=jobs().get(job), slot=SLOT, task_id=task_id, **more)


def test_a_run_is_recorded_and_queued(app: Any, observer: Any, cost: Cost) -> None:
    """Three commands; the record stands under the key of its result to be."""
    outcome = queue_run(app, run("an-id"), now=NOW)
    assert cost() == {"eval": 1, "set": 1, "lpush": 1}
    assert outcome.pushed
    record = json.loads(observer.get("celery-task-meta-an-id"))
    message = json.loads(observer.lindex("celery", 0))
    assert record["status"] == "QUEUED"
    assert record["result"]["queued_at"] == "2026-11-22T02:00:07Z"
    assert record["run"] == message["headers"][HEADER]
    assert record["run"]["slot"] == "2026-11-22T02:00:00Z"
    assert message["headers"]["id"] == "an-id"
    assert message["headers"]["job"] == "nightly"
    assert 86_000 < observer.ttl("celery-task-meta-an-id") <= 86_400


def test_a_waiting_result_is_not_confused(app: Any) -> None:
    """For Celery the record is a result that is not ready."""
    queue_run(app, run("an-id"), now=NOW)
    result = app.AsyncResult("an-id")
    assert result.state == "QUEUED"
    assert not result.ready()


def test_again_is_no_second_message(app: Any, observer: Any, cost: Cost) -> None:
    """Two commands, and the earlier record comes back, whatever became of it."""
    first = queue_run(app, run("an-id"), now=NOW)
    cost()
    again = queue_run(app, run("an-id"), now=NOW)
    assert cost() == {"eval": 1, "set": 1}
    assert not again.pushed
    assert again.record is not None
    assert again.record["run"]["trigger_id"] == first.trigger_id
    assert observer.llen("celery") == 1


def test_at_once_from_many_threads(app: Any, observer: Any) -> None:
    """Ten senders, one message."""
    outcomes = []
    together = threading.Barrier(10)

    def send() -> None:
        together.wait()
        outcomes.append(queue_run(app, run("an-id"), now=NOW))

    threads = [threading.Thread(target=send) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(outcome.pushed for outcome in outcomes) == 1
    assert observer.llen("celery") == 1


def test_a_job_that_is_running_is_not_started(
    app: Any, observer: Any, cost: Cost
) -> None:
    """The lease of an earlier run is in the way, and stays the earlier run's."""
    assert queue_run(app, run("first", "single"), now=NOW).pushed
    assert cost() == {"eval": 1, "set": 2, "lpush": 1}
    second = queue_run(app, run("second", "single"), now=NOW)
    assert cost() == {"eval": 1, "set": 3}
    assert second.overlapping
    assert observer.get(keys.running("single")) == "first"
    # Somebody has called for its slot, which is all that is known of it.
    assert json.loads(observer.get("celery-task-meta-second"))["status"] == "SKIPPED"
    assert observer.llen("celery") == 1
    again = queue_run(app, run("first", "single"), now=NOW)
    assert not again.overlapping


def test_a_skipped_run_may_come_again(app: Any, observer: Any) -> None:
    """Once the earlier run is done, the same call queues it."""
    queue_run(app, run("first", "single"), now=NOW)
    for _ in range(2):
        assert queue_run(app, run("second", "single"), now=NOW).overlapping
    observer.delete(keys.running("single"))
    assert queue_run(app, run("second", "single"), now=NOW).pushed
    assert json.loads(observer.get("celery-task-meta-second"))["status"] == "QUEUED"
    assert observer.llen("celery") == 2


def test_a_run_with_a_key_also_stands_for_its_slot(
    app: Any, observer: Any, cost: Cost
) -> None:
    """Whoever asks for the slot finds the run under its own id."""
    queue_run(app, run("keyed", slot_id="of-slot"), now=NOW)
    assert cost() == {"eval": 1, "set": 2, "lpush": 1}
    again = queue_run(app, run("of-slot"), now=NOW)
    assert again.record is not None
    assert again.record["task_id"] == "keyed"
    assert observer.llen("celery") == 1


def test_a_run_with_parameters_does_not_stand_for_the_slots_own_run(
    app: Any, observer: Any, cost: Cost
) -> None:
    """It says that somebody has called; whoever asks for no shop gets a run, once."""
    queue_run(app, run("shop", parameters={"shop": 3}, slot_id="of-slot"), now=NOW)
    cost()
    assert queue_run(app, run("of-slot"), now=NOW).pushed
    assert cost() == {"eval": 1, "set": 2, "lpush": 1}
    again = queue_run(app, run("of-slot"), now=NOW)
    assert cost() == {"eval": 1, "set": 1}
    assert again.record is not None
    assert again.record["task_id"] == "of-slot"
    assert observer.llen("celery") == 2


def test_a_slot_stays_recorded_when_its_own_run_is_in_the_way(
    app: Any, observer: Any, cost: Cost
) -> None:
    """Or when its message cannot be pushed: somebody has called all the same."""
    parameters = {"shop": 3}
    first = run("shop", "single", parameters=parameters, slot_id="of-slot")
    queue_run(app, first, now=NOW)
    cost()
    assert queue_run(app, run("of-slot", "single"), now=NOW).overlapping
    assert cost() == {"eval": 1, "set": 4}
    observer.delete(keys.running("single"))
    observer.set("celery", "taken")
    with pytest.raises(OperationalError, match="WRONGTYPE"):
        queue_run(app, run("of-slot", "single"), now=NOW)
    record = json.loads(observer.get("celery-task-meta-of-slot"))
    assert record["task_id"] == "shop"


def test_a_refused_push_leaves_nothing(app: Any, observer: Any) -> None:
    """A full server takes neither; once it does, the same run goes through."""
    observer.config_set("maxmemory", 1)
    with pytest.raises(OperationalError, match="memory"):
        queue_run(app, run("first", "single"), now=NOW)
    observer.config_set("maxmemory", 0)
    assert observer.dbsize() == 0
    assert queue_run(app, run("first", "single"), now=NOW).pushed


def test_a_queue_that_is_no_list_leaves_nothing(app: Any, observer: Any) -> None:
    """A push that fails inside the step takes the records back with it."""
    observer.set("celery", "taken")
    with pytest.raises(OperationalError, match="WRONGTYPE"):
        queue_run(app, run("first", "single"), now=NOW)
    assert observer.keys() == ["celery"]
