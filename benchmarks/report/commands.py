"""What is counted in commands: idling, tasks, whole days."""

from collections.abc import Iterator, Mapping

from benchmarks.lab.facts import Facts
from benchmarks.lab.readings import OURS, days, idle_day
from benchmarks.report.rows import Cell, by_peer
from benchmarks.report.tables import MISSING, Table, count

#: Cases of the idle measure: workers and queues.
CASES = {
    "1 worker": "1x1",
    "2": "2x1",
    "5": "5x1",
    "10": "10x1",
    "7 queues": "1x7",
}


def idle(facts: Facts) -> Iterator[Table]:
    """Boot and idling of one worker, and the minute of several."""

    def number(*keys: str, case: str = "1x1") -> Cell:
        return lambda peer: count(facts.number("idle", peer, "cases", case, *keys))

    def often(peer: str) -> str:
        of_peer = ("idle", peer)
        hours = facts.at(*of_peer, "hours", "per_minute")
        found = hours or facts.at(*of_peer, "cases", "1x1", "idle", "per_minute") or {}
        return ", ".join(f"{name} {count(n)}" for name, n in [*found.items()][:4])

    yield by_peer(
        facts,
        "idle",
        "One idle worker",
        {
            "boot": number("boot", "less_idle"),
            "a day": lambda peer: count(idle_day(facts, peer)),
            "most often, a minute": often,
        },
        "Boot: until 15 s after the worker takes tasks, less those seconds' share of "
        "idling. A day: smartworker's is the mean of the whole days below, that of "
        "peers with few commands is scaled from 4 hours on a fast clock, that of "
        "others from 120 s. Most often: smartworker's is that of quiet hours.",
    )
    yield by_peer(
        facts,
        "idle",
        "An idle minute of several workers, and of one with seven queues",
        {
            name: number("idle", "total_per_minute", case=case)
            for name, case in CASES.items()
        },
        "Scaled from 120 s: 0 is what happens less often. smartworker is in its quiet "
        "hours.",
    )
    yield by_peer(
        facts,
        "idle",
        "The boot of several workers, and of one with seven queues",
        {name: number("boot", "less_idle", case=case) for name, case in CASES.items()},
    )


def tasks(facts: Facts) -> Iterator[Table]:
    """What a task costs, sender and worker apart, and asking for its state."""

    def number(*keys: str) -> Cell:
        return lambda peer: count(facts.number("tasks", peer, *keys))

    for part, title in (
        ("results", "Commands of a task with its result"),
        ("no_results", "Commands of a task without result"),
        ("ten_workers", "Commands of a task with its result, among ten workers"),
    ):
        yield by_peer(
            facts,
            "tasks",
            title,
            {
                "single": number(part, "single", "per_task"),
                "burst of 500": number(part, "burst", "per_task"),
                "sender": number(part, "burst", "producer"),
                "worker": number(part, "burst", "worker"),
                "group of 500": number(part, "group", "per_task"),
                "its sender": number(part, "group", "producer"),
            },
            having=None if part == "results" else part,
        )
    yield by_peer(
        facts,
        "tasks",
        "Commands of watching a task for five minutes",
        {
            "asking each 2 s": number("status", "five_minutes"),
            "long poll": number("status", "long_poll", "five_minutes"),
        },
        having="status",
    )


def day(facts: Facts) -> Iterator[Table]:
    """Whole days against the plan, in all and by cause."""
    rows = [
        (
            f"{name}, {count(found['hours'])} h",
            *(count(found[key]) for key in ("tasks", "plan", "server", "unexplained")),
            "yes" if found["agrees"] else "NO",
        )
        for name, found in days(facts).items()
    ]
    why = facts.why_not("day", OURS) or MISSING
    yield Table(
        "Whole days of smartworker, against its plan",
        ("", "tasks", "plan", "counted", "unexplained", "agrees"),
        rows or [(why, *[""] * 5)],
        "Not in the plan: looking whose lease a poll has found, and what is drawn at "
        "random. Both are documented, and what they may cost is not unexplained.",
    )
    causes = [
        (f"{name}: {cause}", *(count(c[key]) for key in ("plan", "measured")), span(c))
        for name, found in days(facts).items()
        for cause, c in found["causes"].items()
    ]
    if causes:
        yield Table("The same, by cause", ("", "plan", "counted", "allowed"), causes)


def span(cause: Mapping[str, int]) -> str:
    """`200`, or `18 to 24`."""
    least, most = cause["least"], cause["most"]
    return count(most) if least == most else f"{count(least)} to {count(most)}"
