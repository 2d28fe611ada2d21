"""Slots that nobody called for, on a real server and on a clock that is moved."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import pools

import smartworker
from smartworker.cron.missed import SLACK, Lookout
from smartworker.cron.registry import Job, Jobs
from smartworker.cron.runs import Names, Run
from smartworker.cron.slots import Slot, stamp
from smartworker.settings import Settings
from smartworker.store import jobs as store
from smartworker.store import keys, runs
from smartworker.testing import ManualClock
from smartworker.worker.patrol import Patrol
from smartworker.worker.publish import queue_run
from smartworker.worker.records import record_key
from tests.integration.conftest import Counter, StartWorker
from tests.processes import wait_until
from tests.programs import fake_time_library

#: A job is known since long before this.
NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
GRACE = timedelta(minutes=15)
QUEUE = "celery"
#: What the tests ask themselves.
ASKED = {"llen", "lrange", "get", "hget", "ttl", "xrevrange", "lpush"}


class Told:
    """The lines that were logged since the last look."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def lines(self) -> list[dict[str, Any]]:
        """All fields of each."""
        records = [x for x in self._caplog.records if isinstance(x.msg, dict)]
        found = [{**x.msg, "level": x.levelname} for x in records]
        self._caplog.clear()
        return found

    def events(self) -> list[tuple[str, str]]:
        """(event, slot) of each."""
        return [(line["event"], line.get("slot", "")) for line in self.lines()]


def job(**options: Any) -> Job:
    """An hourly job in UTC."""
    given = {"schedule": "0 * * * *", "zone": "UTC", **options}
    name, task = given.pop("name", "book"), given.pop("task", "swim.book")
    return Jobs().declare(name, task, **given)


class Rig:
    """One application on one server: its workers' patrols, and its callers."""

    def __init__(self, url: str, *jobs: Job, **settings: Any) -> None:
        self.app = smartworker.setup(
            Celery("rig"), Settings(redis_url=url, **settings), Jobs()
        )
        self.jobs = jobs
        self.client = redis.Redis.from_url(url)
        self.clock = ManualClock(NOON - HOUR)

    def patrol(self) -> tuple[Patrol, Lookout]:
        """That of one more worker."""
        lookout = Lookout(self.jobs)
        return Patrol(self.app, lookout, self.clock), lookout

    def names(self) -> Names:
        """The ids, as the server knows them."""
        return Names(store.load(self.client).secret)

    def slot(self, hour: int) -> Slot:
        """The slot of an hour of the day."""
        return Slot(NOON.replace(hour=hour), scheduled=True)

    def id(self, hour: int) -> str:
        """The id of the first job's run."""
        return self.names().of_slot(self.jobs[0], self.slot(hour))

    def call(self, hour: int) -> bool:
        """Somebody calls for a slot of the first job; whether that queued a run."""
        run = Run(job=self.jobs[0], slot=self.slot(hour), task_id=self.id(hour))
        return queue_run(self.app, run, now=self.clock.now()).pushed

    def move(self, hour: int, minute: int = 0, seconds: float = 0.0) -> None:
        """Let the time of the day be this."""
        then = NOON.replace(hour=hour, minute=minute)
        self.clock.advance((then - self.clock.now()).total_seconds() + seconds)

    def record(self, hour: int) -> Any:
        """The record of a slot of the first job."""
        text = self.client.get(record_key(self.app, self.id(hour)))
        return None if text is None else json.loads(text)

    def queued(self) -> list[str]:
        """The slots of all runs in the queue, the oldest first."""
        messages = [json.loads(raw) for raw in self.client.lrange(QUEUE, 0, -1)][::-1]
        return [message["headers"]["smartworker_run"]["slot"] for message in messages]

    def history(self) -> list[tuple[str, str]]:
        """(state, slot) of the first job, newest first."""
        entries = runs.last(self.client, self.jobs[0].name, 10)
        return [(entry.state, entry.slot) for entry in entries]

    def close(self) -> None:
        """End all connections."""
        self.client.close()
        self.app.close()
        pools.reset()


RigOf = Callable[..., Rig]


@pytest.fixture
def rig_of(redis_url: str) -> Iterator[RigOf]:
    """Makes applications; ends them with the test."""
    made: list[Rig] = []

    def make(*jobs: Job, **settings: Any) -> Rig:
        made.append(Rig(redis_url, *(jobs or (job(),)), **settings))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    """What is logged."""
    caplog.set_level(logging.INFO, "smartworker")
    return Told(caplog)


def spent(counter: Counter) -> dict[str, int]:
    """What was sent beside the questions of the tests."""
    return {name: n for name, n in counter.billed().items() if name not in ASKED}


