"""What this process has spent this month: its ledger, cut where the month ends."""

import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from smartworker.rows import Outcomes, month_of
from smartworker.store.meter import Counts, Ledger, is_billed

#: Runs of jobs since the start: {(job, outcome): count}.
Runs = Counter[tuple[str, str]]

# Each message is taken off its in-flight list once, and published with one LPUSH; a
# group goes out with one for all.
DONE = ("done", "lrem")
PUBLISHED = ("publish", "lpush")


@dataclass(frozen=True)
class Sums:
    """What a row says of this month, and the total of the month before."""

    month: str
    commands: dict[str, int]
    messages: dict[str, int]
    runs: dict[str, Outcomes]
    before: dict[str, int]

    @property
    def billed(self) -> int:
        """All billed commands of this month."""
        return sum(self.commands.values())


@dataclass(frozen=True)
class _State:
    counts: Counts
    runs: Runs


class Account:
    """One start of a process, and what it has spent since; not before it was made."""

    def __init__(
        self, ledger: Ledger, now: datetime, runs: Callable[[], Runs] = Counter
    ) -> None:
        self.id = uuid.uuid4().hex
        self.started = now
        self._ledger = ledger
        self._runs = runs
        self._base = self._state()
        self._said = self._recorded = self._base
        self._month = month_of(now)
        self._before: dict[str, int] = {}

    def sums(self, now: datetime) -> Sums:
        """This month until now; costs nothing."""
        state = self._said = self._state()
        month = month_of(now)
        if month != self._month:
            spent = sum(_commands(state.counts - self._base.counts).values())
            self._before = {self._month: spent} if spent else {}
            self._base, self._month = state, month
        counts = state.counts - self._base.counts
        return Sums(
            month=month,
            commands=_commands(counts),
            messages={
                name: counts[key]
                for name, key in (("done", DONE), ("published", PUBLISHED))
                if counts[key]
            },
            runs=_by_job(state.runs - self._base.runs),
            before=self._before,
        )

    def recorded(self) -> None:
        """What `sums` said last stands in the row now."""
        self._recorded = self._said

    def begin_anew(self) -> None:
        """Another row: what was recorded is counted elsewhere by now."""
        self.id = uuid.uuid4().hex
        self._base = self._recorded
        self._before = {}

    def _state(self) -> _State:
        return _State(self._ledger.counts(), Counter(self._runs()))


def _commands(counts: Mapping[tuple[str, str], int]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for (cause, command), count in counts.items():
        if is_billed(command):
            found[cause] += count
    return dict(sorted(found.items()))


def _by_job(runs: Runs) -> dict[str, Any]:
    found: dict[str, Outcomes] = {}
    for (job, outcome), count in sorted(runs.items()):
        found.setdefault(job, {})[outcome] = count
    return found
