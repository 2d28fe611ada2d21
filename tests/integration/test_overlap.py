"""Runs of a job that must not overlap: real workers, which are told when to end."""

import signal
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import redis
from kombu import pools

from smartworker.clock import system_clock
from smartworker.cron.runs import HEADER, Run
from smartworker.cron.slots import Slot, minute_of
from smartworker.store import keys
from smartworker.worker.overlap import Overlap
from smartworker.worker.request import run_left
from smartworker.worker.turns import Turn
from tests.integration.conftest import HERE, Counter, StartWorker
from tests.processes import WorkerProcess, wait_until

POOLS = ("prefork", "threads", "solo")


class Regatta:
    """The project as a caller, and what its tasks say."""

    def __init__(self, project: Any, client: Any) -> None:
        self.app = project.app
        self.project = project
        self.client = client
        self._ids: dict[str, str] = {}

    def call(self, job: str, mark: str, how: str = "done", **slot: Any) -> Any:
        """Queue a run of a job; what became of that."""
        from smartworker.worker.declared import jobs_of
        from smartworker.worker.publish import queue_run

        now = system_clock.now()
        self._ids[mark] = str(uuid4())
        run = Run(
            job=jobs_of(self.app).get(job),
            slot=slot.get("slot") or minute_of(now),
            task_id=self._ids[mark],
            parameters={"mark": mark, "how": how},
        )
        return queue_run(self.app, run, now=now)

    def sign(self, mark: str) -> None:
        """Let a run end."""
        self.client.rpush(f"sign:{mark}", "1")

    def id(self, mark: str) -> str:
        """The id of a run."""
        return self._ids[mark]

    def rowed(self) -> list[str]:
        """What the tasks said so far."""
        return [line.decode() for line in self.client.lrange("rowed", 0, -1)]

    def wait_for(self, *lines: str) -> None:
        """Until the tasks said this, and nothing else."""
        wait_until(lambda: len(self.rowed()) >= len(lines), what=str(lines))
        assert self.rowed() == list(lines)

    def owner(self, job: str) -> str | None:
        """Whose run has the lease of a job."""
        value = self.client.get(keys.running(job))
        if value is None:
            return None
        marks = {task_id: mark for mark, task_id in self._ids.items()}
        return marks.get(value.decode(), value.decode())

    def wait_free(self, job: str) -> None:
        """Until nobody has it."""
        wait_until(lambda: self.owner(job) is None, what=f"{job} free")

    def result(self, mark: str) -> Any:
        """The result of a run."""
        return self.app.AsyncResult(self.id(mark))


