"""How far a day may differ from the plan, cause by cause, and why.

The plan is that of `smartworker simulate`: polls, the worker's row, tasks, and leases
at even distances. What it cannot know is which gaps are drawn after the edge of a
window, and when tasks come: for given moments it is added up here what leases cost,
and looking whose lease a poll has found (`docs/reliability.md`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from math import ceil
from typing import Any

from smartworker.budget import CLOCK, Forecast, polls_between
from smartworker.policy import Policy, lease_for
from smartworker.row_cost import EDGE_COMMANDS, MOST_FRESH, between_edges

#: The causes of a task's four commands: LPUSH, LMOVE, LREM, SET.
TASK_CAUSES = ("publish", "take", "done", "result")
#: Those of them that the worker sends.
RUN = 3
#: The part of a lease that must be left when a message comes: the half suffices, but
#: whoever looks while the message is still held renews what is a third used up.
HALF, TWO_THIRDS = 1 / 2, 2 / 3


@dataclass(frozen=True)
class Range:
    """From `least` up to and with `most` commands."""

    least: int = 0
    most: int = 0

    def excess(self, commands: int) -> int:
        """How many commands lie outside: too many above 0, too few below."""
        return max(commands - self.most, 0) + min(commands - self.least, 0)


@dataclass(frozen=True)
class Standing:
    """A lease on record: when it was written, and when it is taken off."""

    writes: tuple[datetime, ...]
    end: datetime


def compare(
    plan: Forecast,
    policy: Policy,
    moments: Sequence[datetime],
    ledger: Mapping[str, int],
    server: Mapping[str, int],
) -> dict[str, Any]:
    """The plan beside what was counted: by cause in the ledgers, by name by the server.

    They agree if each cause lies within its range, no other cause costs anything, and
    the ledgers' sum is the server's: then no command is unexplained.
    """
    planned = by_cause(plan)
    ranges = allowed(plan, policy, moments)
    causes = {
        cause: {
            "plan": planned.get(cause, 0),
            **asdict(ranges.get(cause, Range())),
            "measured": ledger.get(cause, 0),
        }
        for cause in (*ranges, *sorted(ledger.keys() - ranges.keys()))
    }
    outside = {
        cause: excess
        for cause in causes
        if (excess := ranges.get(cause, Range()).excess(ledger.get(cause, 0)))
    }
    booked, counted = sum(ledger.values()), sum(server.values())
    return {
        "plan": plan.commands,
        "ledger": booked,
        "server": counted,
        "difference": counted - plan.commands,
        "causes": causes,
        "by_command": dict(server),
        "outside": outside,
        "unexplained": abs(counted - booked) + sum(map(abs, outside.values())),
        "agrees": counted == booked and not outside,
    }


def by_cause(plan: Forecast) -> dict[str, int]:
    """The commands of a plan without jobs, by the ledger's causes."""
    tasks = dict.fromkeys(TASK_CAUSES, plan.tasks)
    return {
        "poll": plan.polls,
        **tasks,
        "lease": plan.lease_commands,
        "row": plan.row,
    }


def allowed(
    plan: Forecast, policy: Policy, moments: Sequence[datetime]
) -> dict[str, Range]:
    """By cause, what short tasks sent at these moments may cost in the plan's time.

    The worker runs already when that begins.
    """
    tasks, edges = len(moments), len(changes(policy, plan.start, plan.end))
    return {
        # The first gap after an edge is 0.5 to 1.5 intervals long, and a shorter one
        # leaves room for a poll more. One that is due just when the next window opens
        # or closes may be the one that is made at the edge anyway.
        "poll": Range(plan.polls - ceil(edges / 2), plan.polls + edges),
        **dict.fromkeys(TASK_CAUSES, Range(tasks, tasks)),
        "lease": lease_range(policy, moments),
        # Not planned: it depends on when a poll meets a lease.
        "rescue": Range(0, most_looks(policy, moments)),
        "row": row_range(plan, policy, moments),
    }


def changes(policy: Policy, start: datetime, end: datetime) -> list[datetime]:
    """When windows open and close between."""
    found: list[datetime] = []
    until = policy.decide(start).until
    while until is not None and until < end:
        found.append(until)
        until = policy.decide(until).until
    return found


def standing(
    policy: Policy, moments: Sequence[datetime], enough: float = HALF
) -> Iterator[Standing]:
    """The leases of one worker whose tasks take no time.

    The first message writes it, one that finds less of it left than is `enough` writes
    it anew, and it is taken off when a sixth is left.
    """
    writes: list[datetime] = []
    left_at = off = moments[0] if moments else None
    for moment in moments:
        length = lease_for(policy.decide(moment).poll)
        if writes and off is not None and moment >= off:
            yield Standing(tuple(writes), off)
            writes = []
        if not writes or left_at is None or left_at - moment < length * enough:
            writes.append(moment)
            left_at = moment + length
            # A window that opens or closes meanwhile changes what a sixth is.
            later = policy.decide(left_at - length / 6).poll
            off = left_at - lease_for(later) / 6
    if writes and off is not None:
        yield Standing(tuple(writes), off)


def lease_range(policy: Policy, moments: Sequence[datetime]) -> Range:
    """What leases cost with the fewest and with the most renewals.

    It is a race whether a task that takes no time is still held when somebody looks.
    """
    few, many = (
        lease_cost([*standing(policy, moments, enough)])
        for enough in (HALF, TWO_THIRDS)
    )
    return Range(min(few.least, many.least), max(few.most, many.most))


def lease_cost(leases: Sequence[Standing]) -> Range:
    """One to write a lease or to take it off, and the server's clock each hour.

    The worker may have asked for that shortly before the first.
    """
    writes = [moment for lease in leases for moment in lease.writes]
    asked: list[datetime] = []
    for moment in writes:
        if not asked or moment - asked[-1] > CLOCK:
            asked.append(moment)
    most = len(writes) + len(leases) + len(asked)
    return Range(max(most - 1, 0), most)


def most_looks(policy: Policy, moments: Sequence[datetime]) -> int:
    """Polls at the most that look whose a lease is, with many renewals or few."""
    return max(
        looks(policy, [*standing(policy, moments, enough)])
        for enough in (HALF, TWO_THIRDS)
    )


def looks(policy: Policy, leases: Sequence[Standing]) -> int:
    """Polls at the most that find a lease on record and look whose it is.

    No two of them come within one length of a lease.
    """
    found = 0
    for lease in leases:
        poll = policy.decide(lease.writes[0]).poll
        apart = max(poll, lease_for(poll))
        found += ceil((lease.end - lease.writes[0]) / apart)
    return found


def row_range(plan: Forecast, policy: Policy, moments: Sequence[datetime]) -> Range:
    """What the worker's row costs, by the rule of the plan, for these very moments.

    With the fewest and with the most commands that may lie between two edges. While
    the row is written one poll may come, and the three commands of a task: those are
    recorded with it, and the next 90 begin later.
    """
    edges = changes(policy, plan.start, plan.end)
    least = most = len(EDGE_COMMANDS) * len(edges)
    for begin, end in pairwise((plan.start, *edges, plan.end)):
        within = [moment for moment in moments if begin <= moment < end]
        polls = polls_between(begin, end, policy.decide(begin))
        fewest = polls + RUN * len(within)
        late = MOST_FRESH + (RUN if within else 0)
        least += between_edges(end - begin, fewest * (MOST_FRESH - 1) / late)
        leases = lease_range(policy, within).most
        extra = 1 + leases + most_looks(policy, within)
        most += between_edges(end - begin, fewest + extra)
    return Range(least, most)
