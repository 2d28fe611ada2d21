"""The two tables that matter, and the picture; the README shows the first of them."""

from collections.abc import Callable, Iterator, Mapping

from benchmarks.lab import readings as read
from benchmarks.lab.facts import Facts
from benchmarks.lab.peers import PEERS
from benchmarks.report.picture import Bars, Chart, drawn
from benchmarks.report.tables import MISSING, Table, count, times
from smartworker.budget import FREE_COMMANDS

Reading = Callable[[Facts, str], float | None]

COMMANDS: Mapping[str, Reading] = {
    "start to idle": read.boot,
    "an idle day": read.idle_day,
    "a task with its result": read.task,
    "without result": read.task_without,
    "one of a group of 500": read.grouped,
    "5 min of a status page": read.watched,
}
SPEED: Mapping[str, Reading] = {
    "pick-up": read.pickup,
    "pick-up, 20 ms away": read.pickup_through_link,
    "tasks a second": read.throughput,
    "tasks a second, 20 ms away": read.throughput_through_link,
    "memory, idle": read.memory,
    "processor, idle": read.processor,
}


def tables(facts: Facts) -> Iterator[Table]:
    """Commands, then speed and memory as ratios."""
    yield _table(facts, "Commands", COMMANDS, count)
    yield _table(
        facts,
        "Multiples of stock Celery's",
        SPEED,
        times,
        "Less is better, but for tasks a second; 20 ms is the round trip to the "
        "server. Pick-up is the median. Where there are two cases (who is away; early "
        "or late acknowledgement), the worse one counts.",
    )


def _table(
    facts: Facts,
    title: str,
    readings: Mapping[str, Reading],
    shown: Callable[[float | None], str],
    note: str = "",
) -> Table:
    rows = []
    for name, peer in PEERS.items():
        values = [reading(facts, name) for reading in readings.values()]
        if any(value is not None for value in values):
            rows.append((peer.title, *map(shown, values)))
    blank = (MISSING, *[""] * len(readings))
    return Table(title, (title, *readings), rows or [blank], note)


def picture(facts: Facts) -> str:
    """An idle day and a thousand tasks, of all peers."""
    charts = (
        Chart(
            "commands of a day without work",
            FREE_COMMANDS / 30,
            f"free: {FREE_COMMANDS:,} a month",
            tens=True,
        ),
        Chart("commands of 1,000 tasks with their results"),
    )
    bars = [
        Bars(peer.title, _values(facts, name), peer.folder == read.OURS)
        for name, peer in PEERS.items()
    ]
    return drawn("What an idle day and a thousand tasks cost", charts, bars)


def _values(facts: Facts, peer: str) -> tuple[float | None, float | None]:
    task = read.task(facts, peer)
    return read.idle_day(facts, peer), None if task is None else task * 1000