def at(hour: int) -> str:
    """The slot of an hour as it is written."""
    return stamp(NOON.replace(hour=hour))


def test_a_start_costs_one_command_and_looks_cost_one(
    rig_of: RigOf, counter: Counter, told: Told
) -> None:
    """The very first one makes the secret and notes the jobs; a called slot is fine."""
    rig = rig_of()
    patrol, _ = rig.patrol()
    assert patrol.go() == NOON - HOUR + GRACE + SLACK
    assert spent(counter) == {"hgetall": 2, "hsetnx": 1, "hset": 1}
    other, _ = rig.patrol()
    other.go()
    assert spent(counter) == {"hgetall": 1}
    assert rig.call(12)
    counter.billed()
    rig.move(12, 14)
    assert patrol.go() == NOON + GRACE + SLACK
    assert spent(counter) == {}
    rig.move(12, 15, seconds=2)
    assert patrol.go() == NOON + HOUR + GRACE + SLACK
    assert spent(counter) == {"exists": 1}
    assert told.events() == []
    rig.clock.advance(60)
    patrol.go()
    assert spent(counter) == {}


def test_what_the_worker_has_seen_costs_nothing(
    rig_of: RigOf, counter: Counter, told: Told
) -> None:
    """It has the message: not even a connection is opened."""
    rig = rig_of()
    patrol, lookout = rig.patrol()
    patrol.go()
    counter.all()
    lookout.see("book", NOON)
    rig.move(12, 16)
    patrol.go()
    assert counter.all() == {}
    assert told.events() == []


def test_several_slots_of_one_moment_are_one_command(
    rig_of: RigOf, counter: Counter
) -> None:
    """Jobs that are due at the same time are asked for together."""
    rig = rig_of(job(), job(name="other"), job(name="third"))
    patrol, _ = rig.patrol()
    patrol.go()
    names = rig.names()
    for each in rig.jobs:
        task_id = names.of_slot(each, rig.slot(12))
        run = Run(job=each, slot=rig.slot(12), task_id=task_id)
        queue_run(rig.app, run, now=rig.clock.now())
    rig.move(12, 16)
    counter.billed()
    patrol.go()
    assert spent(counter) == {"exists": 1}


def test_a_missed_slot_is_reported_once(
    rig_of: RigOf, counter: Counter, told: Told
) -> None:
    """With two workers one of them tells: line, record and history."""
    rig = rig_of()
    patrols = [rig.patrol()[0] for _ in range(2)]
    for patrol in patrols:
        patrol.go()
    rig.move(12, 16)
    counter.billed()
    patrols[0].go()
    assert spent(counter) == {"exists": 1, "hgetall": 1, "set": 1, "xadd": 1}
    patrols[1].go()
    assert spent(counter) == {"exists": 1}
    (line,) = told.lines()
    assert line["event"] == "run_missed"
    assert line["level"] == "ERROR"
    assert (line["job"], line["slot"], line["policy"]) == ("book", at(12), "skip")
    assert line["task_id"] == rig.id(12)
    record = rig.record(12)
    assert record["status"] == "MISSED"
    assert record["task_id"] == rig.id(12)
    assert record["run"]["slot"] == at(12)
    seconds = rig.jobs[0].retention.total_seconds()
    ttl = rig.client.ttl(record_key(rig.app, rig.id(12)))
    assert seconds - 10 < ttl <= seconds
    assert rig.history() == [("MISSED", at(12))]
    assert rig.queued() == []


@pytest.mark.parametrize("catch_up", ["skip", "once", "all"])
def test_two_at_the_same_time_are_one(rig_of: RigOf, told: Told, catch_up: str) -> None:
    """Ten rounds of two threads: one report each, and one run at the most."""
    rig = rig_of(job(catch_up=catch_up))
    patrols = [rig.patrol()[0] for _ in range(2)]
    for patrol in patrols:
        patrol.go()
    for hour in range(12, 22):
        rig.move(hour, 16)
        threads = [threading.Thread(target=patrol.go) for patrol in patrols]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    slots = [at(hour) for hour in range(12, 22)]
    found = told.events()
    assert [slot for event, slot in found if event == "run_missed"] == slots
    made_up = [] if catch_up == "skip" else slots
    assert [slot for event, slot in found if event == "run_made_up"] == made_up
    assert rig.queued() == made_up


