"""What five typical users pay a month: one for each application in the examples.

Method. `USERS` says in numbers what each of them does in a month of 30 days. The jobs
are those that the application declares, as often as their schedules say. Each count is
multiplied by a cost that was measured; what was not is not priced (then the user is
shown as unavailable, which says what to run first).

smartworker: an idle day from `day.json` (the mean of whole days, counted by the
server); a task from the same file (the day with 200 tasks less the day without, so with
its share of leases, row and looks; a burst is cheaper); waits for a task from
`tasks.json`. A run of a job is a trigger over HTTP in the place of its LPUSH, a lease,
and its entry in the history: 3, 2 or 3, and 1 commands; 4 more where runs must not
overlap, and 1 for each further worker. These are in `smartworker.budget`, and the tests
of the examples count them on a real server. The sum is held against what `smartworker
jobs --offline` says (`jobs_check`): they may differ by what else a measured task sends,
a per cent or less.

Celery: an idle day from `idle.json`, a task from `tasks.json`; a job is a task that
Beat sends, which costs nothing else; whoever waits asks each 2 s, which costs with the
frugal flags what it costs without. Progress of tasks is left out for both.

Prices: Upstash's page, https://upstash.com/pricing/redis, as transcribed on 2026-09-20
(https://github.com/api-evangelist/upstash, plans/upstash-plans-pricing.yml) and by its
documentation (docs/redis/overall/billing): free up to 500,000 commands a month; pay as
you go $0.20 for 100,000, from the first one on; fixed plans from $10 (250 MB) and $20
(1 GB) up, without a limit of commands. Everything here fits into 250 MB and 50 GB of
traffic. In US dollars, one region.

A quick run has no whole day: it takes smartworker's idle day from the plan, a task with
2 commands more for its lease, and idle windows of seconds for Celery; `rough` says so.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from math import floor
from typing import Any

import click

from benchmarks.lab import readings
from benchmarks.lab.facts import Facts
from benchmarks.lab.peers import Peer, Unavailable
from benchmarks.lab.results import Plan
from smartworker.budget import (
    DOLLARS_PER_COMMAND,
    FREE_COMMANDS,
    HISTORY_COMMANDS,
    HOLD_COMMANDS,
    LOOK_COMMANDS,
    OVERLAP_COMMANDS,
    TRIGGER_COMMANDS,
    simulate,
)
from smartworker.cron.registry import Jobs
from smartworker.policy import Policy
from smartworker.settings import Settings
from smartworker.worker.overview import Row, declared

DAYS = 30
PEERS = ("smartworker", "celery", "celery-frugal-30", "celery-frugal-1800")
#: Runs an hour or more often share one question for the server's clock.
HOURLY = DAYS * 24
#: When the schedules are priced, midnight in New York; no change of clocks follows
#: within a month.
NOW = datetime(2026, 11, 10, 5, tzinfo=UTC)
#: The smallest plan that is not counted by the command, dollars a month: all fit in.
FIXED = {"fixed 250 MB": 10.0}
#: Seconds between two questions of somebody who polls, and of one long wait.
ASK, WAIT = 2, 25


@dataclass(frozen=True)
class Usage:
    """A month of one application beside its scheduled jobs."""

    workers: int
    #: Tasks that requests queue.
    tasks: int
    #: How many of them somebody watches until they are done, and for how many seconds.
    watched: int
    seconds: int
    #: Commands of a task more than an ordinary one, with smartworker.
    extra: int = 0


USERS = {
    # A club: members book lanes by hand 20 times a day and watch it.
    "swim": Usage(workers=1, tasks=600, watched=600, seconds=10),
    # A league's office makes its schedule anew 40 times a month.
    "league": Usage(workers=1, tasks=40, watched=40, seconds=5),
    # 100 bookings a day: each is answered, and two letters, two notices, one figure.
    "lessons": Usage(workers=2, tasks=18_000, watched=0, seconds=0),
    # A shop's administrator asks for a recompute twice a day.
    "pricing": Usage(workers=1, tasks=60, watched=60, seconds=10),
    # 1,000 changes a day; `publish_once` has 2 commands more, for its record.
    "sync": Usage(workers=1, tasks=30_000, watched=0, seconds=0, extra=2),
}


@dataclass(frozen=True)
class Units:
    """What was measured, in commands."""

    idle_day: float
    #: A task that requests queue, with all that comes with it.
    task: float
    #: What a worker does for a task that finds company: take, done and result.
    run: float
    #: One question of somebody who asks each 2 s.
    question: float
    #: Whether a job is a trigger and a run, and waits are long ones; else a job is a
    #: task, and who waits asks each 2 s.
    ours: bool = False
    #: The first and the last long wait together, and one between.
    ends: float = 0.0
    between: float = 0.0

    def wait(self, seconds: int) -> float:
        """Watching a task for so long."""
        if not self.ours:
            return self.question * -(-seconds // ASK)
        return self.ends + self.between * max(-(-seconds // WAIT) - 2, 0)


@dataclass(frozen=True)
class Month:
    """Commands of a month, by what they are for."""

    idle: float
    jobs: float
    tasks: float
    waits: float

    @property
    def base(self) -> float:
        """All but the tasks and who watches them."""
        return self.idle + self.jobs

    @property
    def commands(self) -> int:
        """Everything."""
        return round(self.base + self.tasks + self.waits)


def measure(plan: Plan) -> dict[str, Any]:
    """By peer: `units`, and by user the month's commands, plan and dollars."""
    facts = Facts.of(plan.folder)

    def bills(peer: Peer) -> dict[str, Any]:
        units = measured(facts, peer.name, rough=plan.quick)
        users = {name: bill(name, units) for name in USERS}
        total = sum(user["dollars"] for user in users.values())
        click.echo(f"  {peer.title}: ${total:.2f} a month for all five")
        return {"rough": plan.quick, "units": asdict(units), "users": users}

    return plan.each(bills, *PEERS)


