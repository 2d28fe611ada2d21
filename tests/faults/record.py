"""What the tasks of fault tests did: one line for each beginning and each end."""

import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Start:
    """One run of a task: its number and process, when it began, which attempt it is."""

    number: str
    pid: int
    at: float
    attempt: int


class Record:
    """A file that all processes append to; a line is never torn and never lost."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()

    def write(self, *words: object) -> None:
        """One line, in one write."""
        line = " ".join(map(str, words)) + "\n"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    def start(self, number: object, attempt: int) -> None:
        """A task begins."""
        self.write("start", number, os.getpid(), time.time(), attempt)

    def end(self, number: object) -> None:
        """A task has done its work."""
        self.write("end", number)

    def runs(self) -> list[Start]:
        """Every beginning, in order."""
        return [
            Start(number, int(pid), float(at), int(attempt))
            for kind, number, pid, at, attempt in self._lines(5)
            if kind == "start"
        ]

    def starts(self) -> Counter[str]:
        """How often each number began."""
        return Counter(run.number for run in self.runs())

    def ends(self) -> Counter[str]:
        """How often each number was done."""
        return Counter(number for kind, number in self._lines(2) if kind == "end")

    def lost(self, numbers: Iterable[object]) -> set[str]:
        """Those that were never done."""
        return set(map(str, numbers)) - self.ends().keys()

    def duplicates(self) -> int:
        """Beginnings beyond the first of each number."""
        return sum(self.starts().values()) - len(self.starts())

    def killed_runs(self) -> Counter[int]:
        """For each process how many of its runs were done once more elsewhere."""
        last: dict[str, int] = {}
        found: Counter[int] = Counter()
        for run in self.runs():
            if run.number in last:
                found[last[run.number]] += 1
            last[run.number] = run.pid
        return found

    def _lines(self, words: int) -> list[list[str]]:
        lines = map(str.split, self.path.read_text().splitlines())
        return [line for line in lines if len(line) == words]