def test_a_missed_slot_is_made_up_for(
    rig_of: RigOf, counter: Counter, told: Told
) -> None:
    """By a run with the slot's own id, which says what started it."""
    rig = rig_of(job(catch_up="once"))
    patrol, _ = rig.patrol()
    patrol.go()
    rig.move(12, 16)
    counter.billed()
    patrol.go()
    assert spent(counter) == {"exists": 1, "hgetall": 1, "eval": 1, "set": 1}
    missed, made_up = told.lines()
    assert (missed["event"], made_up["event"]) == ("run_missed", "run_made_up")
    assert made_up["task_id"] == rig.id(12)
    (message,) = [json.loads(raw) for raw in rig.client.lrange(QUEUE, 0, -1)]
    assert message["headers"]["id"] == rig.id(12)
    header = message["headers"]["smartworker_run"]
    assert (header["trigger"], header["slot"]) == ("catch-up", at(12))
    assert header["trigger_id"] == made_up["trigger_id"]
    assert rig.record(12)["status"] == "QUEUED"
    patrol.go()
    assert told.lines() == []


def test_late_first_and_then_missed(rig_of: RigOf, told: Told) -> None:
    """Each is told once, by one of two workers."""
    rig = rig_of(job(deadline="40m"))
    patrols = [rig.patrol()[0] for _ in range(2)]
    for patrol in patrols:
        patrol.go()
    for minute in (16, 30, 41):
        rig.move(12, minute)
        for patrol in patrols:
            patrol.go()
    late, missed = told.lines()
    assert (late["event"], late["missed_at"]) == ("run_late", "2026-06-10T12:40:00Z")
    assert (missed["event"], missed["slot"]) == ("run_missed", at(12))


def test_a_late_call_is_late_and_not_missed(rig_of: RigOf, told: Told) -> None:
    """It counts for its slot until the deadline."""
    rig = rig_of(job(deadline="40m"))
    patrol, _ = rig.patrol()
    patrol.go()
    rig.move(12, 16)
    patrol.go()
    assert rig.call(12)
    rig.move(12, 41)
    patrol.go()
    assert told.events() == [("run_late", at(12))]


def test_a_paused_job_is_neither_late_nor_missed(
    rig_of: RigOf, counter: Counter, told: Told
) -> None:
    """Nor are its slots missed when it goes on, whoever starts by then."""
    rig = rig_of(job(deadline="40m", catch_up="all"))
    patrol, _ = rig.patrol()
    patrol.go()
    rig.move(12, 5)
    store.pause(rig.client, "book", rig.clock.now().isoformat())
    counter.billed()
    for hour, minute in ((12, 16), (12, 41), (13, 16), (13, 41)):
        rig.move(hour, minute)
        patrol.go()
        assert spent(counter) == {"exists": 1, "hgetall": 1}
    rig.move(14, 10)
    store.resume(rig.client, "book", when=rig.clock.now().isoformat())
    rig.move(14, 50)
    patrol.go()
    rig.patrol()[0].go()
    assert told.events() == []
    rig.move(15, 41)
    patrol.go()
    assert told.events() == [("run_missed", at(15)), ("run_made_up", at(15))]


@pytest.mark.parametrize(
    ("catch_up", "made_up"),
    [("skip", []), ("once", [16]), ("all", [14, 15, 16])],
)
def test_at_the_start_it_makes_up_for_the_time_before(
    rig_of: RigOf,
    counter: Counter,
    told: Told,
    catch_up: str,
    made_up: list[int],
) -> None:
    """No worker ran for hours: the last three slots count, one of them was called."""
    rig = rig_of(job(catch_up=catch_up, catch_up_cap=4))
    rig.patrol()[0].go()
    assert rig.call(13)
    rig.move(17, 10)
    counter.billed()
    rig.patrol()[0].go()
    costs = spent(counter)
    assert (costs["hgetall"], costs["exists"]) == (1, 5)
    assert sum(costs.values()) <= 12
    found = told.events()
    assert sorted(slot for event, slot in found if event == "run_missed") == [
        at(14),
        at(15),
        at(16),
    ]
    assert rig.queued()[1:] == [at(hour) for hour in made_up]
    counter.billed()
    rig.patrol()[0].go()
    assert spent(counter) == {"hgetall": 1, "exists": 1}
    assert told.events() == []


def test_a_new_job_has_missed_nothing(
    rig_of: RigOf, counter: Counter, told: Told
) -> None:
    """Its slots before the first worker that knew it are nobody's fault."""
    rig = rig_of()
    rig.move(17, 10)
    rig.patrol()[0].go()
    assert "exists" not in spent(counter)
    rig.move(17, 20)
    rig.patrol()[0].go()
    assert told.events() == []
    rig.move(18, 20)
    rig.patrol()[0].go()
    assert told.events() == [("run_missed", at(18))]


