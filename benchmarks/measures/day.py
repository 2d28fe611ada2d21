"""A whole day on a fast clock: what it costs, by cause, against the plan.

Method. A real worker (Celery's prefork pool of two, smartworker's default settings:
20:00-23:00 each 30 s, else each 30 min, New York) and a real Valkey run under
libfaketime, so that 600 s of their clocks, sleeps and time-outs pass in one second
(`lab/fastclock.py`). They are started an hour or more before local midnight. The
measure goes from one `worker_report` line of the worker, at local midnight, to that of
the next midnight: 25 h on 2026-11-01, 23 h on 2026-03-08. Tasks come from a sender with
smartworker's own client, which lives in real time (nothing that it sends holds a time),
at moments drawn with a fixed seed from a grid of 70 s: no two of them are apart by what
decides about a lease: a third of it, half of it or five sixths.

Two counts are held against each other: the server's (`INFO commandstats`, as billed:
the truth for the sum) and the ledgers' of worker and sender (by cause). The plan is
that of `smartworker simulate --from <day> --days 1 --tasks <n> --running --json`, and
nothing is added to it. Agreement (`lab/dayrules.py`): polls as planned, or one more for
each opening or closing of a window (the gap after it is drawn at random; a poll that is
due just then is made once); the worker's row as planned, or as the same rule has it for
the moments of the tasks; publish, take, done and result one for each task; leases as
`docs/reliability.md` has it for these very moments (the plan takes even distances);
looking whose lease a poll has found, which the plan leaves out, at most what is
documented; nothing else; ledgers and server equal.

A speed at which the worker reports trouble (its time-outs are 600 times as short, too)
does not hold: the day is repeated at the next lower one, and `not_held` has what was
reported. `--quick`: 7 h of the night of the change without tasks, and nothing else.
What idle hours of the others cost on such a clock is in `idle.py`.
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import click

from benchmarks.lab.billing import Server
from benchmarks.lab.dayrules import compare
from benchmarks.lab.fastclock import FastClock
from benchmarks.lab.journal import Journal
from benchmarks.lab.peers import Peer
from benchmarks.lab.processes import Bench, Sender, bench, sender
from benchmarks.lab.results import Plan
from smartworker.budget import simulate
from smartworker.policy import Policy
from smartworker.settings import Settings

SPEEDS = (600, 300, 100)
#: Before the measure: so long by the fast clock, but so many seconds of ours for the
#: start of the worker; and what must be left of it after a first task, whose lease is
#: then off the record.
RUN_IN, START, REST = timedelta(hours=1), timedelta(seconds=15), timedelta(minutes=20)
GRID = timedelta(seconds=70)
TASKS = 200
SEED = 20261101
SHORT, LONG = date(2026, 3, 8), date(2026, 11, 1)
SETTINGS = Settings()
#: What the installed command is asked for.
FORETOLD = ("polls", "row", "commands")

Follow = Callable[[Bench, FastClock, Server], dict[str, Any]]


@dataclass(frozen=True)
class Stretch:
    """Time that is lived through, with so many tasks spread over it."""

    begin: datetime
    end: datetime
    tasks: int = 0
    #: The local day that it is; None for another stretch.
    day: date | None = None

    def moments(self) -> list[datetime]:
        """When tasks are sent: drawn with the seed, no two at once."""
        places = (self.end - self.begin) // GRID
        drawn = random.Random(SEED).sample(range(places), self.tasks)
        return [self.begin + GRID * (place + 0.5) for place in sorted(drawn)]


def measure(plan: Plan) -> dict[str, Any]:
    """smartworker's numbers, by stretch; see `compare` for each.

    Unavailable without libfaketime or a C compiler.
    """
    return plan.each(night if plan.quick else days, "smartworker")


def night(peer: Peer) -> dict[str, Any]:
    """From 7:30 PM to the second 1:30 AM, with both edges of the window."""
    begin = SETTINGS.windows.midnight(LONG) - timedelta(hours=4.5)
    return {"night": checked(peer, Stretch(begin, begin + timedelta(hours=7)))}


def days(peer: Peer) -> dict[str, Any]:
    """smartworker's days, each against its plan."""
    return {
        "autumn": checked(peer, whole(LONG)),
        f"autumn-{TASKS}": checked(peer, whole(LONG, TASKS)),
        "spring": checked(peer, whole(SHORT)),
    }


