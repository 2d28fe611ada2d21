"""What was asked of smartworker, and whether the raw numbers say it is met."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.lab import readings as read
from benchmarks.lab.facts import Facts
from benchmarks.report.tables import MISSING, Table, count, exact

#: What a lease (2 commands a stretch of work) and the sum of the month (1 for each 90
#: commands) may add to a task; the group's goal has the same above its three.
SHARED = 0.1

ROUGH = "A rough look: few tasks share a lease, and times are those of seconds."


class Verdict(StrEnum):
    """How a goal stands."""

    MET = "met"
    MISSED = "MISSED"
    UNKNOWN = MISSING


@dataclass(frozen=True)
class Goal:
    """A figure that must not be above `most`, or not below `least`."""

    what: str
    figure: Callable[[Facts], float | None]
    most: float | None = None
    least: float | None = None

    def verdict(self, facts: Facts) -> Verdict:
        """Met, missed, or unknown where a number is missing."""
        value = self.figure(facts)
        if value is None:
            return Verdict.UNKNOWN
        if self.most is not None and value > self.most:
            return Verdict.MISSED
        if self.least is not None and value < self.least:
            return Verdict.MISSED
        return Verdict.MET

    @property
    def asked(self) -> str:
        """`at most 450`, `at least 2`."""
        if self.most is not None:
            return f"at most {count(self.most)}"
        return f"at least {count(self.least)}"


def _ours(
    reading: Callable[[Facts, str], float | None],
) -> Callable[[Facts], float | None]:
    return lambda facts: reading(facts, read.OURS)


GOALS = (
    Goal(
        "Commands of an idle day, a worker, everything included",
        read.dearest_idle_day,
        most=450,
    ),
    Goal(
        "Commands of a task with its result: 4, and its share of what many share",
        read.dearest_task,
        most=4 + SHARED,
    ),
    Goal("The same with 10 idle workers", read.among_ten, most=4.2),
    Goal("Commands of a task in a group of 500", _ours(read.grouped), most=3.1),
    Goal("Median pick-up over stock Celery's", _ours(read.pickup), most=1),
    Goal(
        "The same through a link of 20 ms, the worse case",
        _ours(read.pickup_through_link),
        most=0.5,
    ),
    Goal("Tasks a second over stock Celery's", _ours(read.throughput), least=2),
    Goal(
        "The same through a link of 20 ms",
        _ours(read.throughput_through_link),
        least=5,
    ),
    Goal("Memory of an idle worker over stock Celery's", _ours(read.memory), most=1),
    Goal(
        "Processor time of an idle worker over stock Celery's",
        _ours(read.processor),
        most=0.1,
    ),
    Goal(
        "Commands of whole days that the plan cannot explain", read.unexplained, most=0
    ),
)


def table(facts: Facts) -> Table:
    """Every goal with its figure and its verdict."""
    rows = [
        (goal.what, goal.asked, exact(goal.figure(facts)), goal.verdict(facts))
        for goal in GOALS
    ]
    note = ROUGH if facts.quick else ""
    return Table("Goals", ("", "asked", "measured", ""), rows, note)
