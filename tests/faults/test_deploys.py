"""Rows F15 to F17: two releases at once, and workers that die before they are ready."""

import random
import signal
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from tests.faults.conftest import Figures
from tests.faults.habits import full
from tests.faults.moments import PATIENT, POINTS, wait_for_point
from tests.faults.stage import LEASE, Stage
from tests.faults.test_processes_killed import billed
from tests.processes import wait_until


class Flow:
    """Publishes one message after another, evenly, while a test does other things."""

    def __init__(
        self, publish: Callable[[int], object], count: int, rate: float
    ) -> None:
        self.numbers = range(count)
        self._publish = publish
        self._pause = 1 / rate
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Flow":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        for number in self.numbers:
            self._publish(number)
            due += self._pause
            time.sleep(max(due - time.monotonic(), 0))


def overlap(
    stage: Stage,
    figures: Figures,
    count: int,
    both: float,
    patience: float,
    after: float,
) -> None:
    """A deploy: the new one comes, both work, the old one stops, and is killed."""
    rate = count / (both + after)
    old = stage.start("-c", "2")
    with Flow(lambda n: stage.project.note.delay(n, 0.01), count, rate) as flow:
        new = stage.start("-c", "2")
        time.sleep(both)
        old.send(signal.SIGTERM)
        stopped = wait_until(lambda: old.process.poll() is not None, patience, "gone")
        old.kill_all()
    stage.done(flow.numbers)
    stage.settled()
    dup = stage.record.duplicates()
    shares = [len(worker.events("task_finished")) for worker in (old, new)]
    figures(lost=0, dup=dup, of=count, stopped=stopped, shares=shares)
    assert dup == 0
    assert min(shares) > 0
    assert old.process.returncode == 0


def test_f15_deploy_overlap(stage: Stage, figures: Figures) -> None:
    """Messages flow through an overlap of 3 s: each is done once."""
    overlap(stage, figures, count=300, both=3, patience=10, after=3)


@full
def test_f15_long_deploy_overlap(stage: Stage, figures: Figures) -> None:
    """2,000 of them, and 20 s."""
    overlap(stage, figures, count=2000, both=20, patience=30, after=10)


@full
def test_f15_two_idle_workers_cost_twice_as_much(
    stage: Stage, figures: Figures
) -> None:
    """Idle commands in 20 polls: one worker's, and at most twice that of two."""
    polls, interval = 20, 1
    counts = []
    for _ in range(2):
        stage.start("-P", "threads", "-c", "2", SMARTWORKER_QUIET_POLL=f"{interval}s")
        time.sleep(2)  # the look after the first one is up to 1.5 intervals later
        before = billed(stage.client)
        time.sleep(polls * interval)
        counts.append(billed(stage.client) - before)
    figures(one=counts[0], two=counts[1], polls=polls)
    # Where the stretch begins and ends between two polls decides about one of them.
    assert counts[0] <= polls + 1
    assert counts[1] <= 2 * (polls + 1)


def test_f16_task_unknown_to_the_old_release(stage: Stage, figures: Figures) -> None:
    """The old release gives back what it does not know, and the new one does it."""
    numbers = range(20)
    old = stage.start("-c", "2", FAULTY_RELEASE="old")
    stage.publish("novel", numbers[:10])
    old.wait_for("message_held_back")
    begun = time.monotonic()
    stage.start("-c", "2")
    stage.publish("novel", numbers[10:])
    stage.publish("note", ["known"])
    stage.done([*numbers, "known"], 30)
    took = time.monotonic() - begun
    stage.settled()
    held_back = len(old.events("message_held_back"))
    dup = stage.record.duplicates()
    figures(discarded=0, dup=dup, seconds=took, held_back=held_back)
    assert dup == 0
    assert stage.dead() == []
    assert took <= 30


@full
@pytest.mark.timeout(400)
def test_f17_killed_during_start(stage: Stage, figures: Figures) -> None:
    """Each 50 ms after exec, with a full queue: no message is lost or out of reach."""
    kill_at(stage, range(POINTS), figures)


def test_f17_killed_during_start_at_some_points(
    stage: Stage, figures: Figures, seed: int
) -> None:
    """Four points around the moment when workers become ready, others in each run."""
    kill_at(stage, random.Random(seed).sample(range(6, 16), 4), figures)


def kill_at(stage: Stage, points: Sequence[int], figures: Figures) -> None:
    """Kill a worker so many steps after its start, a new one for each point."""
    published: list[str] = []
    ready = 0  # where it had said so when it was killed
    for point in points:
        numbers = [f"{point}.{n}" for n in range(12)]
        published += numbers
        stage.publish("note", numbers, seconds=0.05)
        begun = time.monotonic()
        worker = stage.spawn("-c", "2", **PATIENT)
        wait_for_point(begun, point)
        worker.kill_all()
        ready += bool(worker.events("worker_ready"))
        assert stage.unreachable() == set()
    stage.start("-c", "4", **PATIENT)
    stage.done(published, LEASE + 5 + 0.05 * len(published))
    stage.settled()
    assert stage.dead() == []
    dup = stage.record.duplicates()
    worst = max(stage.record.killed_runs().values(), default=0)
    figures(points=len(points), ready=ready, lost=0, dup=dup, worst=worst)
    # Of each process: the run that it was in, and the one that had ended just before,
    # whose acknowledgement may wait for this one for as long as such a run takes.
    assert worst <= 2
