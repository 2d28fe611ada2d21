"""Rows F09 to F14 and F18: workers that are asked to stop, kindly and otherwise."""

import json
import random
import signal
import time
from collections.abc import Callable, Iterable, Sequence

import pytest

from smartworker.store.leases import Leases
from tests.faults.conftest import Figures
from tests.faults.habits import DAY, full
from tests.faults.moments import PATIENT, POINTS, wait_for_point
from tests.faults.proxy import FaultProxy
from tests.faults.server import FaultServer
from tests.faults.stage import LEASE, PEAK, Stage
from tests.processes import WorkerProcess, wait_until

#: Seconds between SIGTERM and SIGKILL; the tasks of the matrix run on beyond it, and
#: so does the lease of what is held.
PATIENCE = LEASE + 2

Stop = Callable[[WorkerProcess, Stage], None]


@pytest.mark.parametrize(
    "pool",
    [
        "prefork",
        pytest.param("threads", marks=full),
        pytest.param("solo", marks=full),
    ],
)
def test_f09_sigterm_idle(stage: Stage, pool: str, figures: Figures) -> None:
    """The next poll is half an hour away, the end is not; nothing is left behind."""
    worker = stage.start("-P", pool, "-c", "2", SMARTWORKER_QUIET_POLL="30m")
    stage.publish("note", range(5))
    stage.done(range(5))
    stage.settled()
    status, took = stop(worker, signal.SIGTERM)
    figures(exit=status, seconds=took, in_flight=stage.held(), leases=leases(stage))
    assert status == 0
    assert took <= 3
    assert stage.held() == 0
    assert leases(stage) == 0


def busy(
    stage: Stage, pool: str, numbers: Iterable[object], **env: str
) -> WorkerProcess:
    """A worker whose two processes wait at the gate, with more messages in flight.

    A pool that runs one task at a time takes several only after some that were short.
    """
    running = running_of(pool)
    stage.publish("quiet", ["short1", "short2", "short3"])
    stage.publish("late", numbers)
    worker = stage.spawn("-P", pool, "-c", "2", **env)
    stage.started(3 + running)
    wait_until(lambda: stage.held() >= 2 * running, what="prefetched messages")
    return worker


def running_of(pool: str) -> int:
    """How many tasks the workers of this module run at a time."""
    return 1 if pool == "solo" else 2


@pytest.mark.parametrize(
    "pool", ["prefork", "threads", pytest.param("solo", marks=full)]
)
def test_f10_sigterm_with_backlog(stage: Stage, pool: str, figures: Figures) -> None:
    """What has not begun goes back at once, in order; what runs ends well."""
    numbers, running = range(40), running_of(pool)
    worker = busy(stage, pool, numbers)
    worker.send(signal.SIGTERM)
    begun = time.monotonic()
    if pool != "solo":  # its only thread is busy with the task
        wait_until(lambda: stage.held() == running, 2, "all others given back")
    given_back = time.monotonic() - begun
    stage.open_gate()
    begun = time.monotonic()
    status = worker.process.wait(20)
    took = time.monotonic() - begun
    ran = sorted(int(n) for n in stage.record.starts() if n.isdecimal())
    waiting = waiting_numbers(stage)
    figures(
        exit=status,
        given_back=given_back,
        seconds_after_tasks=took,
        ran=len(ran),
        waiting=len(waiting),
    )
    assert status == 0
    assert took <= 3  # 8 s in all with tasks of 5 s
    assert ran == list(numbers)[:running]
    assert waiting == list(numbers)[running:]
    assert stage.record.lost(ran) == set()
    assert stage.held() == 0
    assert leases(stage) == 0
    stage.start("-P", pool, "-c", "2")
    stage.done(numbers)
    assert stage.record.duplicates() == 0


