"""The outbox on a real database and a real broker, without any worker."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from celery import Celery
from kombu import pools

import smartworker
import smartworker.examples.sync.tasks
from smartworker.errors import SettingsError
from smartworker.examples.sync.changes import Turn
from smartworker.examples.sync.client import Roster, Trouble
from smartworker.examples.sync.database import Database
from smartworker.examples.sync.delivery import Delivery
from smartworker.examples.sync.forms import Move, NewSchedule, Person
from smartworker.examples.sync.moods import Mood, Moods, Weather
from smartworker.examples.sync.outbox import KEPT, Outbox
from smartworker.examples.sync.publisher import Drain, Publisher, task_id
from smartworker.examples.sync.roster import Server
from smartworker.examples.sync.roster_state import Books
from smartworker.examples.sync.schedules import Schedules, Taken, UnknownSchedule
from smartworker.settings import Settings
from smartworker.testing import ManualClock
from tests.processes import wait_until

NOW = datetime(2026, 11, 21, 17, tzinfo=UTC)
ANN, BO = Person("ann"), Person("bo", "Bo Berg")
START, LATER = "2026-11-21T09:30:00-05:00", "2026-11-22T09:30:00-05:00"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """An empty database."""
    return Database(f"sqlite:///{tmp_path}/sync.sqlite3")


@pytest.fixture
def box(database: Database) -> Outbox:
    """Its outbox."""
    return Outbox(database)


@pytest.fixture
def schedules(database: Database) -> Schedules:
    """Its schedules."""
    return Schedules(database)


@pytest.fixture
def server() -> Iterator[Server]:
    """A roster service in a good mood."""
    with Server(("127.0.0.1", 0), Books(), Moods(Weather())) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


@pytest.fixture
def delivery(database: Database, server: Server) -> Delivery:
    """Brings changes there."""
    return Delivery(database, Roster(server.url, timeout=2))


@pytest.fixture
def celery_app(redis_url: str) -> Iterator[Any]:
    """A producer with the tasks."""
    app = Celery("sync-test", set_as_current=False)
    smartworker.setup(app, Settings(redis_url=redis_url))
    yield app
    app.close()
    pools.reset()


@pytest.fixture
def publisher(celery_app: Any, box: Outbox) -> Publisher:
    """Queues what is ready."""
    return Publisher(celery_app, box, ManualClock(NOW))


def queued(url: str) -> int:
    """How many messages wait."""
    with redis.Redis.from_url(url) as client:
        found: Any = client.llen("celery")
        return int(found)


def save(schedules: Schedules, event: str = "E") -> int:
    """A schedule of Ann's; its number."""
    saved = schedules.save(NewSchedule(event, ANN, START), NOW)
    return int(saved.schedule["schedule_id"])


def bring_all(box: Outbox, delivery: Delivery) -> list[str]:
    """What becomes of all changes that are ready, until none is."""
    states = []
    while ready := box.ready(NOW):
        outcomes = [delivery.bring(each.id, each.payload) for each in ready]
        states += [outcome.state for outcome in outcomes]
    return states


def test_only_the_first_change_of_an_object_is_ready(
    schedules: Schedules, box: Outbox, publisher: Publisher, redis_url: str
) -> None:
    """The second one is published when the first is over."""
    number = save(schedules)
    schedules.reschedule(number, Move(LATER, None), NOW)
    assert publisher.publish() == 2  # the employee and the create
    assert publisher.publish() == 0
    assert queued(redis_url) == 2
    counts = box.counts()
    assert (counts["queued"], counts["waiting"]) == (2, 1)


