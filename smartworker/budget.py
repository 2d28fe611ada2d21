"""What a plan costs: polls and commands of any stretch of time, before it happens."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil

from smartworker.policy import Decision, Policy, lease_for
from smartworker.row_cost import EDGE_COMMANDS, between_edges
from smartworker.windows import to_utc

# One command each: publish, take, done, and the stored result.
TASK_COMMANDS = ("LPUSH", "LMOVE", "LREM", "SET")
# What a run of a cron job sends. The trigger script: EVAL, and inside it the record and
# the publication (store/lua/trigger.lua); one entry in the stream of finished runs
# (store/runs.py); the lease that covers the message while it is held (store/leases.py).
TRIGGER_COMMANDS = ("EVAL", "SET", "LPUSH")
HISTORY_COMMANDS = ("XADD",)
HOLD_COMMANDS = ("ZADD", "ZREM")
# The lease of a job whose runs must not overlap: taken in the trigger or by the worker,
# and freed by a script (store/lua/release.lua).
OVERLAP_COMMANDS = ("SET", "EVAL", "GET", "DEL")
# A worker that has not seen the message of a slot asks for its record
# (store/records.py).
LOOK_COMMANDS = ("EXISTS",)
# The server's clock, which a lease needs, is asked again after so long.
CLOCK = timedelta(hours=1)
# The most that one worker sends between its start and its first idle poll.
START_COMMANDS = 15

# Upstash's pricing page: the free plan's month, and 100,000 commands pay as you go.
FREE_COMMANDS = 500_000
DOLLARS_PER_COMMAND = 0.20 / 100_000

MONTH = timedelta(days=30)
CELLS = 48  # half hours of a local day

# Each zone of today is a multiple of 15 minutes away from UTC, so that no slice of
# this length lies in two half hours of the local day.
_SLICE = timedelta(minutes=15)


@dataclass(frozen=True)
class Share:
    """What one window costs; the window None is the quiet time."""

    window: str | None
    poll: timedelta
    open: timedelta
    polls: int


@dataclass(frozen=True)
class JobShare:
    """What one job costs in a stretch of time."""

    name: str
    schedule: str
    runs: int
    #: Commands of one run.
    each: int

    @property
    def commands(self) -> int:
        """The commands of all its runs."""
        return self.runs * self.each


@dataclass(frozen=True)
class Forecast:
    """The cost of a stretch of time. `cells` counts polls by half hour of the day."""

    start: datetime
    end: datetime
    workers: int
    tasks: int
    starts: int
    budget: int
    shares: tuple[Share, ...]
    cells: tuple[int, ...]
    jobs: tuple[JobShare, ...] = ()
    #: A doorbell that the producers ring: one command for each message.
    rings: bool = False
    #: Other commands that the workers send.
    work: int = 0
    #: What the workers' rows cost; `ready` of it is of those that get ready at `start`.
    row: int = 0
    ready: int = 0

    @property
    def polls(self) -> int:
        """The polls of all workers."""
        return sum(share.polls for share in self.shares)

    @property
    def task_commands(self) -> int:
        """The commands that the tasks cost, each with a stored result."""
        return (len(TASK_COMMANDS) + self.rings) * self.tasks

    @property
    def job_commands(self) -> int:
        """The commands that the runs of all jobs cost."""
        return sum(job.commands for job in self.jobs)

    @property
    def lease_commands(self) -> int:
        """What holding the tasks' messages costs, if they come at even distances.

        Each stretch of work takes a lease and drops it; within one a lease that is
        half used up is renewed with the next message.
        """
        length = self.end - self.start
        return sum(
            _leases(share, self.tasks * (share.open / length)) for share in self.shares
        )

    @property
    def commands(self) -> int:
        """Everything that is billed."""
        tasks = self.task_commands + self.lease_commands
        work = tasks + self.job_commands + self.work
        return self.polls + self.row + work + START_COMMANDS * self.starts

    @property
    def work_commands(self) -> int:
        """What the workers send for tasks and jobs; tasks are published by others."""
        tasks = (len(TASK_COMMANDS) - 1) * self.tasks + self.lease_commands
        return tasks + self.job_commands + self.work

    @property
    def hours(self) -> tuple[int, ...]:
        """The polls by local hour of the day, 24 counts."""
        return tuple(map(sum, zip(self.cells[::2], self.cells[1::2], strict=True)))

    @property
    def month_commands(self) -> int:
        """The commands of 30 days at this rate; workers get ready once."""
        length, often = self.end - self.start, self.commands - self.ready
        return round(often * (MONTH / length)) + self.ready if length else 0

    @property
    def budget_share(self) -> float:
        """The part of the monthly budget that this stretch uses; 1.0 is all of it."""
        return self.commands / self.budget

    @property
    def dollars(self) -> float:
        """The price of this stretch, pay as you go."""
        return self.commands * DOLLARS_PER_COMMAND


def simulate(
    policy: Policy,
    start: datetime,
    end: datetime,
    *,
    workers: int = 1,
    tasks: int = 0,
    starts: int = 0,
    budget: int = FREE_COMMANDS,
    jobs: tuple[JobShare, ...] = (),
    rings: bool = False,
    work: int = 0,
    running: bool = False,
) -> Forecast:
    """The cost of the time from `start`, which polls at once, up to `end`.

    `tasks` and `starts` of workers are totals; each worker polls by itself. `rings`:
    producers ring with one more command each. `work`: what workers send besides.

    The workers get ready at `start` and write their rows; `running`: they have done so
    just before. The first gap after a start or an edge of a window is drawn from 0.5 to
    1.5 intervals: one poll more than planned after each is possible.
    """
    start, end = to_utc(start), to_utc(end)
    stretches = [*_stretches(policy, start, end)]
    polls: Counter[tuple[str | None, timedelta]] = Counter()
    times: dict[tuple[str | None, timedelta], timedelta] = {}
    cells: Counter[int] = Counter()
    for begin, finish, decision in stretches:
        key = (decision.window, decision.poll)
        polls[key] += workers * polls_between(begin, finish, decision)
        times[key] = times.get(key, timedelta(0)) + (finish - begin)
        for instant, count in _slices(begin, finish, decision):
            local = policy.windows.local(instant)
            cells[2 * local.hour + local.minute // 30] += workers * count
    shares = (Share(*key, open=times[key], polls=polls[key]) for key in times)
    plan = Forecast(
        start=start,
        end=end,
        workers=workers,
        tasks=tasks,
        starts=starts,
        budget=budget,
        shares=tuple(sorted(shares, key=_windows_first)),
        cells=tuple(cells[cell] for cell in range(CELLS)),
        jobs=jobs,
        rings=rings,
        work=work,
    )
    if not stretches:
        return plan
    ready = 0 if running else workers * len(EDGE_COMMANDS)
    return replace(plan, row=ready + workers * _row(plan, stretches), ready=ready)


def _row(plan: Forecast, stretches: list[tuple[datetime, datetime, Decision]]) -> int:
    """What the row of one worker costs after its start, if work comes evenly."""
    rate = plan.work_commands / plan.workers / (plan.end - plan.start).total_seconds()
    row = len(EDGE_COMMANDS) * (len(stretches) - 1)
    for begin, finish, decision in stretches:
        work = rate * (finish - begin).total_seconds()
        polls = polls_between(begin, finish, decision)
        row += between_edges(finish - begin, polls + work)
    return row


def run_commands(
    *,
    overlap: bool = False,
    looks: int = 0,
    history: bool = True,
    hourly: bool = False,
    started: bool = False,
    stored: bool = True,
) -> dict[str, tuple[str, ...]]:
    """What one run of a cron job costs, by what it is for.

    `overlap`: its runs must not overlap; `looks` by workers that have not run it;
    `history` is kept in Redis; `hourly`: it comes more often than the server's clock
    is asked; `started`: its state is told when it begins; `stored`: its result is
    kept. At most this: runs that follow each other closely share the hold.
    """
    clock = () if hourly else ("TIME",)
    states = ("SET",) * (stored * (1 + started))
    costs = {
        "trigger": TRIGGER_COMMANDS,
        "run": (*TASK_COMMANDS[1:3], *states),
        "hold": (*HOLD_COMMANDS, *clock),
        "history": HISTORY_COMMANDS if history else (),
        "overlap": OVERLAP_COMMANDS if overlap else (),
        "looks": LOOK_COMMANDS * looks,
    }
    return {what: commands for what, commands in costs.items() if commands}


def _leases(share: Share, tasks: float) -> int:
    if not tasks:
        return 0
    gap, lease = share.open / tasks, lease_for(share.poll)
    if gap > lease * 5 / 6:
        return round(2 * tasks + min(tasks, share.open / CLOCK))
    renewals = share.open / (gap * ceil(lease / 2 / gap))
    return ceil(renewals + min(renewals, share.open / CLOCK))


def _windows_first(share: Share) -> tuple[bool, str]:
    return share.window is None, share.window or ""


def polls_between(begin: datetime, finish: datetime, decision: Decision) -> int:
    """How many polls `next_poll` makes from one at `begin` up to and without `finish`.

    Counted, not walked: a month of polls every second is 2.6 million.
    """
    return max(0, -((begin - finish) // decision.poll))


def _stretches(
    policy: Policy, start: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime, Decision]]:
    """The time from `start` to `end`, cut where the decision changes."""
    now = start
    while now < end:
        decision = policy.decide(now)
        finish = end if decision.until is None else min(decision.until, end)
        yield now, finish, decision
        now = finish


def _slices(
    begin: datetime, finish: datetime, decision: Decision
) -> Iterator[tuple[datetime, int]]:
    """Short slices of a stretch: the begin of each and the polls that fall into it."""
    done, now = 0, begin
    while now < finish:
        # The next full quarter of an hour: slices start anywhere, and end on one.
        rest = timedelta(seconds=now.timestamp() % _SLICE.total_seconds())
        edge = min(now + _SLICE - rest, finish)
        total = polls_between(begin, edge, decision)
        yield now, total - done
        done, now = total, edge
