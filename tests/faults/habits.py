"""What most rows of the fault matrix do and say."""

import json
from typing import Any

import pytest

from tests.faults.stage import Stage

full = pytest.mark.full

#: Child processes or threads of a worker, `c` of the matrix.
CONCURRENCY = 4
#: Messages that such a worker holds: four for each of them.
HELD = 4 * CONCURRENCY
#: `I` of the matrix: in a window, and during the day.
PEAK, DAY = 2.0, 20.0
#: Seconds within which a worker is back after the longest pause between two tries.
BACK = 35.0


def calm(**settings: str) -> dict[str, str]:
    """The day's interval and a long lease: hardly a command of its own accord."""
    return {
        "SMARTWORKER_QUIET_POLL": f"{DAY:g}s",
        "SMARTWORKER_LEASE": "300s",
        **settings,
    }


def one_more(stage: Stage, name: object, seconds: float = BACK) -> float:
    """Publish one task; the seconds until it was done."""
    stage.publish("note", [name])
    return stage.done([name], seconds)


def configured(**conf: Any) -> str:
    """Celery settings, for `FAULTY_CONF`."""
    return json.dumps(conf)
