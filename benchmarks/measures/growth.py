"""How cost and time grow with workers, queues, backlog and payload.

Method. smartworker and Celery with default flags, each on servers of its own. Commands
are those that Upstash bills; smartworker's windows are closed, but for `queues`, where
it polls each 30 s (`smartworker-window`).

`workers`: commands per task with 1, 2, 5 and 10 workers on one queue, of the sender and
the workers together, results included. `burst` is 500 tasks sent one after the other
without a pause; `single` is 20 tasks (quick 10), each sent 0.2 s after the last has
run, so that all workers are idle and hear of it. Counting goes on for 2 s after the
last task; what the workers send in that time without any task, measured over 4 s
before, is taken off as `idle`. That is a little too much for Celery, where a BRPOP that
brings a task is not one that runs out.

`queues`: one worker that consumes 1, 7, 20 or 50 queues. `boot` is from its start until
5 s after it takes tasks, less those seconds' share of idling; `idle_per_minute` is
scaled from the 120 s that follow (quick 12 s).

`backlog`: milliseconds a task takes while 10 to 100,000 wait: of 500 tasks (quick 100),
the wall time between the first and the last begun, over their number, both processes of
the worker at work. The worker is warm and idle, then the whole backlog is there at once
(`benchmarks.lab.shelf`); its messages are copies of one that the peer's own client
sent, with ids of their own. A backlog of 10 is put there 50 times. The median of three
runs (quick one), and the two take turns.

`payload`: the same with a backlog that is run to its end, with payloads of 100 bytes to
1 MB: tasks per second, and the bytes a task puts through the server, to it and from it,
by its own count (`total_net_input_bytes`, `total_net_output_bytes`). What queued the
tasks is not in them. `message_bytes` is the message: JSON, with the payload in base64.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

import click

from benchmarks.lab.billing import Server
from benchmarks.lab.peers import Peer
from benchmarks.lab.processes import bench, sender
from benchmarks.lab.results import Plan
from benchmarks.lab.shelf import Drained, Shelf, shelf

PAIR = ("smartworker", "celery")
POLLING = ("smartworker-window", "celery")
BURST = 500
#: Seconds.
BOOT, LOOK, SETTLE, GAP = 5.0, 4.0, 2.0, 0.2
#: Cases that are counted at the same time: all.
MOST_AT_ONCE = 10


@dataclass(frozen=True)
class Steps:
    """What grows, and how far; payloads in bytes, each with its number of tasks."""

    workers: Sequence[int]
    queues: Sequence[int]
    idle_seconds: float
    backlogs: Sequence[int]
    payloads: Mapping[int, int]
    #: Tasks sent one by one; tasks of a backlog whose time is taken; runs of a timing.
    singles: int
    timed: int
    runs: int


FULL = Steps(
    workers=(1, 2, 5, 10),
    queues=(1, 7, 20, 50),
    idle_seconds=120.0,
    backlogs=(10, 1_000, 10_000, 100_000),
    payloads={100: 500, 10_000: 500, 100_000: 200, 1_000_000: 50},
    singles=20,
    timed=500,
    runs=3,
)
QUICK = Steps(
    workers=(1, 3),
    queues=(1, 50),
    idle_seconds=12.0,
    backlogs=(10, 10_000),
    payloads={100: 500, 100_000: 100},
    singles=10,
    timed=100,
    runs=1,
)


def measure(plan: Plan) -> dict[str, Any]:
    """Peer -> `workers`, `queues`, `backlog`, `payload` -> step -> numbers."""
    steps = QUICK if plan.quick else FULL
    found = plan.each(lambda _: {}, *dict.fromkeys(PAIR + POLLING))
    able = [name for name, numbers in found.items() if not numbers]
    pair = plan.pick(*(name for name in PAIR if name in able))
    polling = plan.pick(*(name for name in POLLING if name in able))
    # Counts do not depend on the load of the machine: all of them at the same time.
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        workers = {p.name: pool.submit(by_workers, p, steps) for p in pair}
        idle = {
            p.name: {str(n): pool.submit(idling, p, n, steps) for n in steps.queues}
            for p in polling
        }
        for name, case in workers.items():
            found[name]["workers"] = case.result()
        for name, cases in idle.items():
            found[name]["queues"] = {n: case.result() for n, case in cases.items()}
    with ExitStack() as stack:
        shelves = {p.name: stack.enter_context(shelf(p)) for p in pair}
        for kind, look in (("backlog", by_backlog), ("payload", by_payload)):
            for name, numbers in look(shelves, steps).items():
                found[name][kind] = numbers
    return found


def by_workers(peer: Peer, steps: Steps) -> dict[str, Any]:
    """Commands per task, in a burst and one by one, with each number of workers."""
    found: dict[str, Any] = {}
    with (
        Server() as server,
        bench(peer, server.url) as made,
        sender(made) as sends,
    ):

        def burst(count: int) -> None:
            before = made.ticks()
            sends.noop(count)
            made.wait_for_ticks(before + count)

        def singles(count: int) -> None:
            for _ in range(count):
                time.sleep(GAP)
                burst(1)

        for count in steps.workers:
            made.start(count - len(made.workers))
            time.sleep(SETTLE)
            server.billed()
            time.sleep(LOOK)
            idle = sum(server.billed().values()) / LOOK
            numbers = {
                "burst": _per_task(server, burst, BURST, idle),
                "single": _per_task(server, singles, steps.singles, idle),
            }
            found[str(count)] = numbers
            told = ", ".join(f"{k} {v['per_task']:.2f}" for k, v in numbers.items())
            click.echo(f"  {peer.title}, {count} worker(s), commands per task: {told}")
    return found


def _per_task(
    server: Server, act: Callable[[int], None], tasks: int, idle_per_second: float
) -> dict[str, Any]:
    begun = time.monotonic()
    act(tasks)
    time.sleep(SETTLE)
    idle = idle_per_second * (time.monotonic() - begun)
    commands = server.billed()
    return {
        "per_task": round((sum(commands.values()) - idle) / tasks, 3),
        "idle": round(idle),
        "by_command": commands,
    }


def idling(peer: Peer, queues: int, steps: Steps) -> dict[str, Any]:
    """Commands of a worker's boot and of its idle minute, with so many queues."""
    with Server() as server, bench(peer, server.url, queues=queues) as made:
        made.start()
        time.sleep(BOOT)
        boot = server.billed()
        time.sleep(steps.idle_seconds)
        idle = server.billed()
    per_second = sum(idle.values()) / steps.idle_seconds
    return {
        "boot": round(sum(boot.values()) - per_second * BOOT),
        "idle_per_minute": round(per_second * 60, 2),
        "boot_by_command": boot,
        "idle_by_command": idle,
    }