@pytest.fixture
def regatta(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Regatta]:
    """The project as a producer in this process, fresh for each test."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.syspath_prepend(str(HERE))
    sys.modules.pop("rowing", None)
    import rowing

    with redis.Redis.from_url(redis_url) as client:
        yield Regatta(rowing, client)
    rowing.app.close()
    pools.reset()
    rowing.app.backend.client.connection_pool.disconnect()
    sys.modules.pop("rowing", None)


StartRower = Callable[..., WorkerProcess]


@pytest.fixture
def start_rower(start_worker: StartWorker) -> StartRower:
    """Starts workers of the project that are ready."""

    def start(*args: str, **env: str) -> WorkerProcess:
        worker = start_worker(*args, app="rowing", **env)
        worker.wait_for("worker_ready")
        return worker

    return start


@pytest.mark.parametrize("pool", POOLS)
def test_a_skipped_run_is_dropped_and_frees_nobody(
    regatta: Regatta, start_rower: StartRower, counter: Counter, pool: str
) -> None:
    """The first run has the job from its trigger to its end; then the next may."""
    start_rower("-c", "2", "-P", pool)
    assert regatta.call("skip", "a").pushed
    assert regatta.call("skip", "b").overlapping
    regatta.wait_for("a begins")
    assert regatta.call("skip", "c").overlapping
    assert regatta.owner("skip") == "a"
    regatta.sign("a")
    regatta.wait_free("skip")
    assert regatta.call("skip", "d").pushed
    regatta.sign("d")
    regatta.wait_for("a begins", "a ends", "d begins", "d ends")
    regatta.wait_free("skip")


@pytest.mark.parametrize("how", ["fail", "retry", "die once"])
def test_a_run_that_does_not_go_well_frees_its_job_at_its_end(
    regatta: Regatta, start_rower: StartRower, how: str
) -> None:
    """A failure is an end; another try or another delivery is none."""
    start_rower("-c", "2")
    regatta.call("skip", "a", how)
    regatta.wait_for("a begins")
    regatta.sign("a")
    if how == "fail":
        regatta.wait_free("skip")
        assert regatta.rowed() == ["a begins", "a ends"]
        return
    regatta.wait_for("a begins", "a ends", "a begins")
    assert regatta.owner("skip") == "a"
    assert regatta.call("skip", "b").overlapping
    regatta.sign("a")
    regatta.wait_free("skip")
    assert regatta.rowed() == ["a begins", "a ends"] * 2


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_runs_in_a_queue_come_one_after_the_other(
    regatta: Regatta, start_rower: StartRower, pool: str
) -> None:
    """In their order, each as soon as the one before has ended; others go on."""
    worker = start_rower("-c", "3", "-P", pool)
    for mark in "abc":
        assert regatta.call("queue", mark).pushed
    regatta.wait_for("a begins")
    worker.wait_for("run_waits", 2)
    others = [regatta.project.other.delay() for _ in range(20)]
    assert [each.get(timeout=10) for each in others] == ["other"] * 20
    assert regatta.rowed() == ["a begins"]
    regatta.sign("a")
    regatta.wait_for("a begins", "a ends", "b begins")
    assert regatta.owner("queue") == "b"
    regatta.sign("b")
    regatta.sign("c")
    said = [f"{mark} {what}" for mark in "abc" for what in ("begins", "ends")]
    regatta.wait_for(*said)
    regatta.wait_free("queue")
    wait_until(lambda: not regatta.client.keys("smartworker:inflight:*"))
    (stats,) = regatta.app.control.inspect(timeout=3, limit=1).stats().values()
    assert stats["prefetch_count"] == 12


@pytest.mark.usefixtures("exact_counts")
def test_a_run_waits_for_that_of_another_worker(
    regatta: Regatta, start_rower: StartRower, counter: Counter
) -> None:
    """It asks again after a pause; so does a run whose trigger was long ago.

    1 command a try.
    """
    old = Slot(datetime(2026, 1, 1, tzinfo=UTC), scheduled=False)
    regatta.call("queue", "a")
    regatta.call("skip", "b", slot=old)
    for job in ("queue", "skip"):
        regatta.client.set(keys.running(job), "somebody")
    counter.billed()
    worker = start_rower("-c", "2")
    worker.wait_for("run_waits", 2)
    billed = counter.billed()
    assert (billed["set"], billed.get("get", 0)) == (2, 0)
    for mark, job in (("a", "queue"), ("b", "skip")):
        regatta.sign(mark)
        regatta.client.delete(keys.running(job))
    wait_until(lambda: len(regatta.rowed()) == 4)
    regatta.wait_free("queue")
    regatta.wait_free("skip")
    # The leases, and the results.
    assert counter.billed()["set"] == 4


def test_what_waits_goes_back_at_a_shutdown(
    regatta: Regatta, start_rower: StartRower
) -> None:
    """As a message that never began; another worker runs it."""
    regatta.client.set(keys.running("queue"), "somebody")
    worker = start_rower("-c", "2")
    regatta.call("queue", "a")
    worker.wait_for("run_waits")
    assert worker.stop() == 0
    assert regatta.client.llen("celery") == 1
    assert regatta.owner("queue") == "somebody"
    regatta.client.delete(keys.running("queue"))
    start_rower("-c", "2")
    regatta.sign("a")
    regatta.wait_for("a begins", "a ends")
    regatta.wait_free("queue")


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_has_its_job_and_no_room_goes_back_too(
    regatta: Regatta, start_rower: StartRower, pool: str
) -> None:
    """It keeps the lease that it has, and goes on with that; others wait for it."""
    first = start_rower("-c", "1", "-P", pool)
    regatta.call("allow", "a")
    regatta.wait_for("a begins")
    regatta.call("queue", "b")
    wait_until(lambda: regatta.owner("queue") == "b")
    first.send(signal.SIGTERM)
    first.wait_for("messages_given_back")
    start_rower("-c", "1", "-P", pool)
    regatta.sign("b")
    regatta.wait_for("a begins", "b begins", "b ends")
    regatta.wait_free("queue")
    regatta.sign("a")


def test_a_run_that_waits_can_be_revoked(
    regatta: Regatta, start_rower: StartRower
) -> None:
    """It ends when its turn comes, and the one behind it begins."""
    worker = start_rower("-c", "2")
    for mark in "abc":
        regatta.call("queue", mark)
    regatta.wait_for("a begins")
    worker.wait_for("run_waits", 2)
    regatta.app.control.revoke(regatta.id("b"))
    wait_until(
        lambda: regatta.id("b") in str(regatta.app.control.inspect(timeout=1).revoked())
    )
    regatta.sign("a")
    regatta.sign("c")
    regatta.wait_for("a begins", "a ends", "c begins", "c ends")
    assert regatta.result("b").state == "REVOKED"
    regatta.wait_free("queue")


def test_a_revoked_run_frees_its_job(regatta: Regatta, start_rower: StartRower) -> None:
    """It never began; a revoked run that is skipped at once has ended too."""
    regatta.call("skip", "a")
    start_rower("-c", "1")
    regatta.wait_for("a begins")
    regatta.app.control.revoke(regatta.id("a"), terminate=True, signal="SIGKILL")
    regatta.wait_free("skip")
    assert regatta.result("a").state == "REVOKED"


def test_a_dead_run_frees_its_job(regatta: Regatta, start_rower: StartRower) -> None:
    """A run that goes back keeps it; among the dead letters it has ended."""
    worker = start_rower("-c", "1", SMARTWORKER_MAX_DELIVERIES="2")
    for job in ("skip", "queue"):
        regatta.call(job, job, "back")
        regatta.sign(job)
        wait_until(lambda job=job: regatta.rowed().count(f"{job} begins") == 2)
        assert regatta.owner(job) == job
        regatta.sign(job)
    worker.wait_for("message_dead", 2)
    regatta.wait_free("skip")
    regatta.wait_free("queue")


def test_a_killed_worker_leaves_its_job_to_the_same_run(
    regatta: Regatta, start_rower: StartRower
) -> None:
    """Its message comes back and goes on; others are still kept away."""
    first = start_rower("-c", "1", SMARTWORKER_LEASE="1s")
    regatta.call("queue", "a")
    regatta.call("skip", "b")
    regatta.wait_for("a begins")
    first.kill_all()
    second = start_rower("-c", "3", SMARTWORKER_LEASE="1s")
    regatta.call("queue", "c")
    assert regatta.call("skip", "d").overlapping
    second.wait_for("messages_rescued")
    wait_until(lambda: len(regatta.rowed()) == 3)
    assert sorted(regatta.rowed()) == ["a begins", "a begins", "b begins"]
    assert (regatta.owner("queue"), regatta.owner("skip")) == ("a", "b")
    for mark in "abc":
        regatta.sign(mark)
    regatta.wait_free("skip")
    wait_until(lambda: "c ends" in regatta.rowed())
    regatta.wait_free("queue")


def test_a_server_that_does_not_answer_holds_a_run_back(
    regatta: Regatta, start_rower: StartRower
) -> None:
    """It says so once, and the run begins when the server answers again."""
    regatta.call("queue", "a")
    regatta.client.acl_setuser("default", enabled=True, commands=["-set"], nopass=True)
    try:
        worker = start_rower("-c", "1")
        worker.wait_for("run_waits")
        (line,) = worker.events("lease_not_asked")
        assert "permissions" in line["error"]
        assert regatta.rowed() == []
    finally:
        regatta.client.acl_setuser("default", enabled=True, commands=["+set"])
    regatta.sign("a")
    regatta.wait_for("a begins", "a ends")
    regatta.wait_free("queue")


@pytest.fixture
def step(regatta: Regatta) -> Iterator[Overlap]:
    """The bootstep of a worker without loop and pool, with a connection."""
    app = regatta.app
    with app.connection_for_write() as connection:
        consumer = SimpleNamespace(
            app=app,
            connection=connection,
            on_task_request=print,
            call_soon=lambda call, *args: call(*args),
        )
        step = Overlap(consumer)
        step.start(consumer)
        yield step


def ended(regatta: Regatta, mark: str) -> Any:
    """A request of a run that has ended."""
    header = {"job": "queue", "overlap": "queue", "limit": None}
    return SimpleNamespace(
        app=regatta.app,
        id=mark,
        type="rowing.row",
        request_dict={HEADER: header},
        delivery_info={},
    )


def test_a_job_that_cannot_be_freed_now_is_freed_later(
    regatta: Regatta, step: Overlap, caplog: pytest.LogCaptureFixture
) -> None:
    """By the next round, and only if it still is the job of this run."""
    client, key = regatta.client, keys.running("queue")
    for owner in ("a", "b"):
        client.set(key, "a")
        client.acl_setuser("default", enabled=True, commands=["-eval"])
        try:
            run_left.send(sender=None, request=ended(regatta, "a"), final=True)
            step.renew()
        finally:
            client.acl_setuser("default", enabled=True, commands=["+eval"])
        client.set(key, owner)
        step.renew()
        assert client.get(key) == (None if owner == "a" else b"b")
        client.config_resetstat()
        step.renew()
        assert "cmdstat_eval" not in client.info("commandstats")
    said = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    assert [line["event"] for line in said] == ["lease_not_asked"] * 2


def test_a_run_that_ends_while_its_lease_is_renewed_keeps_nobody_away(
    regatta: Regatta, step: Overlap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The round had seen it run; the job stays free."""
    run = Turn("queue", "a", 600)
    assert step.turns.may_begin(run)
    monkeypatch.setattr(step.turns, "aging", lambda: [run])
    step.renew()
    assert regatta.owner("queue") == "a"
    run_left.send(sender=None, request=ended(regatta, "a"), final=True)
    step.renew()
    assert regatta.owner("queue") is None