@pytest.mark.parametrize(
    "options",
    [{"schedule": "10 * * * *"}, {"zone": "Asia/Kolkata"}, {"windows": "00:00-24:00"}],
)
def test_other_times_count_from_the_first_release_that_has_them(
    rig_of: RigOf, told: Told, options: dict[str, str]
) -> None:
    """Nobody called at the new times before; a release with the old ones stays calm."""
    windows = {"windows": "18:00-24:00"} if "windows" in options else {}
    before = job(catch_up="all", **windows)
    rig = rig_of(job(catch_up="all", **{**windows, **options}))
    Patrol(rig.app, Lookout([before]), rig.clock).go()
    rig.move(15, 50)
    rig.patrol()[0].go()
    assert told.events() == []
    assert rig.queued() == []
    rig.move(17, 30, seconds=-1)
    rig.patrol()[0].go()
    assert rig.queued() != []


def test_an_emptied_server_makes_nobody_late(
    rig_of: RigOf, counter: Counter, told: Told
) -> None:
    """The slot was called before; nobody knows, so nobody says that it was not."""
    rig = rig_of(job(catch_up="all"))
    patrol, _ = rig.patrol()
    patrol.go()
    rig.move(12, 1)
    assert rig.call(12)
    rig.client.flushall()
    counter.billed()
    rig.move(12, 16)
    patrol.go()
    assert spent(counter) == {"exists": 1, "hgetall": 2, "hsetnx": 1, "hset": 1}
    assert told.events() == []
    rig.move(13, 1)
    assert rig.call(13)
    rig.move(13, 16)
    patrol.go()
    rig.move(14, 16)
    patrol.go()
    assert told.events() == [("run_missed", at(14)), ("run_made_up", at(14))]


def test_another_secret_is_asked_for_again(rig_of: RigOf, told: Told) -> None:
    """Somebody else has made a new one: the ids are others, and the call is found."""
    rig = rig_of(job(catch_up="all"))
    patrol, _ = rig.patrol()
    patrol.go()
    rig.client.hset(keys.JOBS, store.SECRET, "another")
    rig.move(12, 1)
    assert rig.call(12)
    rig.move(12, 16)
    patrol.go()
    assert told.events() == []


def test_a_server_that_is_away_loses_no_look(rig_of: RigOf, told: Told) -> None:
    """Tried again after growing pauses, and said once."""
    rig = rig_of(job(catch_up="all"))
    patrol, _ = rig.patrol()
    patrol.go()
    away = smartworker.setup(
        Celery("away"), Settings(redis_url="redis://127.0.0.1:1/0"), Jobs()
    )
    patrol._app, app = away, patrol._app
    rig.move(12, 16)
    pauses = []
    for _ in range(2):
        due = patrol.go()
        assert due is not None
        pauses.append((due - rig.clock.now()).total_seconds())
        # The minute's round may come in between.
        assert patrol.go() == due
        rig.clock.advance(pauses[-1])
    assert 4 <= pauses[0] <= 5
    assert 8 <= pauses[1] <= 10
    assert told.events() == [("look_delayed", "")]
    patrol._app = app
    patrol.go()
    found = told.events()
    assert ("run_missed", at(12)) in found
    assert ("run_made_up", at(12)) in found


def test_a_server_that_refuses_loses_no_look_either(rig_of: RigOf, told: Told) -> None:
    """The run is queued when it lets us."""
    rig = rig_of(job(catch_up="all"))
    patrol, _ = rig.patrol()
    patrol.go()
    rig.move(12, 16)
    rig.client.acl_setuser("default", enabled=True, commands=["-eval"])
    try:
        patrol.go()
    finally:
        rig.client.acl_setuser("default", enabled=True, commands=["+eval"])
    assert told.events() == [("look_delayed", "")]
    rig.clock.advance(10)
    patrol.go()
    assert told.events() == [("run_missed", at(12)), ("run_made_up", at(12))]
    # The next outage is said again.
    rig.move(13, 16)
    rig.client.acl_setuser("default", enabled=True, commands=["-exists"])
    try:
        patrol.go()
    finally:
        rig.client.acl_setuser("default", enabled=True, commands=["+exists"])
    assert told.events() == [("look_delayed", "")]


@pytest.mark.parametrize("since", ["", "yesterday", "2026-06-10T12:00:00"])
def test_a_time_that_nobody_can_read_is_none(
    rig_of: RigOf, told: Told, since: str
) -> None:
    """The job is taken for a new one."""
    rig = rig_of()
    rig.client.hset(keys.JOBS, store.SINCE + "book", since)
    rig.move(17, 20)
    rig.patrol()[0].go()
    assert told.events() == []
    assert store.load(rig.client).since == {"book": rig.clock.now().isoformat()}


