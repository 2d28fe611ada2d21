"""Rows F01 to F08: processes that are killed or stopped, whatever they were doing."""

import os
import signal
import time

import pytest
import redis

from smartworker.store.leases import Leases
from smartworker.store.meter import is_billed
from smartworker.testing import commandstats
from tests.faults.conftest import Figures
from tests.faults.habits import CONCURRENCY, HELD, full
from tests.faults.stage import LEASE, PEAK, Stage
from tests.processes import WorkerProcess, wait_until

#: Seconds after the next start within which everything runs again.
AGAIN = LEASE + 5

FULL_POOLS = [
    "prefork",
    pytest.param("threads", marks=full),
    pytest.param("solo", marks=full),
]


def pool_options(pool: str) -> tuple[str, ...]:
    """A worker with this pool."""
    return ("-P", pool, "-c", str(CONCURRENCY))


def running_of(pool: str) -> int:
    """How many tasks it runs at a time."""
    return 1 if pool == "solo" else CONCURRENCY


@pytest.mark.parametrize("pool", FULL_POOLS)
def test_f01_idle_worker_is_killed(stage: Stage, pool: str, figures: Figures) -> None:
    """Nothing is lost or run twice; the next start is cheap and runs a task at once."""
    first = stage.start(*pool_options(pool), SMARTWORKER_QUIET_POLL="30m")
    stage.publish("note", range(20))
    stage.done(range(20))
    stage.settled()
    first.send(signal.SIGKILL)
    first.process.wait(10)
    stage.publish("note", range(20, 25))
    before = billed(stage.client)
    leases = commandstats(stage.client).get("zadd", 0)
    begun = time.monotonic()
    stage.start(*pool_options(pool), SMARTWORKER_QUIET_POLL="30m")
    boot = time.monotonic() - begun
    resume = stage.done(range(25))
    stage.settled()
    # LMOVE, SET and LREM of the five tasks, and the lease that they are held under.
    held = commandstats(stage.client).get("zadd", 0) - leases
    cost = billed(stage.client) - before - 3 * 5 - held
    dup = stage.record.duplicates()
    figures(lost=0, dup=dup, boot=boot, resume=resume, start_commands=cost)
    assert stage.record.duplicates() == 0
    assert resume <= 2
    assert cost <= 15


@pytest.mark.parametrize("pool", FULL_POOLS)
def test_f02_group_is_killed_with_late_tasks(
    stage: Stage, pool: str, figures: Figures
) -> None:
    """Running and prefetched messages run again a lease after the next start."""
    done, numbers = [f"done{n}" for n in range(3)], range(100)
    stage.publish("quiet", done)
    stage.publish("late", numbers)
    worker = stage.spawn(*pool_options(pool))
    stage.started(len(done) + running_of(pool))
    time.sleep(0.2)  # what is done is acknowledged by now, or never will be
    held = stage.held()
    worker.kill_all()
    stage.open_gate()
    assert stage.unreachable() == set()
    begun = time.monotonic()
    stage.start(*pool_options(pool))
    stage.done(numbers, AGAIN)
    took = time.monotonic() - begun
    stage.settled()
    dup = stage.record.duplicates()
    figures(held=held, lost=0, dup=dup, again=took, limit=AGAIN)
    assert held >= running_of(pool)
    assert dup <= running_of(pool)
    assert took <= AGAIN


@full
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_f02_a_peer_takes_over(stage: Stage, pool: str, figures: Figures) -> None:
    """Nobody starts anew: a living worker finds the dead one's messages."""
    peer = stage.start(*pool_options(pool))
    worker = stage.start(*pool_options(pool))
    numbers = range(100)
    stage.publish("late", numbers)
    stage.started(2 * running_of(pool))
    worker.kill_all()
    begun = time.monotonic()
    stage.open_gate()
    limit = PEAK + AGAIN
    stage.done(numbers, limit)
    took = time.monotonic() - begun
    stage.settled()
    dup = stage.record.duplicates()
    figures(lost=0, dup=dup, again=took, limit=limit)
    assert dup <= running_of(pool)
    assert peer.events("messages_rescued")


@full
def test_f03_group_is_killed_with_early_tasks(stage: Stage, figures: Figures) -> None:
    """Only what had started is lost, for it was acknowledged; no prefetched one is."""
    numbers = range(100)
    worker = stage.start(*pool_options("prefork"))
    stage.publish("early", numbers)
    stage.started(CONCURRENCY)
    # The acknowledgements of the four are out: they are all that the list is short of.
    wait_until(lambda: stage.held() <= HELD and stage.held(), what="messages in flight")
    worker.kill_all()
    started = set(stage.record.starts())
    stage.open_gate()
    begun = time.monotonic()
    stage.start(*pool_options("prefork"))
    kept = set(map(str, numbers)) - started
    stage.done(kept, AGAIN)
    took = time.monotonic() - begun
    stage.settled()
    lost = stage.record.lost(numbers)
    figures(lost=len(lost), of=len(started), prefetched_lost=0, again=took)
    assert lost <= started
    assert len(started) <= CONCURRENCY
    assert stage.record.duplicates() <= CONCURRENCY


