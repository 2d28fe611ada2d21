"""What one task costs in commands: its producer's and its worker's, and asking for it.

Method. One worker and one producer on a server of their own; commands are those that
Upstash bills (`benchmarks.lab.billing`), counted by the server. Ten first tasks open
all connections and are not counted. Then, in this order:

`burst`: the worker's processes are stopped (SIGSTOP) while 500 no-op tasks are queued
by 500 calls: what the server counts meanwhile is the producer's. They go on, and what
is counted until 2 s after the last task has run is the worker's, so that
acknowledgements and results are in. A blocking read of more than a second that was
outstanding while they stood still is among the producer's: one command in 500 tasks.

`group`: the same with 500 tasks in one call, where the peer has such a call, and with
another 500 single calls where it has none.

`single`: 100 tasks, each queued when the one before has run; nobody asks for results.
A producer's call is the same as in the burst, and it cannot be told apart while the
worker runs, so `producer` is that of the burst and `worker` the rest.

`idle`: 20 s in which nothing is queued. Its rate times the seconds that the worker
ran is taken off `worker` and `per_task`; `raw` is what was counted. That is a little
too much where a worker that has work asks less often, as with a BRPOP that brings a
task. In smartworker's raw numbers HSET is the row that adds up the month's commands:
one each 90 commands.

All of this with results and without (`results`, `no_results`), and with results while
ten workers consume the same queue (`ten_workers`: smartworker and Celery). Benches run
at the same time, for load changes how long this takes and not its counts; but where
ten workers run for one task, who comes too late is a matter of time, so each of these
runs alone.

Status (the same two): a task that sleeps runs, and its state is asked for 20 times
(`AsyncResult.state` in the producer) while the worker stands still; somebody who asks
each 2 s for 5 minutes asks 150 times. Against it `GET /api/tasks/{id}?wait=` of a real
`smartworker web`: a task of 30 s is watched by waits of 10 s, one after the other,
until one tells its end. The first, each in between and the last are counted by
themselves; from the last is taken off what the end of the same task costs that nobody
watches. 5 minutes are 12 waits of 25 s: first and last, and ten in between.

A quick run has fewer and shorter tasks, no ten workers, `no_results` of the same two
alone, and leaves out peers that differ from another in their polls only.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import click

from benchmarks.lab.billing import Server
from benchmarks.lab.peers import Peer
from benchmarks.lab.processes import Bench, Sender, bench, sender
from benchmarks.lab.results import Plan
from benchmarks.lab.standstill import standstill
from benchmarks.lab.status import long_poll, polling

#: Seconds after the last task in which its last commands are sent.
SETTLE = 2.0
#: Seconds in which what a producer does not wait for has arrived.
SENT = 0.5
#: Seconds that 500 tasks may take: arq takes two each half second.
PATIENCE = 400.0
MANY_WORKERS = 10
#: Who is measured with many workers, and asked for the state of a task.
PAIR = ("smartworker", "celery")
#: Polls of an idle worker change nothing here.
SAME_AS_ANOTHER = ("smartworker-window", "celery-frugal-30", "celery-frugal-1800")
PEERS_AT_ONCE = 6
#: Tasks for each worker before anything is counted.
FIRST = 10


@dataclass(frozen=True)
class Size:
    """How many tasks, and how many seconds of idling."""

    burst: int = 500
    single: int = 100
    idle: float = 20.0
    #: Of the task that is watched, and of one wait for it.
    watched: float = 30.0
    wait: float = 10.0


QUICK = Size(burst=20, single=5, idle=3.0, watched=7.0, wait=1.5)


def measure(plan: Plan) -> dict[str, Any]:
    """Peer -> `results`, `no_results`, `ten_workers` (see `cost`), `status`.

    `status` has `question`, the commands of one, and `five_minutes` of such questions;
    with smartworker also `long_poll` (see `benchmarks.lab.status`).
    """
    if plan.quick:
        peers = tuple(p for p in plan.peers if p.name not in SAME_AS_ANOTHER)
        rough = replace(plan, peers=peers)
        return rough.each(partial(_peer, size=QUICK), at_once=max(len(peers), 1))
    size = Size()
    found = plan.each(partial(_peer, size=size), at_once=PEERS_AT_ONCE)
    ten = plan.each(partial(cost, size=size, workers=MANY_WORKERS), *PAIR)
    for name, costs in ten.items():
        found[name]["ten_workers"] = costs
    return found


def cost(
    peer: Peer, size: Size, *, workers: int = 1, results: bool = True
) -> dict[str, Any]:
    """`idle`, and `burst`, `group`, `single`, each with its commands per task.

    These have `per_task`, `producer` and `worker` without the idle share, the number
    of `tasks`, the worker's `seconds`, and `raw`: what was counted, by command.
    """
    with Server() as server, bench(peer, server.url, results=results) as made:
        made.start(workers)
        with sender(made) as producer:
            producer.noop(FIRST * workers)
            made.wait_for_ticks(FIRST * workers)
            time.sleep(2 * SETTLE)
            counts = {
                "burst": _burst(server, made, producer, size.burst),
                "group": _burst(server, made, producer, size.burst, group=True),
                "single": _single(server, made, producer, size.single),
            }
            idle = _idle(server, size.idle)
    calls = counts["burst"].producers()
    counted = {name: c.told(idle["per_second"], calls) for name, c in counts.items()}
    return {"idle": idle, **counted}


@dataclass(frozen=True)
class Count:
    """What some tasks cost; `producer` is None where it cannot be told apart."""

    tasks: int
    producer: Mapping[str, int] | None
    rest: Mapping[str, int]
    #: That the worker ran.
    seconds: float

    def producers(self) -> float:
        """The producer's commands for each task."""
        return sum((self.producer or {}).values()) / self.tasks

    def told(self, idle_per_second: float, calls: float) -> dict[str, Any]:
        """For the file; `calls` is what a producer's call costs by itself."""
        rest = sum(self.rest.values()) - idle_per_second * self.seconds
        own = self.producers() if self.producer is not None else calls
        worker = rest / self.tasks - (own if self.producer is None else 0.0)
        return {
            "per_task": round(own + worker, 3),
            "producer": round(own, 3),
            "worker": round(worker, 3),
            "tasks": self.tasks,
            "seconds": round(self.seconds, 1),
            "raw": dict((Counter(self.producer) + Counter(self.rest)).most_common()),
        }