def test_a_run_that_cannot_be_queued_holds_nothing_up(
    rig_of: RigOf, told: Told
) -> None:
    """It is reported as missed, and the other jobs have their turn."""
    rig = rig_of(job(catch_up="all", args=[object()]), job(name="other"))
    patrol, _ = rig.patrol()
    patrol.go()
    rig.move(12, 16)
    patrol.go()
    assert [(line["event"], line["job"]) for line in told.lines()] == [
        ("catch_up_failed", "book"),
        ("run_missed", "book"),
        ("run_missed", "other"),
    ]


def test_a_job_that_still_runs_is_not_made_up_for(rig_of: RigOf, told: Told) -> None:
    """Its overlap policy counts here too: the slot is missed for good."""
    rig = rig_of(job(catch_up="all", overlap="skip"))
    patrol, _ = rig.patrol()
    patrol.go()
    rig.client.set(keys.running("book"), "another run")
    rig.move(12, 16)
    patrol.go()
    assert told.events() == [("run_missed", at(12))]
    assert rig.record(12)["status"] == "MISSED"
    assert rig.client.get(keys.running("book")) == b"another run"


def test_a_call_that_overlapped_is_no_missed_slot(rig_of: RigOf, told: Told) -> None:
    """Somebody called, and the policy dropped it: nothing is made up for."""
    rig = rig_of(job(catch_up="all", overlap="skip"))
    patrol, _ = rig.patrol()
    patrol.go()
    rig.client.set(keys.running("book"), "another run")
    rig.move(12, 1)
    assert not rig.call(12)
    rig.client.delete(keys.running("book"))
    rig.move(12, 16)
    patrol.go()
    assert told.events() == []
    assert rig.record(12)["status"] == "SKIPPED"
    assert rig.queued() == []


def test_records_beside_the_broker_are_found_where_results_are_elsewhere(
    rig_of: RigOf, told: Told
) -> None:
    """The record of a run is on the broker in any case."""
    rig = rig_of(result_url="redis://127.0.0.1:1/0")
    patrol, _ = rig.patrol()
    patrol.go()
    assert rig.call(12)
    rig.move(12, 16)
    patrol.go()
    assert told.events() == []
    rig.move(13, 16)
    patrol.go()
    assert told.events() == [("run_missed", at(13))]
    assert rig.client.get(keys.record(rig.id(13)))


def test_without_schedules_nothing_is_sent(rig_of: RigOf, counter: Counter) -> None:
    """Not even at the start."""
    rig = rig_of(job(schedule=None))
    patrol, _ = rig.patrol()
    assert patrol.go() is None
    assert counter.all() == {}


def test_a_real_worker_reports_and_makes_up(
    start_worker: StartWorker, counter: Counter, rig_of: RigOf
) -> None:
    """Two jobs are due at noon: one was called, and costs nothing; one was not."""
    worker = start_worker(
        *("-c", "1"),
        app="rowing",
        MINUTELY="yes",
        LD_PRELOAD=fake_time_library(),
        FAKETIME="@2026-06-10 11:59:58",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
        TZ="UTC",
    )
    worker.wait_for("worker_ready")
    called = {"name": "called", "task": "rowing.other", "schedule": "* * * * *"}
    rig = rig_of(job(**called, grace="1s", catch_up="once"))
    wait_until(lambda: rig.client.hexists(keys.JOBS, "since:called"))
    assert sum(counter.billed().values()) <= 15
    assert rig.call(12)
    worker.wait_for("task_finished")
    counter.billed()
    worker.wait_for("task_finished", 2)
    billed = counter.billed()
    assert [(x["job"], x["slot"]) for x in worker.events("run_missed")] == [
        ("forgotten", at(12))
    ]
    (made_up,) = worker.events("run_made_up")
    assert worker.events("task_started")[1]["trigger_id"] == made_up["trigger_id"]
    assert (billed["exists"], billed["hgetall"], billed["eval"]) == (1, 1, 1)


def test_jobs_that_cannot_work_stop_the_start(start_worker: StartWorker) -> None:
    """One sentence, and the exit status of a wrong setting."""
    worker = start_worker("-c", "1", app="rowing", BROKEN="yes")
    assert worker.process.wait(20) == 78
    wait_until(lambda: worker.text)
    assert worker.text.strip() == ("smartworker: The job 'twice' is declared twice.")
