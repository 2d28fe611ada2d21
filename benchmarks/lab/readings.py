"""The figures that are quoted, each read from the raw numbers in one place.

All give None where the number is missing. Ratios are to stock Celery with its default
flags, from the same run.
"""

from statistics import fmean
from typing import Any

from benchmarks.lab.facts import Facts, ratio

OURS, STOCK = "smartworker", "celery"
SINGLE = "1x1"
#: Commands a minute below which an idle window of two minutes says too little of a day.
FEW = 20.0
#: Hours of the day on which clocks are put forward; less is part of a day.
SHORTEST_DAY = 23
#: Modes of acknowledgement: late, as smartworker has it by default, and early.
MODES = ("plain", "early")
LINKED = ("worker_link", "both_link")


def boot(facts: Facts, peer: str) -> float | None:
    """Commands from the start of a worker until it is idle."""
    return facts.number("idle", peer, "cases", SINGLE, "boot", "less_idle")


def idle_day(facts: Facts, peer: str) -> float | None:
    """Commands of a worker's day without work.

    Of smartworker the mean of whole days, for its hours are not alike: of a short and
    a long one, so of 24 h. Of others scaled from hours on a fast clock, or from the
    idle window where that is long enough to tell.
    """
    if peer == OURS:
        return fmean(found) if (found := idle_days(facts)) else None
    hours = facts.number("idle", peer, "hours", "total_per_day")
    if hours is not None:
        return hours
    window = ("idle", peer, "cases", SINGLE, "idle")
    rate = facts.number(*window, "total_per_minute")
    if rate is None or rate < FEW:
        return None
    return facts.number(*window, "total_per_day")


def idle_days(facts: Facts) -> list[float]:
    """What the server counted in smartworker's whole days without tasks."""
    found = [day for day in days(facts).values() if not day["tasks"]]
    return [day["server"] for day in found if day["hours"] >= SHORTEST_DAY]


def dearest_idle_day(facts: Facts) -> float | None:
    """The most that one of them cost."""
    return max(idle_days(facts), default=None)


def days(facts: Facts) -> dict[str, Any]:
    """smartworker's whole days; none where they could not be run."""
    found = facts.at("day", OURS) or {}
    return {} if "unavailable" in found else dict(found)


def unexplained(facts: Facts) -> float | None:
    """Commands of whole days that the plan and its documents do not account for."""
    found = [day["unexplained"] for day in days(facts).values()]
    return float(sum(found)) if found else None


def pickup(facts: Facts, peer: str) -> float | None:
    """Median pick-up beside the server, as a ratio."""
    return facts.number("pickup", peer, "local", "ratio")


def pickup_through_link(facts: Facts, peer: str) -> float | None:
    """Median pick-up with 20 ms to the server, as a ratio: the worse of two cases."""
    found = [facts.number("pickup", peer, series, "ratio") for series in LINKED]
    return max((each for each in found if each is not None), default=None)


def throughput(facts: Facts, peer: str) -> float | None:
    """Tasks a second beside the server, as a ratio: the worse mode, if it ran both."""
    found = [rate(facts, peer, series) for series in MODES]
    return min((each for each in found if each is not None), default=None)


def throughput_through_link(facts: Facts, peer: str) -> float | None:
    """Tasks a second with 20 ms to the server, as a ratio."""
    return rate(facts, peer, "link")


def rate(facts: Facts, peer: str, series: str) -> float | None:
    """Tasks a second of one series, as a ratio."""
    path = (series, "tasks_per_second")
    mine, stock = (facts.number("throughput", each, *path) for each in (peer, STOCK))
    return ratio(mine, stock)


def memory(facts: Facts, peer: str) -> float | None:
    """PSS of an idle worker, as a ratio."""
    return _footprint(facts, peer, "idle_bytes")


def processor(facts: Facts, peer: str) -> float | None:
    """Processor time of an idle worker, as a ratio."""
    return _footprint(facts, peer, "idle_cpu_seconds_per_hour")


def _footprint(facts: Facts, peer: str, name: str) -> float | None:
    mine, stock = (facts.number("footprint", each, name) for each in (peer, STOCK))
    return ratio(mine, stock)


def task(facts: Facts, peer: str) -> float | None:
    """Commands of a single task with its result, of sender and worker together."""
    return facts.number("tasks", peer, "results", "single", "per_task")


def task_without(facts: Facts, peer: str) -> float | None:
    """Commands of a single task whose result nobody keeps."""
    return facts.number("tasks", peer, "no_results", "single", "per_task")


def grouped(facts: Facts, peer: str) -> float | None:
    """Commands of one of 500 tasks with results that are sent in one call."""
    return facts.number("tasks", peer, "results", "group", "per_task")


def watched(facts: Facts, peer: str) -> float | None:
    """Commands of a status page that shows a task for five minutes.

    Where there is a long poll it waits, else it asks each 2 s.
    """
    status = ("tasks", peer, "status")
    found = facts.number(*status, "long_poll", "five_minutes")
    return facts.number(*status, "five_minutes") if found is None else found


def dearest_task(facts: Facts) -> float | None:
    """Commands of a task of ours with its result, alone or in a burst."""
    return _dearest(facts, ("tasks", OURS, "results"))


def among_ten(facts: Facts) -> float | None:
    """The same with ten workers that all hear of it, in the dearer of two measures."""
    found = (
        _dearest(facts, ("tasks", OURS, "ten_workers")),
        _dearest(facts, ("growth", OURS, "workers", "10")),
    )
    return max((each for each in found if each is not None), default=None)


def _dearest(facts: Facts, path: tuple[str, ...]) -> float | None:
    found = [facts.number(*path, way, "per_task") for way in ("single", "burst")]
    return max((each for each in found if each is not None), default=None)
