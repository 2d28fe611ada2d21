"""How late a task begins: from just before the call that sends it to its first line.

Method. Every peer gets a server of its own, one worker and one sender (a process that
stays connected, as a web process does). All are started before the first sample, and
the samples go round: 300 rounds (quick 20; through links 150 and 10), in each one task
of each peer, in an order drawn anew, each after a random gap of 5 to 30 ms (through
links 100 to 200 ms, so that the last task's acknowledgement is through) and awaited
before the next is sent. So nothing ever queues, and what the machine does meanwhile
meets all alike. Both ends read the clock of one machine.

Ten rounds (quick 3) go before, each after a second in which nobody is sent anything,
and are not counted. A peer whose median in them is above 100 ms counts as slow: it
takes part in each tenth round only, after a gap of up to a second, so that a sample
meets any phase of its polling. `n` says how many samples were counted.

smartworker runs in quiet hours, with its next poll 30 minutes away, and
`smartworker-window` polls each 30 s: both hear of a task in between. Series:

`local`: nothing between; all peers.
`stock_sender`: a plain Celery client sends, a smartworker worker in quiet hours runs;
its ratio is to `celery` in `local`.
`worker_link`: all connections of the worker, those for results too, go through a link
with 20 ms round trip; the sender is beside the server. The least is 30 ms for both:
Celery gets the message 10 ms later and notes at the server that it has it before it
goes on; smartworker hears of it 10 ms later and fetches it.
`both_link`: the same worker, and the sender's connections go through a second link of
20 ms: the least is 40 ms.

Only ratios are worth quoting: `ratio` is the median over that of `celery` in the same
series.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from random import Random
from statistics import median, quantiles
from typing import Any

import click

from benchmarks.lab.billing import Server
from benchmarks.lab.link import Link
from benchmarks.lab.peers import PEERS, Peer
from benchmarks.lab.processes import Bench, Sender, bench, sender
from benchmarks.lab.results import Plan

ROUND_TRIP = 0.02
#: Rounds that do not count, full and quick; seconds of silence before each.
WARM_UP = 10, 3
IDLE = 1.0
#: A median in seconds; which rounds a slow peer takes part in, and after which gap.
SLOW = 0.1
SLOW_EVERY = 10
SLOW_GAP = 0.0, 1.0
REFERENCE = "celery"
#: Who is measured through links; quick: the first two.
LINKED = ("celery", "smartworker", "smartworker-window", "celery-frugal-1800")


@dataclass(frozen=True)
class Pace:
    """Rounds that count, full and quick; the seconds before a sample, from and to."""

    rounds: tuple[int, int]
    gap: tuple[float, float]


LOCAL = Pace((300, 20), (0.005, 0.03))
FAR = Pace((150, 10), (0.1, 0.2))


@dataclass
class Lane:
    """A sender and the worker that runs its tasks, in one series."""

    series: str
    bench: Bench
    sender: Sender
    #: So many samples do not count.
    skipped: int = 0
    slow: bool = False

    def sample(self) -> None:
        """Send one task and wait until it has begun."""
        before = len(self.seconds())
        self.sender.stamp(self.series)
        self.bench.wait_until(lambda: len(self.seconds()) > before, self.series)

    def warmed_up(self) -> None:
        """What was measured so far tells whether it is slow, and does not count."""
        self.slow = median(self.seconds()) > SLOW
        self.skipped = len(self.seconds())

    def seconds(self) -> list[float]:
        """The samples that count, so far."""
        return self.bench.stamps(self.series)[self.skipped :]


def measure(plan: Plan) -> dict[str, Any]:
    """Peer -> series -> `n`, `p50`, `p95`, `p99`, `max`, `samples` in ms, and `ratio`.

    `ratio` is None where `celery` was not measured.
    """
    found = plan.each(lambda _: {})
    able = [name for name, numbers in found.items() if not numbers]
    linked = [n for n in LINKED[: 2 if plan.quick else None] if n in able]
    with local(plan.pick(*able)) as lanes:
        race(lanes, LOCAL, quick=plan.quick)
        _add(found, lanes)
    with behind_link(plan.pick(*linked)) as lanes:
        race(lanes, FAR, quick=plan.quick)
        _add(found, lanes)
    return found


@contextmanager
def local(peers: Sequence[Peer]) -> Iterator[list[Lane]]:
    """Everybody beside the server, and a plain Celery client for smartworker."""
    with ExitStack() as stack:
        lanes = []
        for peer in peers:
            server = stack.enter_context(Server())
            made = stack.enter_context(bench(peer, server.url))
            stack.callback(made.start_worker().stop, 0)
            lanes.append(_lane(stack, "local", made, made))
            if peer.name == "smartworker":
                stock = replace(made, peer=PEERS[REFERENCE])
                lanes.append(_lane(stack, "stock_sender", made, stock))
        _wait_for_workers(lanes)
        yield lanes


@contextmanager
def behind_link(peers: Sequence[Peer]) -> Iterator[list[Lane]]:
    """Each worker behind a link, and one of its two senders behind another."""
    with ExitStack() as stack:
        lanes = []
        for peer in peers:
            server = stack.enter_context(Server())
            to_worker, to_sender = (
                stack.enter_context(Link(server.port, ROUND_TRIP)) for _ in range(2)
            )
            made = stack.enter_context(bench(peer, server.url))
            stack.callback(made.start_worker(to_worker.url).stop, 0)
            far = replace(made, url=to_sender.url)
            lanes.append(_lane(stack, "worker_link", made, made))
            lanes.append(_lane(stack, "both_link", made, far))
        _wait_for_workers(lanes)
        yield lanes


def race(lanes: Sequence[Lane], pace: Pace, *, quick: bool) -> None:
    """Take the samples of all lanes in turn."""
    rng = Random(7)
    for _ in range(WARM_UP[quick]):
        time.sleep(IDLE)
        for lane in lanes:
            lane.sample()
    for lane in lanes:
        lane.warmed_up()
    for number in range(pace.rounds[quick]):
        for lane in rng.sample(lanes, len(lanes)):
            if not (lane.slow and number % SLOW_EVERY):
                time.sleep(rng.uniform(*(SLOW_GAP if lane.slow else pace.gap)))
                lane.sample()


def _lane(stack: ExitStack, series: str, runs: Bench, sends: Bench) -> Lane:
    return Lane(series, runs, stack.enter_context(sender(sends)))


def _wait_for_workers(lanes: Sequence[Lane]) -> None:
    for lane in lanes:
        _wait_for_worker(lane.bench)


def _wait_for_worker(made: Bench) -> None:
    made.wait_until(lambda: all(w.is_up() for w in made.workers), "the worker")


def _add(found: dict[str, Any], lanes: Sequence[Lane]) -> None:
    for lane in lanes:
        found[lane.bench.peer.name][lane.series] = summary(lane.seconds())
    for lane in lanes:
        numbers = found[lane.bench.peer.name][lane.series]
        like = "local" if lane.series == "stock_sender" else lane.series
        base = found.get(REFERENCE, {}).get(like)
        numbers["ratio"] = base and round(numbers["p50"] / base["p50"], 3)
        click.echo(
            f"  {lane.bench.peer.title}, {lane.series}: p50 {numbers['p50']:.1f} ms, "
            f"p99 {numbers['p99']:.1f} ms"
        )


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Milliseconds; percentiles of few samples lie between the two nearest."""
    samples = [round(value * 1000, 3) for value in seconds]
    cuts = quantiles(samples, n=100, method="inclusive")
    return {
        "n": len(samples),
        **{f"p{n}": round(cuts[n - 1], 3) for n in (50, 95, 99)},
        "max": max(samples),
        "samples": samples,
    }
