"""What became of the tasks of this worker, by their names: how many, and how long.

Counted in the worker's main process, where all pools report, and read by
`smart_status`; it costs no command.
"""

import threading
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["succeeded", "failed", "retried"]


@dataclass
class Figures:
    """The runs of one kind of task; `retried` ones are followed by another."""

    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    #: Of all runs together, and of the longest one.
    seconds: float = 0.0
    longest: float = 0.0


class FiguresByTask:
    """The figures of all kinds of tasks."""

    def __init__(self) -> None:
        self._figures: dict[str, Figures] = {}
        # A thread pool tells of its ends from its threads.
        self._lock = threading.Lock()
        self._runs: Counter[tuple[str, str]] = Counter()

    def note(
        self, task: str, outcome: Outcome, seconds: float, job: str | None = None
    ) -> None:
        """A run has ended; `job`: whose run it was."""
        with self._lock:
            if job is not None:
                self._runs[job, outcome] += 1
            mine = self._figures.setdefault(task, Figures())
            setattr(mine, outcome, getattr(mine, outcome) + 1)
            mine.seconds = round(mine.seconds + seconds, 3)
            mine.longest = max(mine.longest, round(seconds, 3))

    def as_json(self) -> dict[str, dict[str, Any]]:
        """For programs, by the names of the tasks."""
        return {name: asdict(each) for name, each in sorted(self._figures.items())}

    def runs(self) -> Counter[tuple[str, str]]:
        """What became of the runs of jobs: {(job, outcome): count}."""
        with self._lock:
            return self._runs.copy()


#: This process's own.
figures = FiguresByTask()