def test_a_crash_between_message_and_mark(
    database: Database,
    schedules: Schedules,
    publisher: Publisher,
    redis_url: str,
) -> None:
    """The change is published again, and the server has one message all the same."""
    save(schedules)
    with database.transaction() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER crash BEFORE UPDATE ON sync_outbox "
            "BEGIN SELECT RAISE(ABORT, 'crash'); END"
        )
    with pytest.raises(sa.exc.IntegrityError, match="crash"):
        publisher.publish()
    assert queued(redis_url) == 2
    with database.transaction() as connection:
        connection.exec_driver_sql("DROP TRIGGER crash")
    assert publisher.publish() == 2
    assert queued(redis_url) == 2


def test_several_drains_at_once(
    schedules: Schedules, celery_app: Any, box: Outbox, redis_url: str
) -> None:
    """Web processes, workers and the hourly job may all publish: once each."""
    for event in range(10):
        save(schedules, f"E-{event}")
    drains = [Drain(Publisher(celery_app, box).publish) for _ in range(4)]
    for drain in drains:
        drain.wake()
    wait_until(lambda: not box.ready(NOW))
    # Whoever still publishes has nothing new.
    for thread in threading.enumerate():
        if thread.name == "outbox":
            thread.join(10)
    assert queued(redis_url) == 11


def test_the_id_of_the_task_is_known_before(
    schedules: Schedules, publisher: Publisher, redis_url: str
) -> None:
    """The answer to the request names what the message has."""
    saved = schedules.save(NewSchedule("E", ANN, START), NOW)
    publisher.publish()
    with redis.Redis.from_url(redis_url) as client:
        messages = b"".join(client.lrange("celery", 0, -1))  # type: ignore[arg-type]
    for change in saved.changes:
        assert task_id(change).encode() in messages


def test_all_or_nothing(schedules: Schedules, box: Outbox) -> None:
    """A save that fails leaves no change; one that works leaves both."""
    save(schedules)
    before = box.counts()["waiting"]
    with pytest.raises(Taken):
        schedules.save(NewSchedule("E", BO, START), NOW)
    with pytest.raises(UnknownSchedule):
        schedules.trade(1, 99, NOW)
    with pytest.raises(UnknownSchedule):
        schedules.change_employee(99, BO, NOW)
    assert box.counts()["waiting"] == before


def test_a_message_that_comes_too_early(
    schedules: Schedules, box: Outbox, delivery: Delivery, server: Server
) -> None:
    """It changes nothing, and its change is sent again when its turn has come."""
    number = save(schedules)
    early = schedules.reschedule(number, Move(LATER, BO), NOW).changes[-1]
    outcome = delivery.bring(early.id, early.payload)
    assert outcome.state == Turn.NOT_YET
    assert server.books.events == []
    assert bring_all(box, delivery) == ["done"] * 4
    assert [
        event["action"]
        for event in server.books.events
        if event["action"] != "employee"
    ] == ["create", "update"]


def test_a_message_that_comes_twice(
    schedules: Schedules, box: Outbox, delivery: Delivery, server: Server
) -> None:
    """The second one finds that all is done and asks nobody."""
    save(schedules)
    changes = box.ready(NOW)
    for each in changes:
        delivery.bring(each.id, each.payload)
    server.moods.weather = Weather(Mood.DOWN)
    assert {delivery.bring(each.id, {}).state for each in changes} == {"over"}
    assert delivery.bring(12345, {}).change is None
    assert server.books.replays == 0


def test_a_delete_before_anybody_heard(
    schedules: Schedules, box: Outbox, delivery: Delivery, server: Server
) -> None:
    """Create and delete cancel each other out: no call at all."""
    number = save(schedules)
    schedules.reschedule(number, Move(LATER, None), NOW)
    schedules.unschedule(number, NOW)
    assert bring_all(box, delivery) == ["done", "done"]  # the employee; the delete
    assert [event["action"] for event in server.books.events] == ["employee"]
    assert box.counts()["overtaken"] == 2


