"""A smartworker's log file, read while the worker writes it."""

import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

#: What a worker says when its time-outs are too short for this machine, or worse.
TROUBLE = frozenset(
    {
        "broker_lost",
        "broker_still_lost",
        "delivery_lost",
        "doorbell_refused",
        "lease_not_renewed",
        "results_away",
        "row_not_written",
    }
)


class Journal:
    """The lines that are JSON objects, as far as they were written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open(encoding="utf-8", errors="replace")
        self._rest = ""
        self._lines: list[dict[str, Any]] = []

    def lines(self, event: str) -> list[dict[str, Any]]:
        """All lines of an event so far."""
        *whole, self._rest = (self._rest + self._file.read()).split("\n")
        self._lines += [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in self._lines if line.get("event") == event]

    def reported(self, moment: datetime) -> bool:
        """Whether the worker has told what it sent in the hour up to this moment."""
        return any(_since(x) < moment <= _told(x) for x in self.lines("worker_report"))

    def commands(self, begin: datetime, end: datetime) -> Counter[str]:
        """Billed commands by cause, of the hours that begin within."""
        total: Counter[str] = Counter()
        for line in self.lines("worker_report"):
            if begin <= _since(line) < end:
                total.update(line["commands"])
        return total

    def trouble(self, begin: datetime) -> Counter[str]:
        """What went wrong since then, and how often."""
        return Counter(
            name
            for name in TROUBLE
            for line in self.lines(name)
            if _told(line) >= begin
        )

    def close(self) -> None:
        """Read no more."""
        self._file.close()


def _since(line: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(line["since"])


def _told(line: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(line["timestamp"])
