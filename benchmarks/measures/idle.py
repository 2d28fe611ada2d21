"""What a worker costs that has nothing to do: at its start, and from then on.

Method. Each case is a number of workers that consume a number of queues (one alone
where a peer's worker has only one), on a server of its own. All cases of a peer run at
the same time: counts do not depend on the load of the machine. Commands are those that
Upstash bills (`benchmarks.lab.billing`).

Boot: from the start of the processes until 15 s after the last of them takes tasks.
Those seconds are already idle; `less_idle` has their share at the case's idle rate
taken off. The workers of one case start together, as after a deployment.

Idle: the 120 s that follow; `per_minute` and `per_day` are scaled from them.

Hours: 120 s hold none of what is sent each quarter of an hour or less often: RQ's
heartbeats and maintenance (7 and 10 minutes), Celery's look for abandoned messages
(5 minutes or more), the polls of smartworker's quiet hours (30 minutes). So a single
worker of each peer that sent less than 20 commands a minute idles once more, with its
server, through 4 hours of a clock that runs 120 times as fast
(`benchmarks.lab.fastclock`); `hours` has what it sent. For the others what is rare
weighs little, and their polls of a second or less would come late on such a clock: of
them the window is the better figure. Sweeps rarer than each 4 hours are missed, such
as that of a stock worker whose `unacked_restore_interval` was made an hour (10 hours).
`celery-frugal-*` keep remote control and results; what Celery costs without them is
not measured here.

`smartworker-window` shows the hours with polls each 30 s, `smartworker` those with
polls each 30 minutes; whole days of both, against their plan, are in `day.py`. A quick
run has one case, 30 s (one poll of `smartworker-window`) and no hours.
"""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import click

from benchmarks.lab.billing import Server
from benchmarks.lab.fastclock import FastClock
from benchmarks.lab.peers import Peer, Unavailable
from benchmarks.lab.processes import bench
from benchmarks.lab.readings import FEW
from benchmarks.lab.results import Plan

#: Seconds that many workers may take to start at the same time.
PATIENCE = 240.0
#: The clock of the hours: at 120 times a time-out of 5 s is still 42 ms.
FACTOR, HOURS = 120, timedelta(hours=4)
#: Peers of which all cases run at the same time: 38 workers.
PEERS_AT_ONCE = 2


@dataclass(frozen=True)
class Case:
    """So many workers, each on all of so many queues."""

    workers: int
    queues: int

    def __str__(self) -> str:
        return f"{self.workers}x{self.queues}"


SINGLE = Case(1, 1)
CASES = (SINGLE, Case(2, 1), Case(5, 1), Case(10, 1), Case(1, 7))


@dataclass(frozen=True)
class Look:
    """How long to look: real seconds until the boot is over, and of idling."""

    settle: float
    idle: float
    #: How much faster the clock of the worker runs.
    factor: int = 1


THOROUGH, QUICK = Look(15, 120), Look(4, 30)


def measure(plan: Plan) -> dict[str, Any]:
    """Peer -> `cases` -> "workers x queues" -> what was counted, see `count`.

    `hours` is the idling of a single worker on the fast clock, for peers that send
    little.
    """
    cases, look = ((SINGLE,), QUICK) if plan.quick else (CASES, THOROUGH)
    at_once = len(plan.peers) if plan.quick else PEERS_AT_ONCE
    found = plan.each(partial(count, cases=cases, look=look), at_once=at_once)
    few = tuple(peer for peer in plan.peers if _few(peer, found))
    if few and not plan.quick:
        for name, hours in _hours(replace(plan, peers=few)).items():
            found[name]["hours"] = hours
    return found


def count(peer: Peer, cases: tuple[Case, ...], look: Look) -> dict[str, Any]:
    """What each case of a peer costs; of those that it can have.

    `boot`: commands by name, their `total`, `less_idle`, the `seconds` they are from.
    `idle`: the same of the idle window, with `per_minute` and `per_day` by name and
    in all (`total_per_minute`, `total_per_day`).
    """
    cases = tuple(c for c in cases if c.queues == 1 or peer.several_queues)
    with ThreadPoolExecutor(len(cases)) as pool:
        rows = pool.map(partial(_count, peer, look=look), cases)
        found = {str(case): row for case, row in zip(cases, rows, strict=True)}
    rate = found[str(SINGLE)]["idle"]["total_per_minute"]
    click.echo(f"{peer.title}: {rate:.1f} commands a minute")
    return {"cases": found}


def _count(peer: Peer, case: Case, look: Look) -> dict[str, Any]:
    with ExitStack() as stack:
        server = stack.enter_context(Server())
        made = stack.enter_context(bench(peer, server.url, queues=case.queues))
        begun = time.monotonic()
        for _ in range(case.workers):
            made.start_worker()
        made.wait_until(lambda: all(w.is_up() for w in made.workers), "boot", PATIENCE)
        up = time.monotonic()
        time.sleep(look.settle)
        boot, booted = server.billed(), time.monotonic()
        time.sleep(look.idle)
        passed = (time.monotonic() - booted) * look.factor
        idle = _rates(server.billed(), passed)
    share = idle["total_per_minute"] / 60 * (booted - up) * look.factor
    return {
        "boot": {
            **_total(boot),
            "less_idle": round(sum(boot.values()) - share, 1),
            "seconds": round(booted - begun, 1),
        },
        "idle": idle,
    }


def _rates(commands: Mapping[str, int], seconds: float) -> dict[str, Any]:
    minute, total = 60 / seconds, sum(commands.values())
    return {
        **_total(commands),
        "seconds": round(seconds, 1),
        "per_minute": {name: round(n * minute, 2) for name, n in commands.items()},
        "per_day": {name: round(n * minute * 1440) for name, n in commands.items()},
        "total_per_minute": round(total * minute, 2),
        "total_per_day": round(total * minute * 1440),
    }


def _few(peer: Peer, found: Mapping[str, Any]) -> bool:
    cases = found[peer.name].get("cases")
    return bool(cases) and cases[str(SINGLE)]["idle"]["total_per_minute"] < FEW


def _hours(plan: Plan) -> dict[str, Any]:
    try:
        # From now on, for until then smartworker's windows are closed.
        with FastClock(datetime.now(UTC), FACTOR) as clock, clock.inherited():
            look = Look(QUICK.settle, clock.real(HOURS), FACTOR)
            return plan.each(partial(_hours_of, look=look), at_once=len(plan.peers))
    except Unavailable as why:
        return {peer.name: {"unavailable": str(why)} for peer in plan.peers}


def _hours_of(peer: Peer, look: Look) -> dict[str, Any]:
    cases = count(peer, (SINGLE,), look)["cases"]
    return dict(cases[str(SINGLE)]["idle"])


def _total(commands: Mapping[str, int]) -> dict[str, Any]:
    return {"commands": commands, "total": sum(commands.values())}