def _peer(peer: Peer, size: Size) -> dict[str, Any]:
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "results": partial(cost, peer, size)
    }
    if size is not QUICK or peer.name in PAIR:
        parts["no_results"] = partial(cost, peer, size, results=False)
    if peer.name in PAIR:
        parts["status"] = partial(_status, peer, size)
    with ThreadPoolExecutor(len(parts)) as pool:
        pending = {name: pool.submit(part) for name, part in parts.items()}
        found = {name: part.result() for name, part in pending.items()}
    each = found["results"]["single"]["per_task"]
    click.echo(f"{peer.title}: {each:.2f} commands a task")
    return found


def _status(peer: Peer, size: Size) -> dict[str, Any]:
    found = polling(peer)
    if peer.name == "smartworker":
        found["long_poll"] = long_poll(peer, size.watched, size.wait)
    return found


def _burst(
    server: Server, made: Bench, producer: Sender, count: int, *, group: bool = False
) -> Count:
    done = made.ticks()
    with standstill(made):
        server.billed()
        producer.noop(count, group=group)
        time.sleep(SENT)
        sent = server.billed()
    begun = time.monotonic()
    made.wait_for_ticks(done + count, PATIENCE)
    time.sleep(SETTLE)
    return Count(count, sent, server.billed(), time.monotonic() - begun)


def _single(server: Server, made: Bench, producer: Sender, count: int) -> Count:
    done, begun = made.ticks(), time.monotonic()
    server.billed()
    for number in range(1, count + 1):
        producer.noop()
        made.wait_for_ticks(done + number)
    time.sleep(SETTLE)
    return Count(count, None, server.billed(), time.monotonic() - begun)


def _idle(server: Server, seconds: float) -> dict[str, Any]:
    server.billed()
    begun = time.monotonic()
    time.sleep(seconds)
    commands, passed = server.billed(), time.monotonic() - begun
    rate = sum(commands.values()) / passed
    return {"commands": commands, "seconds": passed, "per_second": round(rate, 3)}