def by_backlog(shelves: Mapping[str, Shelf], steps: Steps) -> dict[str, Any]:
    """Milliseconds of a task with each length of the queue."""
    found: dict[str, Any] = {name: {} for name in shelves}
    for backlog in steps.backlogs:
        times = max(1, steps.timed // backlog)
        runs: dict[str, list[float]] = {name: [] for name in shelves}
        for _ in range(steps.runs):
            for name, each in shelves.items():
                drained = [each.drain(backlog, steps.timed) for _ in range(times)]
                seconds = sum(d.seconds for d in drained)
                runs[name].append(seconds * 1000 / sum(d.tasks for d in drained))
        for name, values in runs.items():
            found[name][str(backlog)] = {"ms_per_task": median(values), "runs": values}
            click.echo(f"  {name}, {backlog} waiting: {median(values):.2f} ms a task")
    return found


def by_payload(shelves: Mapping[str, Shelf], steps: Steps) -> dict[str, Any]:
    """Tasks per second and bytes of a task with each payload."""
    found: dict[str, Any] = {name: {} for name in shelves}
    for size, count in steps.payloads.items():
        runs: dict[str, list[Drained]] = {name: [] for name in shelves}
        for _ in range(steps.runs):
            for name, each in shelves.items():
                runs[name].append(each.drain(count, count, size))
        for name, drained in runs.items():
            rates = [d.tasks / d.seconds for d in drained]
            found[name][str(size)] = {
                "tasks_per_second": median(rates),
                "message_bytes": drained[0].message_bytes,
                "bytes_to_server": median(d.bytes_in / count for d in drained),
                "bytes_from_server": median(d.bytes_out / count for d in drained),
                "runs": rates,
            }
            click.echo(f"  {name}, {size} bytes: {median(rates):.0f} tasks a second")
    return found