def test_another_try_keeps_the_job(regatta: Regatta, step: Overlap) -> None:
    """Nothing is sent: the run comes again."""
    regatta.client.set(keys.running("queue"), "a")
    regatta.client.config_resetstat()
    run_left.send(sender=None, request=ended(regatta, "a"), final=False)
    assert "cmdstat_eval" not in regatta.client.info("commandstats")
    assert regatta.owner("queue") == "a"


@pytest.mark.usefixtures("exact_counts")
def test_what_overlap_costs(
    regatta: Regatta, start_rower: StartRower, counter: Counter
) -> None:
    """`skip`: 1 more to queue and 3 to free; `queue`: 1 to take and 3 to free."""
    start_rower("-c", "1")
    costs = []
    for job in ("allow", "skip", "queue"):
        regatta.sign(job)
        counter.billed()
        regatta.call(job, job)
        wait_until(lambda job=job: f"{job} ends" in regatta.rowed())
        regatta.wait_free(job)
        wait_until(lambda: not regatta.client.keys("smartworker:inflight:*"))
        billed = counter.billed()
        costs.append({name: billed.get(name, 0) for name in ("eval", "set", "del")})
    assert costs == [
        {"eval": 1, "set": 2, "del": 0},
        {"eval": 2, "set": 3, "del": 1},
        {"eval": 2, "set": 3, "del": 1},
    ]
