"""The priorities of queues, with the marketplace's own worker and tasks under load."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

import smartworker
from smartworker.examples.lessons import booking, office
from smartworker.examples.lessons.database import Database
from smartworker.examples.lessons.queues import PRIORITIES
from smartworker.examples.lessons.seeds import seed
from smartworker.settings import Settings
from tests.integration.conftest import StartWorker
from tests.processes import WorkerProcess, wait_until

APP = "smartworker.examples.lessons.app"
#: For each queue a task that is quick, and what it is called with.
TASKS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "bookings": ("lessons.check_no_shows", ()),
    "email": ("lessons.send_letter", ("confirmed", 1)),
    "notifications": ("lessons.notify", ("confirmed", 1)),
    "cache": ("lessons.warm_availability", ()),
    "analytics": ("lessons.count", ("confirmed", 1)),
    "maintenance": ("lessons.clean_up_sessions", ()),
    "celery": ("lessons.check_health", ()),
}
QUEUE_OF = {name: queue for queue, (name, _) in TASKS.items()}
NOW = 1_800_000_000


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A database with a booking whose letter is sent; no mail server."""
    url = f"sqlite:///{tmp_path / 'lessons.sqlite3'}"
    with Database(url).transaction() as rows:
        seed(rows, NOW)
        number = booking.request(rows, lesson=1, student=3, now=NOW)
        office.note_letter(rows, f"confirmed-{number}", "ann", "A place", "sent", NOW)
    return {"DATABASE_URL": url, "LESSONS_MAIL_URL": "smtp://127.0.0.1:9"}


@contextmanager
def producer(url: str) -> Iterator[Celery]:
    """Somebody who publishes and knows the tasks by their names alone."""
    app = smartworker.setup(
        Celery("producer", set_as_current=False), Settings(redis_url=url)
    )
    yield app
    app.close()


def publish(app: Celery, queue: str, count: int, into: str = "") -> None:
    """So many tasks of a queue; `into`: another one."""
    name, args = TASKS[queue]
    for _ in range(count):
        app.send_task(name, args=args, queue=into or queue, ignore_result=True)


def order(worker: WorkerProcess, count: int) -> list[str]:
    """The queues of the tasks that were started, in that order."""
    worker.wait_for("task_started", count, seconds=60)
    return [QUEUE_OF[line["task"]] for line in worker.events("task_started")]


@pytest.mark.parametrize(("pool", "places"), [("prefork", 2), ("threads", 3)])
def test_full_queues_are_emptied_in_the_order_of_their_priorities(
    start_worker: StartWorker,
    redis_url: str,
    environment: dict[str, str],
    pool: str,
    places: int,
) -> None:
    """All seven are full before the worker starts; the order is theirs, not ours.

    Tasks that run at the same time may be told in either order, no others.
    """
    each = 20
    wanted = [queue for queue in PRIORITIES for _ in range(each)]
    shuffled = random.Random(5).sample(wanted, len(wanted))
    with producer(redis_url) as app:
        for queue in shuffled:
            publish(app, queue, 1)
    worker = start_worker("-c", str(places), "-P", pool, app=APP, **environment)
    found = order(worker, len(wanted))
    ranks = [PRIORITIES[queue] for queue in found]
    for place, rank in enumerate(ranks):
        overtaken = sum(earlier < rank for earlier in ranks[:place])
        assert overtaken < places, found
    # Equal ones take turns: neither waits for the other's end.
    equals = [queue for queue in found if PRIORITIES[queue] == 5]
    assert set(equals[:6]) == {"email", "notifications"}
    assert worker.events("task_failed") == []


def test_an_urgent_task_overtakes_what_waits(
    start_worker: StartWorker, redis_url: str, environment: dict[str, str]
) -> None:
    """In the midst of a backlog: only what is taken already runs before it."""
    with producer(redis_url) as app, redis.Redis.from_url(redis_url) as client:
        publish(app, "maintenance", 400)
        publish(app, "bookings", 10, into="elsewhere")
        urgent = client.lrange("elsewhere", 0, -1)
        worker = start_worker("-c", "2", app=APP, **environment)
        worker.wait_for("task_started", 20)
        client.lpush("bookings", *urgent)
    found = order(worker, 410)
    first, last = found.index("bookings"), 409 - found[::-1].index("bookings")
    assert last < 409, "the backlog was too short"
    assert found[first:last].count("maintenance") <= 2


def test_a_child_that_has_grown_is_replaced(
    start_worker: StartWorker, redis_url: str, environment: dict[str, str]
) -> None:
    """After its task, and what waits is done by the next one."""
    # Celery's own option, in KiB; the application sets 200,000.
    limit = ("--max-memory-per-child", "1000")
    worker = start_worker("-c", "1", *limit, app=APP, **environment)
    worker.wait_for("worker_ready")
    before = children(worker)
    with producer(redis_url) as app:
        publish(app, "maintenance", 2)
    worker.wait_for("task_finished", 2)
    wait_until(lambda: not before & children(worker), what="another child")
    assert worker.events("task_failed") == []


def children(worker: WorkerProcess) -> set[str]:
    """The process ids of the pool."""
    pid = worker.process.pid
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


@pytest.mark.parametrize("wrong", [{"email": "high"}, ["bookings", "email"], "email=5"])
def test_wrong_priorities_stop_the_start(
    start_worker: StartWorker, redis_url: str, tmp_path: Path, wrong: Any
) -> None:
    """One sentence and exit status 78."""
    (tmp_path / "shop.py").write_text(
        "from celery import Celery\n"
        "import smartworker\n"
        "app = smartworker.setup(Celery('shop'))\n"
        f"app.conf.broker_transport_options = {{'queue_priorities': {wrong!r}}}\n"
    )
    worker = WorkerProcess(tmp_path, redis_url, app="shop")
    try:
        assert worker.process.wait(20) == 78
    finally:
        worker.kill()
    assert worker.text.count("\n") == 1
    assert worker.text.startswith(
        f"smartworker: queue_priorities in broker_transport_options is {wrong!r}: "
    )
