"""What depends on the machine: memory, processor time, pick-up, throughput."""

from collections.abc import Callable, Iterator

from benchmarks.lab.facts import Facts
from benchmarks.lab.readings import STOCK, memory, processor, rate
from benchmarks.report.rows import Cell, by_peer
from benchmarks.report.tables import DASH, Table, count, megabytes, ms, seconds, times


def footprint(facts: Facts) -> Iterator[Table]:
    """Memory, processor time, start."""

    def number(name: str, shown: Callable[[float | None], str] = count) -> Cell:
        return lambda peer: shown(facts.number("footprint", peer, name))

    yield by_peer(
        facts,
        "footprint",
        "Memory, processor time and start of one worker",
        {
            "processes": number("processes"),
            "PSS idle": number("idle_bytes", megabytes),
            "ratio": lambda peer: times(memory(facts, peer)),
            "PSS after tasks": number("used_bytes", megabytes),
            "CPU of an idle hour": number("idle_cpu_seconds_per_hour", seconds),
            "its ratio": lambda peer: times(processor(facts, peer)),
            "start to first task": number("start_up_seconds", seconds),
        },
    )


def pickup(facts: Facts) -> Iterator[Table]:
    """How late tasks begin, beside the server and through the link."""
    for series, title in (
        ("local", "Pick-up, everything beside the server"),
        ("stock_sender", "Pick-up of what a plain Celery client sends"),
        ("worker_link", "Pick-up, the worker behind a link of 20 ms"),
        ("both_link", "Pick-up, worker and sender behind links of 20 ms"),
    ):

        def number(
            name: str, shown: Callable[[float | None], str] = ms, at: str = series
        ) -> Cell:
            return lambda peer: shown(facts.number("pickup", peer, at, name))

        names = ("p50", "p95", "p99", "max")
        yield by_peer(
            facts,
            "pickup",
            title,
            {"ratio of p50": number("ratio", times), **{n: number(n) for n in names}},
            having=None if series == "local" else series,
        )


def throughput(facts: Facts) -> Iterator[Table]:
    """Tasks a second of every backlog; what each peer did, then what the pair did."""

    def number(name: str, shown: Callable[[float | None], str] = count) -> Cell:
        return lambda peer: shown(facts.number("throughput", peer, "plain", name))

    def both(series: str) -> Cell:
        def cell(peer: str) -> str:
            found = facts.number("throughput", peer, series, "tasks_per_second")
            if found is None:
                return DASH
            return f"{times(rate(facts, peer, series))} ({count(found)}/s)"

        return cell

    yield by_peer(
        facts,
        "throughput",
        "Working off a backlog",
        {
            "ratio": lambda peer: times(rate(facts, peer, "plain")),
            "tasks a second": number("tasks_per_second"),
            "CPU of 1,000 tasks": number("cpu_seconds_per_1000", seconds),
        },
        "20,000 tasks with results; fewer where the docstring says so. CPU: processor "
        "seconds of all processes of the worker.",
    )
    yield by_peer(
        facts,
        "throughput",
        "Working off other backlogs: ratio, and tasks a second",
        {
            "no results": both("no-results"),
            "early acks": both("early"),
            "link of 20 ms": both("link"),
            "1 KB each": both("1KB"),
            "100 KB each": both("100KB"),
        },
        f"Ratios are to `{STOCK}` in the same series.",
        having="link",
    )
