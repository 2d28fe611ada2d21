"""The tables of what grows: a row for each step, a column for each peer and figure."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from benchmarks.lab.facts import Facts
from benchmarks.report.rows import excuses
from benchmarks.report.tables import MISSING, Table, count

Path = tuple[str, ...]

PARTS: Mapping[str, tuple[str, str, Mapping[str, Path]]] = {
    "workers": (
        "Commands of a task with more workers",
        "workers",
        {"burst": ("burst", "per_task"), "one by one": ("single", "per_task")},
    ),
    "queues": (
        "Commands with more queues",
        "queues",
        {"boot": ("boot",), "an idle minute": ("idle_per_minute",)},
    ),
    "backlog": (
        "Milliseconds of a task with more of them waiting",
        "tasks waiting",
        {"": ("ms_per_task",)},
    ),
    "payload": (
        "Tasks a second, and bytes of a task, with larger payloads",
        "bytes of payload",
        {
            "tasks/s": ("tasks_per_second",),
            "bytes to the server": ("bytes_to_server",),
            "and from it": ("bytes_from_server",),
        },
    ),
}


def tables(facts: Facts) -> Iterator[Table]:
    """All four, or one that says why nothing was measured."""
    missing = excuses(facts, "growth")
    found = [table for part in PARTS if (table := _steps(facts, part))]
    if found:
        yield replace(found[0], note=missing)
        yield from found[1:]
    else:
        yield Table("How cost and time grow", ("",), [(missing or MISSING,)])


def _steps(facts: Facts, part: str) -> Table | None:
    title, head, figures = PARTS[part]
    peers = [p for p in facts.peers("growth") if facts.at("growth", p[0], part)]
    if not peers:
        return None
    heads = [f"{shown}: {what}".rstrip(": ") for _, shown in peers for what in figures]
    steps = dict.fromkeys(
        step for name, _ in peers for step in facts.at("growth", name, part)
    )
    rows = [
        (
            count(int(step)),
            *(
                count(facts.number("growth", name, part, step, *keys))
                for name, _ in peers
                for keys in figures.values()
            ),
        )
        for step in steps
    ]
    return Table(title, (head, *heads), rows)