def whole(day: date, tasks: int = 0) -> Stretch:
    """The local day, from midnight to midnight."""
    midnight = SETTINGS.windows.midnight
    return Stretch(midnight(day), midnight(day + timedelta(days=1)), tasks, day)


def checked(
    peer: Peer, stretch: Stretch, speeds: Sequence[int] = SPEEDS
) -> dict[str, Any]:
    """A stretch at the first of these speeds that holds, or at the last one."""
    plain = replace(peer, settings={})
    not_held: dict[int, Any] = {}
    for speed in speeds:
        found = lived(plain, stretch, speed, lambda *places: followed(stretch, *places))
        if not found["trouble"]:
            break
        not_held[speed] = found["trouble"]
    click.echo(
        f"  {peer.title}: {stretch.begin:%Y-%m-%d} at x{speed}, {stretch.tasks} tasks: "
        f"plan {found['plan']}, server {found['server']}, agrees {found['agrees']}"
    )
    return {"speed": speed, "not_held": not_held, **found}


def lived(peer: Peer, stretch: Stretch, speed: int, follow: Follow) -> dict[str, Any]:
    """Follow a server and a worker that is up, on a clock so much faster."""
    with ExitStack() as stack:
        clock = stack.enter_context(
            FastClock(stretch.begin - max(RUN_IN, START * speed), speed)
        )
        with clock.inherited():
            server = stack.enter_context(Server())
        settings = {**peer.settings, **clock.environment}
        fast = replace(peer, settings=settings)
        made = stack.enter_context(bench(fast, server.url))
        made.start()
        return follow(made, clock, server)


def followed(
    stretch: Stretch, made: Bench, clock: FastClock, server: Server
) -> dict[str, Any]:
    """The stretch against its plan, cut where the worker's own hourly lines are."""
    # The sender lives in real time: its own time-outs are not to be tested here.
    here = replace(made, peer=replace(made.peer, settings={}))
    log = made.notes / "worker-0.log"
    with sender(here) as producer, closing(Journal(log)) as journal:
        producer.noop()
        made.wait_for_ticks(1)
        late = clock.now() > stretch.begin - REST
        begun = _cut(stretch.begin, journal, made, clock, server, producer)[1]
        for moment in stretch.moments():
            clock.wait_until(moment)
            producer.noop()
        counted, sent = _cut(stretch.end, journal, made, clock, server, producer)
        made.wait_for_ticks(1 + stretch.tasks)
        ledger = journal.commands(stretch.begin, stretch.end) + (sent - begun)
        trouble = journal.trouble(stretch.begin)
        trouble["started_late"] += late
        # Each subscription made anew, which a worker tells of only if that fails.
        trouble["doorbell"] += ledger["doorbell"]
    policy = Policy(SETTINGS.windows, SETTINGS.quiet_poll)
    plan = simulate(
        policy, stretch.begin, stretch.end, tasks=stretch.tasks, running=True
    )
    found = compare(plan, policy, stretch.moments(), ledger, counted)
    said = foretold(stretch)
    return {
        "hours": (stretch.end - stretch.begin) / timedelta(hours=1),
        "tasks": stretch.tasks,
        "simulate": said,
        **found,
        "agrees": found["agrees"]
        and said in (None, {name: getattr(plan, name) for name in FORETOLD}),
        "trouble": dict(+trouble),
    }


def _cut(
    at: datetime,
    journal: Journal,
    made: Bench,
    clock: FastClock,
    server: Server,
    producer: Sender,
) -> tuple[Counter[str], Counter[str]]:
    """What the server has counted since the last cut, and the sender in all."""
    clock.wait_until(at)
    made.wait_until(lambda: journal.reported(at), "the hourly line")
    counted = Counter(server.billed())
    answer = producer.ask(do="call", name="spent", arguments=[])["answer"]
    return counted, Counter({cause: sum(x.values()) for cause, x in answer.items()})


def foretold(stretch: Stretch) -> dict[str, int] | None:
    """What the installed command prints for a whole day; None for another stretch."""
    if stretch.day is None:
        return None
    words = ["--from", str(stretch.day), "--days", "1", "--running"]
    words += ["--tasks", str(stretch.tasks)]
    printed = subprocess.run(
        [sys.executable, "-m", "smartworker.cli.main", "simulate", *words, "--json"],
        env={k: v for k, v in os.environ.items() if not k.startswith("SMARTWORKER_")},
        check=True,
        capture_output=True,
        text=True,
    )
    said = json.loads(printed.stdout)
    return {name: said[name] for name in FORETOLD}
