"""How fast a backlog of no-op tasks is worked off, and at what cost in processor time.

Method. A fresh server gets the whole backlog while no worker runs
(`benchmarks.lab.backlog`); then one worker starts that runs 2 tasks at a time and logs
into a file at its default level: Celery apps in 2 processes (prefork), others as their
command line in `benchmarks.lab.peers` says. The clock runs from the first task seen
done to the last, so start-up is not in it; tasks note themselves in a file, which costs
2 microseconds and no command. Processor seconds are those of all the worker's processes
over the same time, ended ones included; server and link are not counted. A peer that
has not finished after 60 s is rated by what it did until then.

All Celery apps, smartworker's and celery-redis-plus' among them, run the same task
functions on the same version of Celery, with its default prefetch multiplier (4) and in
the same acknowledgement mode: late, which is smartworker's default, in all series but
`early`, which is Celery's. Other peers keep their own. smartworker and Celery run three
times, in turn, so that a change of the machine's speed meets both, and the median
counts; the others run once.

Series: `plain` (20,000 tasks with results, all peers; RQ and arq 2,000), `no-results`,
`early`, `link` (600 tasks, 20 ms of round trip between worker and server, on the
worker's way only; 20,000 would take Celery a quarter of an hour, and the rate is steady
after the first dozen), `1KB` and `100KB` (2,000 tasks with payloads of that size). In
all but `plain` only these two run. A quick run does fewer tasks, once, in three series.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import click

from benchmarks.lab.backlog import fill
from benchmarks.lab.billing import Server
from benchmarks.lab.link import Link
from benchmarks.lab.peers import Peer
from benchmarks.lab.processes import Bench, bench, sender
from benchmarks.lab.results import Plan

ROUND_TRIP = 0.02
REPETITIONS = 3
#: Seconds after which a run ends unfinished: (full, quick).
PATIENCE = 60.0, 3.0
LOOK_SECONDS = 0.005
#: Their backlog is a tenth: RQ forks for each task, arq fetches two in half a second.
SLOW = ("rq", "arq")
PAIR = ("smartworker", "celery")
#: Left out of a quick run; celery-redis-plus takes what waits only after 10 s.
FULL_ONLY = ("celery-frugal-30", "celery-redis-plus")
#: A busy worker does not poll, so another interval changes nothing here.
SAME_AS_ANOTHER = ("smartworker-window", "celery-frugal-1800")


@dataclass(frozen=True)
class Series:
    """One kind of backlog; `quick` is its size in a quick run, 0 for none."""

    name: str
    count: int
    quick: int = 0
    size: int = 0
    results: bool = True
    acks_late: bool = True
    round_trip: float = 0.0


SERIES = (
    Series("plain", 20_000, 2_000),
    Series("no-results", 20_000, results=False),
    Series("early", 20_000, acks_late=False),
    Series("link", 600, 100, round_trip=ROUND_TRIP),
    Series("1KB", 2_000, size=1_000),
    Series("100KB", 2_000, 200, size=100_000),
)


def measure(plan: Plan) -> dict[str, Any]:
    """Peer -> series -> `tasks_per_second`, `cpu_seconds_per_1000`, `runs`.

    The first two are medians.
    """
    left_out = (*SAME_AS_ANOTHER, *(FULL_ONLY if plan.quick else ()))
    peers = tuple(peer for peer in plan.peers if peer.name not in left_out)
    found = replace(plan, peers=peers).each(lambda _: {})
    able = [peer for peer in peers if not found[peer.name]]
    for series in SERIES:
        if series.quick or not plan.quick:
            for name, numbers in _series(series, able, plan.quick).items():
                found[name][series.name] = numbers
    return found


def _series(
    series: Series, able: Sequence[Peer], quick: bool
) -> dict[str, dict[str, Any]]:
    peers = [p for p in able if series.name == "plain" or p.name in PAIR]
    runs: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers}
    for turn in range(1 if quick else REPETITIONS):
        for peer in [p for p in peers if not turn or p.name in PAIR]:
            runs[peer.name].append(_run(series, peer, quick))
    found = {name: _medians(of_peer) for name, of_peer in runs.items()}
    for name, numbers in found.items():
        rate = numbers["tasks_per_second"]
        click.echo(f"throughput {series.name}: {name} {rate:.0f} tasks/s")
    return found


def _medians(runs: list[dict[str, float]]) -> dict[str, Any]:
    names = "tasks_per_second", "cpu_seconds_per_1000"
    return {
        **{name: round(median(run[name] for run in runs), 4) for name in names},
        "runs": runs,
    }


def _run(series: Series, peer: Peer, quick: bool) -> dict[str, float]:
    count = series.quick if quick else series.count
    if peer.name in SLOW:
        count //= 10
    late = {"BENCH_ACKS_LATE": str(int(series.acks_late))}
    peer = replace(peer, settings={**peer.settings, **late})
    with (
        Server() as server,
        bench(peer, server.url, results=series.results) as made,
        _way(server, series.round_trip) as url,
    ):
        with sender(made) as hand:
            fill(hand, server.client, count, series.size)
        return _drain(made, url, count, PATIENCE[quick])


@contextmanager
def _way(server: Server, round_trip: float) -> Iterator[str]:
    if not round_trip:
        yield server.url
        return
    with Link(server.port, round_trip) as link:
        yield link.url


def _drain(made: Bench, url: str, count: int, patience: float) -> dict[str, float]:
    worker = made.start_worker(url)
    made.wait_for_ticks(1)
    first, used, begun = made.ticks(), worker.cpu(), time.monotonic()
    while made.ticks() < count and time.monotonic() < begun + patience:
        time.sleep(LOOK_SECONDS)
    seconds, done = time.monotonic() - begun, made.ticks() - first
    used = worker.cpu() - used
    worker.stop(0)
    return {
        "tasks": done,
        "seconds": round(seconds, 3),
        "tasks_per_second": round(done / seconds, 2),
        "cpu_seconds_per_1000": round(used / done * 1000, 4),
    }