def measured(facts: Facts, peer: str, *, rough: bool = False) -> Units:
    """The costs of a peer. Raises Unavailable with what has to be measured first."""
    ours = peer == readings.OURS
    single = ("tasks", peer, "results", "single")
    asked = ("tasks", peer if ours else readings.STOCK, "status")
    first, between, last = (
        facts.number(*asked, "long_poll", part) if ours else 0.0
        for part in ("first", "between", "last")
    )
    found = {
        "idle": readings.idle_day(facts, peer)
        or (_rough(facts, peer) if rough else None),
        "tasks": facts.number(*single, "per_task"),
        "tasks (sender)": facts.number(*single, "producer"),
        "tasks (status)": facts.number(*asked, "question"),
        "tasks (long poll)": None if None in (first, between, last) else 0.0,
        "day": _sparse(facts, rough=rough) if ours else 0.0,
    }
    if missing := [name for name, number in found.items() if number is None]:
        raise Unavailable(f"not measured yet: {', '.join(missing)}")
    known = {name: number or 0.0 for name, number in found.items()}
    return Units(
        idle_day=known["idle"],
        task=known["day"] or known["tasks"],
        run=known["tasks"] - known["tasks (sender)"],
        question=known["tasks (status)"],
        ours=ours,
        ends=(first or 0.0) + (last or 0.0),
        between=between or 0.0,
    )


def _sparse(facts: Facts, *, rough: bool) -> float | None:
    """A task of ours among 200 in a day, of all that such a day costs more."""
    days = readings.days(facts)
    busy = [day for day in days.values() if day["tasks"]]
    idle = [day for day in days.values() if not day["tasks"]]
    for day in busy:
        for other in idle:
            if other["hours"] == day["hours"]:
                return float((day["server"] - other["server"]) / day["tasks"])
    alone = readings.task(facts, readings.OURS)
    return alone + len(HOLD_COMMANDS) if rough and alone is not None else None


def _rough(facts: Facts, peer: str) -> float | None:
    if peer == readings.OURS:
        settings = Settings()
        policy = Policy(settings.windows, settings.quiet_poll)
        return simulate(policy, NOW, NOW + timedelta(days=1)).commands
    single = ("idle", peer, "cases", readings.SINGLE)
    return facts.number(*single, "idle", "total_per_day")


def bill(name: str, units: Units) -> dict[str, Any]:
    """A user's month: its commands by what they are for, the plan, the dollars.

    `free_until` and `pay_until` are the tasks a month up to which it stays free, and up
    to which paying by the command is not dearer than the cheapest fixed plan.
    """
    usage, jobs = USERS[name], scheduled(name)
    runs = {row.job.name: runs_of(row) for row in jobs}
    task = units.task + usage.extra * units.ours
    month = Month(
        idle=units.idle_day * DAYS * usage.workers,
        jobs=sum(
            runs[row.job.name] * run_cost(row, units, usage.workers) for row in jobs
        ),
        tasks=usage.tasks * task,
        waits=usage.watched * units.wait(usage.seconds),
    )
    plan, dollars = cheapest(month.commands)
    said = sum(row.month_commands or 0 for row in jobs)
    check = {"jobs_check": {"composed": round(month.jobs), "command": said}}
    return {
        **asdict(month),
        "runs": sum(runs.values()),
        "commands": month.commands,
        "plan": plan,
        "dollars": round(dollars, 2),
        "free_until": tasks_within(FREE_COMMANDS, month.base, task),
        "pay_until": tasks_within(
            round(min(FIXED.values()) / DOLLARS_PER_COMMAND), month.base, task
        ),
        **(check if units.ours else {}),
    }


def scheduled(name: str) -> list[Row]:
    """The jobs of an example with what `smartworker jobs --offline` says of them."""
    jobs = Jobs()
    import_module(f"smartworker.examples.{name}.jobs").declare(jobs)
    return declared(jobs, Settings(), NOW, workers=USERS[name].workers)


def runs_of(row: Row) -> int:
    """How often a job runs in a month; 0 for one without a schedule."""
    return (row.month_commands or 0) // row.run_commands


def run_cost(row: Row, units: Units, workers: int) -> float:
    """A run of a job: with Celery a task, with smartworker a trigger and a run.

    Each worker that has not run it looks after it.
    """
    if not units.ours:
        return units.task
    clock = runs_of(row) <= HOURLY
    around = len(TRIGGER_COMMANDS) + len(HOLD_COMMANDS) + clock + len(HISTORY_COMMANDS)
    apart = len(OVERLAP_COMMANDS) if row.job.overlap != "allow" else 0
    return units.run + around + apart + len(LOOK_COMMANDS) * (workers - 1)


def cheapest(commands: int) -> tuple[str, float]:
    """The cheapest plan for so many commands a month, and its dollars."""
    if commands <= FREE_COMMANDS:
        return "free", 0.0
    plans = {"pay as you go": commands * DOLLARS_PER_COMMAND, **FIXED}
    return min(plans.items(), key=lambda plan: plan[1])


def tasks_within(commands: int, base: float, task: float) -> int:
    """How many tasks fit into so many commands beside the base; none if it does not."""
    return max(floor((commands - base) / task), 0)