def test_f04_pool_child_is_killed(stage: Stage, figures: Figures) -> None:
    """Its task runs again at once, as the second attempt; the others do not notice."""
    numbers = range(20)
    stage.start(*pool_options("prefork"))
    stage.publish("late", numbers)
    stage.started(CONCURRENCY)
    victim = stage.record.runs()[0]
    os.kill(victim.pid, signal.SIGKILL)
    begun = time.monotonic()
    stage.open_gate()
    stage.done(numbers, 15)
    took = time.monotonic() - begun
    stage.settled()
    runs = [run for run in stage.record.runs() if run.number == victim.number]
    attempts = [run.attempt for run in runs]
    figures(lost=0, dup=stage.record.duplicates(), again=took, attempts=attempts)
    assert attempts == [1, 2]
    assert stage.record.duplicates() == 1
    assert took <= 15


def test_f05_poison_dies_after_three_attempts(stage: Stage, figures: Figures) -> None:
    """A task that kills its process each time ends in the dead letters, alone."""
    numbers = range(40)
    worker = stage.start(*pool_options("prefork"), SMARTWORKER_MAX_DELIVERIES="3")
    stage.publish("note", numbers[:20], seconds=0.05)
    stage.publish("fatal", ["poison"])
    stage.publish("note", numbers[20:], seconds=0.05)
    stage.done(numbers, 30)
    wait_until(stage.dead, 30, "a dead letter")
    stage.settled()
    (letter,) = stage.dead()
    attempts = stage.record.starts()["poison"]
    figures(attempts=attempts, dead=1, lost=0, dup=stage.record.duplicates() - 2)
    assert attempts == 3
    assert (letter.facts.reason, letter.facts.attempts) == ("max_deliveries", 3)
    assert stage.record.duplicates() == 2  # the other two of the poison
    assert worker.process.poll() is None


@full
def test_f05_a_task_eats_memory(stage: Stage, figures: Figures) -> None:
    """Its process may have no more: the task fails, and the pool goes on working."""
    numbers = range(20)
    worker = stage.start("-c", "1")
    stage.publish("note", numbers[:10])
    stage.publish("eat", ["glutton"])
    stage.publish("note", numbers[10:])
    stage.done(numbers, 30)
    stage.settled()
    attempts = stage.record.starts()["glutton"]
    figures(attempts=attempts, dead=len(stage.dead()), lost=0)
    assert attempts == 1
    assert worker.process.poll() is None


@pytest.mark.parametrize("pool", FULL_POOLS)
def test_f05_errors_that_end_other_workers(
    stage: Stage, pool: str, figures: Figures
) -> None:
    """Whatever a task raises is its own affair, in every pool: no message is stuck."""
    numbers = range(20)
    worker = stage.start("-P", pool, "-c", "2", SMARTWORKER_MAX_DELIVERIES="3")
    stage.publish("note", numbers[:10])
    stage.publish("short", ["glutton"])
    stage.publish("leave", ["leaver"])
    stage.publish("note", numbers[10:])
    stage.done(numbers, 30)
    wait_until(stage.dead, 30, "a dead letter")
    stage.settled()
    starts = stage.record.starts()
    figures(memory_error=starts["glutton"], system_exit=starts["leaver"], dead=1)
    assert (starts["glutton"], starts["leaver"]) == (1, 3)
    assert [letter.facts.attempts for letter in stage.dead()] == [3]
    assert worker.process.poll() is None


def test_f07_main_process_is_stopped_for_half_a_lease(
    stage: Stage, figures: Figures
) -> None:
    """A worker that sleeps for less than its lease keeps what it holds."""
    numbers = range(60)
    worker = stage.start(*pool_options("prefork"))
    stage.publish("late", numbers)
    stage.started(CONCURRENCY)
    peer = stage.start(*pool_options("prefork"))
    stage.started(2 * CONCURRENCY)
    worker.send(signal.SIGSTOP)
    time.sleep(LEASE / 2)
    worker.send(signal.SIGCONT)
    stage.open_gate()
    stage.done(numbers)
    stage.settled()
    dup = stage.record.duplicates()
    figures(lost=0, dup=dup, rescued=len(peer.events("messages_rescued")))
    assert dup == 0
    assert not peer.events("messages_rescued")


@full
def test_f08_main_process_is_stopped_for_two_leases(
    stage: Stage, figures: Figures
) -> None:
    """A peer takes what it held; what runs twice is at most that, and it is said."""
    numbers = range(HELD)
    worker = stage.start(*pool_options("prefork"))
    stage.publish("late", numbers)
    stage.started(CONCURRENCY)
    wait_until(lambda: stage.held() == HELD, what="all in flight")
    peer = stage.start("-P", "threads", "-c", str(HELD))
    worker.send(signal.SIGSTOP)
    begun = time.monotonic()
    peer.wait_for("messages_rescued", seconds=LEASE + 3)
    stage.started(CONCURRENCY + HELD)
    time.sleep(max(2 * LEASE - (time.monotonic() - begun), 0))
    worker.send(signal.SIGCONT)
    stage.open_gate()
    stage.done(numbers)
    stage.settled()
    wait_until(
        lambda: lost_lines(worker) >= stage.record.duplicates(), what="as many lines"
    )
    dup = stage.record.duplicates()
    figures(lost=0, dup=dup, held=HELD, lease_lost_lines=lost_lines(worker))
    assert dup <= HELD
    assert lost_lines(worker) == dup
    leases = Leases(stage.client)
    wait_until(lambda: not leases.read(), LEASE + 2, "no lease of idle workers")


def lost_lines(worker: WorkerProcess) -> int:
    """How often a worker said that a finished message was not its own any more."""
    return len(worker.events("delivery_lost"))


def billed(client: redis.Redis) -> int:
    """How many commands the server has counted that Upstash would bill, but ours."""
    counts = commandstats(client).items()
    ours = {"keys", "llen"}
    return sum(count for name, count in counts if is_billed(name) and name not in ours)