@full
def test_f11_sigterm_then_sigkill(stage: Stage, figures: Figures) -> None:
    """A long task keeps its lease to the end; the rest starts elsewhere at once."""
    numbers = range(10)
    worker = stage.start("-c", "2")
    stage.publish("late", numbers)
    stage.started(2)
    wait_until(lambda: stage.held() == 8, what="8 messages in flight")
    stage.start("-c", "10")
    stage.started(4)  # the two that nobody held
    worker.send(signal.SIGTERM)
    handed_over = stage.started(10, 3)
    time.sleep(PATIENCE - handed_over)
    assert worker.process.poll() is None
    assert stage.record.duplicates() == 0
    worker.kill_all()
    begun = time.monotonic()
    limit = PEAK + LEASE + 5
    stage.started(12, limit)
    again = time.monotonic() - begun
    stage.open_gate()
    stage.done(numbers)
    stage.settled()
    dup = stage.record.duplicates()
    figures(lost=0, dup=dup, handed_over=handed_over, again=again, limit=limit)
    assert dup == 2


@full
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_f12_sigterm_while_redis_is_silent(
    stage: Stage, fault_server: FaultServer, pool: str, figures: Figures
) -> None:
    """The worker does not wait for a server that does not answer; nothing is lost."""
    numbers = range(30)
    worker = busy(stage, pool, numbers)
    fault_server.pause()
    status, took = stop(worker, signal.SIGTERM)
    fault_server.resume()
    stage.open_gate()
    begun = time.monotonic()
    stage.start("-c", "2")
    stage.done(numbers, LEASE + 5)
    again = time.monotonic() - begun
    stage.settled()
    dup = stage.record.duplicates()
    figures(exit=status, seconds=took, lost=0, dup=dup, again=again)
    assert status == 69
    assert took <= 10
    assert dup <= 2


def sigint(worker: WorkerProcess, stage: Stage) -> None:
    """Ctrl-C: the running tasks may end."""
    worker.send(signal.SIGINT)
    wait_until(lambda: stage.held() <= 2, what="the others given back")
    stage.open_gate()


def sigquit(worker: WorkerProcess, stage: Stage) -> None:
    """At once: the running tasks are dropped."""
    worker.send(signal.SIGQUIT)


def sigterm_twice(worker: WorkerProcess, stage: Stage) -> None:
    """Kindly, and then not any more."""
    worker.send(signal.SIGTERM)
    worker.wait_for("worker_stopping")
    worker.send(signal.SIGTERM)


@pytest.mark.parametrize(
    ("how", "pool", "soft", "status", "dropped"),
    [
        pytest.param(sigint, "prefork", "0", 1, 0, id="sigint", marks=full),
        pytest.param(sigquit, "prefork", "0", 1, 2, id="sigquit"),
        pytest.param(sigterm_twice, "prefork", "0", 1, 2, id="sigterm-twice"),
        pytest.param(sigquit, "prefork", "2", 1, 2, id="soft-shutdown", marks=full),
        pytest.param(sigquit, "threads", "0", 1, 2, id="sigquit-threads", marks=full),
        pytest.param(
            sigterm_twice, "threads", "0", 1, 2, id="twice-threads", marks=full
        ),
        pytest.param(sigquit, "solo", "0", 1, 1, id="sigquit-solo", marks=full),
        pytest.param(sigterm_twice, "solo", "0", 1, 1, id="twice-solo", marks=full),
    ],
)
def test_f13_other_ways_to_stop(
    stage: Stage,
    how: Stop,
    pool: str,
    soft: str,
    status: int,
    dropped: int,
    figures: Figures,
) -> None:
    """Each ends the worker soon; what it dropped runs again, and nothing is lost."""
    numbers = range(20)
    worker = busy(stage, pool, numbers, FAULTY_SOFT=soft)
    begun = time.monotonic()
    how(worker, stage)
    found = worker.process.wait(20)
    took = time.monotonic() - begun
    held = stage.held()
    stage.open_gate()
    begun = time.monotonic()
    stage.start("-c", "2")
    stage.done(numbers, LEASE + 5)
    again = time.monotonic() - begun
    stage.settled()
    dup = stage.record.duplicates()
    attempts = max(run.attempt for run in stage.record.runs())
    figures(
        exit=found,
        seconds=took,
        left_in_flight=held,
        lost=0,
        dup=dup,
        again=again,
        attempts=attempts,
    )
    assert took <= 10
    assert dup == dropped
    assert found == status
    assert stage.dead() == []


