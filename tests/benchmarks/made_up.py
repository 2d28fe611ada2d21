"""Raw numbers of no machine, in the shapes that the measures write."""

import json
from pathlib import Path
from typing import Any

from benchmarks.__main__ import MEASURES
from benchmarks.lab.peers import PEERS

MACHINE = {"cores": 2, "python": "3.11.7", "server": "Valkey 9.1.0"}
#: Every goal is met by these; ours is the first of each pair, all others the second.
DAY, MINUTE = 412, (0.3, 100.0)
PICKUP, LINK = (0.9, 1.0), (0.4, 1.0)
RATE, FAR = (2.4, 1.0), (7.5, 1.0)
BYTES, PROCESSOR = (80e6, 100e6), (0.5, 6.0)
TASK, WITHOUT, GROUPED = (4.05, 17.0), (3.0, 10.0), (3.01, 17.0)


def numbers() -> dict[str, dict[str, Any]]:
    """All measures of all peers."""
    makers = {
        "idle": idle,
        "footprint": footprint,
        "pickup": pickup,
        "throughput": throughput,
        "growth": growth,
        "day": day,
        "tasks": tasks,
        "bill": bill,
    }
    assert makers.keys() == set(MEASURES)
    return {name: maker() for name, maker in makers.items()}


def write(
    folder: Path, found: dict[str, dict[str, Any]], *, quick: bool = False
) -> None:
    """A file for each measure."""
    for name, values in found.items():
        facts = {"measure": name, "quick": quick, "machine": MACHINE}
        path = folder / f"{name}.json"
        path.write_text(json.dumps({**facts, "numbers": values}), encoding="utf-8")


def each(pair: tuple[float, float]) -> dict[str, float]:
    """Ours has the first figure, everybody else the second."""
    return {name: pair[not name.startswith("smartworker")] for name in PEERS}


def idle() -> dict[str, Any]:
    """One case of each; hours on a fast clock of those that send little."""

    def rates(rate: float) -> dict[str, Any]:
        return {
            "per_minute": {"brpop": rate},
            "total_per_minute": rate,
            "total_per_day": round(rate * 1440),
        }

    boot = {"commands": {"info": 5}, "total": 8, "less_idle": 5.0}
    return {
        name: {
            "cases": {"1x1": {"boot": boot, "idle": rates(rate)}},
            **({"hours": rates(rate)} if rate < MINUTE[1] else {}),
        }
        for name, rate in each(MINUTE).items()
    }


def footprint() -> dict[str, Any]:
    """With the variant that the measure adds."""
    used = each(PROCESSOR)
    found: dict[str, Any] = {
        name: {
            "processes": 3,
            "idle_bytes": size,
            "used_bytes": size,
            "idle_cpu_seconds_per_hour": used[name],
            "start_up_seconds": 1.2,
        }
        for name, size in each(BYTES).items()
    }
    return {**found, "smartworker-command": found["smartworker"]}


def pickup() -> dict[str, Any]:
    """All series of all peers."""
    far = each(LINK)

    def series(ratio: float) -> dict[str, float]:
        return {"p50": 3 * ratio, "p95": 4.0, "p99": 5.0, "max": 300.0, "ratio": ratio}

    return {
        name: {
            "local": series(near),
            "worker_link": series(far[name]),
            "both_link": series(far[name]),
        }
        for name, near in each(PICKUP).items()
    }


def throughput() -> dict[str, Any]:
    """Four series of all peers."""
    far = each(FAR)

    def series(ratio: float) -> dict[str, float]:
        return {"tasks_per_second": 800 * ratio, "cpu_seconds_per_1000": 2 / ratio}

    return {
        name: {
            "plain": series(near),
            "early": series(near),
            "link": series(far[name]),
        }
        for name, near in each(RATE).items()
    }


def growth() -> dict[str, Any]:
    """Two steps of each part, of two peers."""

    def steps(per_task: float) -> dict[str, Any]:
        task = {"per_task": per_task}
        return {
            "workers": {n: {"burst": task, "single": task} for n in ("1", "10")},
            "queues": {"1": {"boot": 5, "idle_per_minute": 2.0}},
            "backlog": {"10": {"ms_per_task": 1.2}, "100000": {"ms_per_task": 1.3}},
            "payload": {
                "1000000": {
                    "tasks_per_second": 50.0,
                    "bytes_to_server": 1.4e6,
                    "bytes_from_server": 1.4e6,
                }
            },
        }

    return {"smartworker": steps(4.1), "celery": steps(17.3)}


def day() -> dict[str, Any]:
    """A day that agrees with its plan."""
    poll = {"plan": 403, "least": 401, "most": 405, "measured": 403}
    found = {"hours": 25.0, "tasks": 0, "plan": 403, "server": DAY, "unexplained": 0}
    found |= {"agrees": True, "causes": {"poll": poll}}
    return {"smartworker": {"autumn": found}}


def tasks() -> dict[str, Any]:
    """With results and without; ours also among ten workers, and watched."""

    def ways(one: float, grouped: float) -> dict[str, Any]:
        apart = {"producer": 1.0, "worker": one - 1}
        return {
            "single": {"per_task": one, **apart},
            "burst": {"per_task": one, **apart},
            "group": {"per_task": grouped, **apart},
        }

    without, grouped = each(WITHOUT), each(GROUPED)
    found = {
        name: {
            "results": ways(one, grouped[name]),
            "no_results": ways(without[name], grouped[name]),
        }
        for name, one in each(TASK).items()
    }
    wait = {"long_poll": {"five_minutes": 5}}
    found["celery"]["status"] = {"question": 1, "five_minutes": 150}
    found["smartworker"] |= {
        "ten_workers": ways(4.1, 3.05),
        "status": {"question": 1, "five_minutes": 150, **wait},
    }
    return found


def bill() -> dict[str, Any]:
    """One user, with two programs."""

    def month(commands: int, dollars: float) -> dict[str, Any]:
        user = {"commands": commands, "dollars": dollars, "free_until": 99}
        return {"users": {"swim": user}}

    return {"smartworker": month(15_000, 0.0), "celery": month(4_300_000, 8.6)}
