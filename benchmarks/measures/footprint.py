"""What a worker takes while it does nothing, what it keeps, how fast it is there.

Method. Every peer has its own server and one worker with places for 2 tasks at a
time: of the Celery apps the default pool, prefork, with 2 processes, so 3 in all; of
others what their command line in `benchmarks.lab.peers` says. `smartworker-command` is
the same app under `smartworker worker`, the command of the Procfile.

`start_up_seconds`: from the start of the process to the first task done, which waits
in the queue; the median of 3. Python's start and the imports are in it (about 0.02 s
are the lab's own), byte code is compiled before.

`idle_bytes`: the proportional set size (Linux `smaps_rollup`) of all its processes,
10 s after it takes tasks, while no other peer runs: programs that run at once share
pages, and each would be charged less. `used_bytes`: the same after 10,000 no-op tasks
with results, sent one by one (RQ 1,000, arq 250).

`idle_cpu_seconds_per_hour`: processor seconds of all its processes over 180 idle
seconds, times 20, by the kernel's nanosecond clock of each process; all peers idle side
by side here, since together they use a few per cent of one core.

A quick run starts each once, watches all side by side, and shorter: 3 s to the
memory, then 8 s of processor time, then 500 tasks.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import click

from benchmarks.lab.billing import Server
from benchmarks.lab.peers import PEERS, Peer
from benchmarks.lab.processes import Bench, bench, sender
from benchmarks.lab.results import Plan

HOUR = 3600.0
#: Seconds in which the tasks are done, or the peer counts as broken.
PATIENCE = 120.0
#: They do a fraction of the tasks: RQ forks for each, arq fetches two in half a second.
SLOW = {"rq": 10, "arq": 40}
#: Left out of a quick run: those that differ from another in their intervals alone, and
#: celery-redis-plus, which takes what waits at its start only after 10 s.
FULL_ONLY = (
    "smartworker-window",
    "celery-frugal-30",
    "celery-frugal-1800",
    "celery-redis-plus",
)

_OURS = ("-m", "smartworker.cli.main", "worker", "-A", "app", "--loglevel", "info")
COMMAND = replace(
    PEERS["smartworker"],
    name="smartworker-command",
    title="smartworker worker",
    worker=(*_OURS, "-n", "{name}@bench", "-Q", "{queues}", "-c", "{concurrency}"),
)


@dataclass(frozen=True)
class Watch:
    """How long workers are watched: seconds, and tasks; 0 leaves a part out."""

    settle: float
    window: float
    tasks: int


QUICK = Watch(3.0, 8.0, 500)
MEMORY = Watch(10.0, 0.0, 10_000)
PROCESSOR = Watch(30.0, 180.0, 0)


def measure(plan: Plan) -> dict[str, Any]:
    """Peer -> the figures above, in bytes and seconds, and `start_ups`, `processes`."""
    peers = [p for p in plan.peers if not plan.quick or p.name not in FULL_ONLY]
    if PEERS["smartworker"] in peers:
        peers.append(COMMAND)
    plan = replace(plan, peers=tuple(peers))
    found = plan.each(lambda peer: _start_up(peer, 1 if plan.quick else 3))
    able = [peer for peer in peers if "unavailable" not in found[peer.name]]
    if plan.quick:
        groups = [(able, QUICK)]
    else:
        groups = [*(([peer], MEMORY) for peer in able), (able, PROCESSOR)]
    for group, how in groups:
        for name, numbers in _watch(group, how).items():
            found[name].update(numbers)
            click.echo(f"footprint: {name} {numbers}")
    return found


def _start_up(peer: Peer, times: int) -> dict[str, Any]:
    seconds = [_first_task(peer) for _ in range(times)]
    click.echo(f"footprint: {peer.name} starts in {median(seconds):.2f} s")
    return {
        "start_up_seconds": round(median(seconds), 3),
        "start_ups": [round(each, 3) for each in seconds],
    }


def _first_task(peer: Peer) -> float:
    with Server() as server, bench(peer, server.url) as made:
        with sender(made) as hand:
            hand.noop()
        worker = made.start_worker()
        made.wait_for_ticks(1)
        seconds = time.monotonic() - worker.begun
        worker.stop(0)
    return seconds


def _watch(peers: Sequence[Peer], how: Watch) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {peer.name: {} for peer in peers}
    with ExitStack() as stack:
        running = [_running(peer, stack) for peer in peers]
        for made in running:
            made.wait_until(made.workers[0].is_up, "the worker")
        time.sleep(how.settle)
        if how.tasks:
            for made in running:
                found[made.peer.name] |= _idle_memory(made)
        if how.window:
            for name, seconds in _processor(running, how.window).items():
                found[name]["idle_cpu_seconds_per_hour"] = round(seconds, 3)
        if how.tasks:
            for made in running:
                found[made.peer.name] |= _used_memory(made, how.tasks)
        for made in running:
            made.workers[0].stop(0)
    return found


def _running(peer: Peer, stack: ExitStack) -> Bench:
    server = stack.enter_context(Server())
    made = stack.enter_context(bench(peer, server.url))
    made.start_worker()
    return made


def _processor(running: Sequence[Bench], window: float) -> dict[str, float]:
    before = [made.workers[0].cpu() for made in running]
    begun = time.monotonic()
    time.sleep(window)
    scale = HOUR / (time.monotonic() - begun)
    return {
        made.peer.name: (made.workers[0].cpu() - used) * scale
        for made, used in zip(running, before, strict=True)
    }


def _idle_memory(made: Bench) -> dict[str, int]:
    worker = made.workers[0]
    return {"idle_bytes": worker.pss(), "processes": len(worker.pids())}


def _used_memory(made: Bench, tasks: int) -> dict[str, int]:
    tasks //= SLOW.get(made.peer.name, 1)
    # A sender shares pages with the worker: it must be gone before they are counted.
    with sender(made) as hand:
        hand.noop(tasks)
        made.wait_for_ticks(tasks, PATIENCE)
    return {"used_bytes": made.workers[0].pss(), "tasks": tasks}