@full
def test_f14_sigterm_while_messages_are_on_their_way(
    stage: Stage, proxy: FaultProxy, figures: Figures
) -> None:
    """The server has moved them, the answer is two seconds late: none is lost."""
    numbers = range(10)
    worker = stage.start("-c", "2", url=proxy.url, SMARTWORKER_QUIET_POLL=f"{DAY:g}s")
    proxy.line(down_delay=2.0)
    stage.publish("note", numbers)
    proxy.wait_for(lambda: proxy.counters.commands["LMOVE"])
    wait_until(stage.held, what="a message in flight")
    status, took = stop(worker, signal.SIGTERM, 30)
    held, ran = stage.held(), len(stage.record.runs())
    proxy.clear()
    stage.start("-c", "2")
    stage.done(numbers, LEASE + 5)
    stage.settled()
    dup = stage.record.duplicates()
    figures(exit=status, seconds=took, ran=ran, left_in_flight=held, lost=0, dup=dup)
    assert took <= 30
    # As late as a server may be: it may be taken for a silent one.
    assert status in (0, 69)
    assert dup == 0


@full
@pytest.mark.timeout(400)
def test_f18_killed_during_shutdown(stage: Stage, figures: Figures) -> None:
    """Each 50 ms after SIGTERM: nothing is lost, and at most one task ran twice."""
    kill_at(stage, range(POINTS), figures)


@full
def test_f18_killed_during_shutdown_at_some_points(
    stage: Stage, figures: Figures, seed: int
) -> None:
    """Three of the points, others in each run."""
    kill_at(stage, random.Random(seed).sample(range(POINTS // 2), 3), figures)


def kill_at(stage: Stage, points: Sequence[int], figures: Figures) -> None:
    """Kill a worker so many steps after SIGTERM, a new one for each point."""
    published: list[str] = []
    alive = 0
    for point in points:
        numbers = [f"{point}.{n}" for n in range(6)]
        published += numbers
        runs = len(stage.record.runs())
        worker = stage.start("-c", "1", **PATIENT)
        stage.publish("note", numbers, seconds=0.3)
        stage.started(runs + 1)
        begun = time.monotonic()
        worker.send(signal.SIGTERM)
        wait_for_point(begun, point)
        alive += worker.process.poll() is None
        worker.kill_all()
        assert stage.unreachable() == set()
    stage.start("-c", "4", **PATIENT)
    stage.done(published, LEASE + 5 + 0.3 * len(published) / 4)
    stage.settled()
    dup = stage.record.duplicates()
    worst = max(stage.record.killed_runs().values(), default=0)
    figures(points=len(points), alive=alive, lost=0, dup=dup, worst=worst)
    assert worst <= 1
    assert stage.dead() == []


def stop(worker: WorkerProcess, number: int, seconds: float = 20) -> tuple[int, float]:
    """Send a signal; returns the exit status and the seconds that it took."""
    begun = time.monotonic()
    worker.send(number)
    return worker.process.wait(seconds), time.monotonic() - begun


def leases(stage: Stage) -> int:
    """How many leases the server has on record."""
    return len(Leases(stage.client).read())


def waiting_numbers(stage: Stage) -> list[int]:
    """The tasks in the queue, the next one to be taken first."""
    bodies = [json.loads(raw)["headers"]["argsrepr"] for raw in stage.queue()]
    return [int(body.strip("(),")) for body in bodies]