def test_a_delete_waits_for_a_call_that_is_under_way(
    schedules: Schedules, box: Outbox
) -> None:
    """Or the create could arrive after the delete."""
    number = save(schedules)
    create = box.ready(NOW)[1]
    begun = box.begin(create.id, NOW)
    assert begun is not None
    assert begun.turn is Turn.APPLY
    delete = schedules.unschedule(number, NOW).changes[0]
    assert delete.id not in [each.id for each in box.ready(NOW)]
    again = box.begin(create.id, NOW)  # its retry
    assert again is not None
    assert again.turn is Turn.NEEDLESS
    assert delete.id in [each.id for each in box.ready(NOW)]


def test_what_is_refused_holds_up_nothing(
    schedules: Schedules, box: Outbox, delivery: Delivery, server: Server
) -> None:
    """A change of something that is gone there is refused; the next one goes on."""
    number = save(schedules)
    bring_all(box, delivery)
    (there,) = server.books.find(f"schedule-{number}")["schedules"]
    Roster(server.url).delete(there["id"], "theirs")
    schedules.reschedule(number, Move(LATER, None), NOW)
    assert bring_all(box, delivery) == ["refused"]
    schedules.unschedule(number, NOW)
    assert bring_all(box, delivery) == ["done"]


@pytest.mark.parametrize(
    "mood", [Mood.DOWN, Mood.FAILING, Mood.LOSING, Mood.NONSENSE, Mood.LIMITED]
)
def test_trouble_is_no_end(
    schedules: Schedules,
    box: Outbox,
    delivery: Delivery,
    server: Server,
    mood: Mood,
) -> None:
    """Whatever goes wrong, the change stays, and once is enough afterwards."""
    save(schedules)
    change = box.ready(NOW)[1]
    server.moods.weather = Weather(mood)
    for _ in range(8):
        with pytest.raises(Trouble):
            delivery.bring(change.id, change.payload)
    server.moods.weather = Weather()
    assert delivery.bring(change.id, change.payload).state == "done"
    assert len(server.books.events) == 1


def test_rest_and_revival(schedules: Schedules, box: Outbox) -> None:
    """What rests is ready when its time is over, or when the refresh says so."""
    save(schedules)
    change = box.ready(NOW)[0]
    box.put_back(change, NOW, timedelta(minutes=5))
    resting = [each.id for each in box.ready(NOW)]
    assert change.id not in resting
    (later,) = [
        each for each in box.ready(NOW + timedelta(minutes=5)) if each.id not in resting
    ]
    assert later.message_key != change.message_key
    assert box.revive(NOW, timedelta(minutes=30)) == 1
    assert later.id in [each.id for each in box.ready(NOW)]


def test_lost_messages_are_found(schedules: Schedules, box: Outbox) -> None:
    """Those of changes that nobody has touched for half an hour, and no others."""
    save(schedules)
    old, young = box.ready(NOW)
    box.queued([old], NOW - timedelta(minutes=31))
    box.queued([young], NOW - timedelta(minutes=29))
    assert box.revive(NOW, timedelta(minutes=30)) == 1
    assert [each.id for each in box.ready(NOW)] == [old.id]


def test_what_is_over_is_forgotten_at_last(
    schedules: Schedules, box: Outbox, delivery: Delivery
) -> None:
    """After thirty days, and never what is on its way."""
    save(schedules)
    change = box.ready(NOW)[0]
    delivery.bring(change.id, change.payload)
    box.forget(datetime.now(UTC) + KEPT - timedelta(hours=1))
    assert sum(box.counts().values()) == 2
    box.forget(datetime.now(UTC) + KEPT + timedelta(hours=1))
    assert box.counts()["waiting"] == 1
    assert sum(box.counts().values()) == 1


@pytest.mark.parametrize(
    ("url", "what"),
    [("sqlite://", "in memory"), ("nonsense", "cannot be read")],
)
def test_a_database_that_cannot_work_is_a_sentence(url: str, what: str) -> None:
    """One in memory would be another one for each process."""
    with pytest.raises(SettingsError, match=what):
        Database(url)
