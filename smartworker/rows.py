"""The row of a process: what it does now, and what it has spent this month.

All rows stand in one hash, field by field the id of a start. Each process writes its
own, beside work it does anyway; whoever wants to know reads the hash with 1 command.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from smartworker.windows import to_utc

#: Tasks that a row names; more would make it long.
MOST_ACTIVE = 20
#: A process that has not written for so long is gone, whatever its row says.
SILENT_FOR = timedelta(days=2)
#: So long after a window edge each worker that lives has written its row.
EDGE_WITHIN = timedelta(minutes=30)
#: The id of the row that keeps the sums of processes that are gone: this, and a kind.
FOLDED = "folded-"

#: What became of the runs of a job: {succeeded, failed, retried}.
Outcomes = dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One process. Times are ISO 8601 in UTC, months as "2026-11" in UTC.

    What is of this month belongs to `month`: a reader compares that first.
    """

    id: str
    #: "worker" or "web".
    kind: str
    name: str
    started: str
    written: str
    stopped: bool = False
    window: str | None = None
    poll_seconds: float | None = None
    until: str | None = None
    next_poll: str | None = None
    last_poll: str | None = None
    doorbell: str | None = None
    #: "ok", or the kind of outage.
    broker: str = "ok"
    #: Messages taken and not done.
    held: int = 0
    queues: list[str] = field(default_factory=list)
    #: {task, task_id, job, since} of at most 20 tasks that run.
    active: list[dict[str, Any]] = field(default_factory=list)
    #: By task name, since the start: succeeded, failed, retried, seconds, longest.
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: By job, this month.
    runs: dict[str, Outcomes] = field(default_factory=dict)
    month: str = ""
    #: By cause, this month: commands that are billed.
    commands: dict[str, int] = field(default_factory=dict)
    #: This month: messages that were done, and published.
    messages: dict[str, int] = field(default_factory=dict)
    #: The month before: all commands that were billed.
    before: dict[str, int] = field(default_factory=dict)
    #: The highest per cent of the budget that was told of, this month.
    told: int = 0

    @property
    def is_folded(self) -> bool:
        """Whether this is no process, but the sum of several that are gone."""
        return self.id.startswith(FOLDED)

    @property
    def billed(self) -> int:
        """All billed commands of its month."""
        return sum(self.commands.values())

    def is_gone(self, now: datetime) -> bool:
        """Whether the process has ended, or has been silent for two days."""
        written = datetime.fromisoformat(self.written)
        return self.stopped or to_utc(now) - written > SILENT_FOR

    def has_missed_its_edge(self, now: datetime) -> bool:
        """Whether it had to write at a window edge, and did not: perhaps killed."""
        try:
            until = datetime.fromisoformat(self.until or "")
        except (ValueError, TypeError):
            return False
        return until.tzinfo is not None and to_utc(now) - until > EDGE_WITHIN

    def as_json(self) -> str:
        """The value in the hash."""
        return json.dumps(asdict(self), separators=(",", ":"))


def month_of(now: datetime) -> str:
    """The UTC calendar month of an instant, such as "2026-11"."""
    return f"{to_utc(now):%Y-%m}"


def month_start(month: str) -> datetime:
    """The first instant of a month. Raises ValueError for what is none."""
    return datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)


def month_end(month: str) -> datetime:
    """The first instant after a month."""
    return (month_start(month) + timedelta(days=31)).replace(day=1)


def month_before(month: str) -> str:
    """The month before this one."""
    return month_of(month_start(month) - timedelta(days=1))


def read_rows(found: Mapping[Any, bytes | str]) -> list[Row]:
    """The rows in a hash, oldest start first; what cannot be read is left out."""
    rows = (_read(value) for value in found.values())
    return sorted((row for row in rows if row is not None), key=lambda r: r.started)


def workers_of(rows: Iterable[Row], now: datetime) -> int:
    """How many workers seem to run; one that was killed, until its next window edge."""
    return sum(
        row.kind == "worker" and not (row.is_gone(now) or row.has_missed_its_edge(now))
        for row in rows
    )


def spent(rows: Iterable[Row], month: str) -> dict[str, int]:
    """The billed commands of a month by cause, all processes together."""
    total: Counter[str] = Counter()
    for row in rows:
        if row.month == month:
            total.update(row.commands)
    return dict(sorted(total.items()))


def runs_of(rows: Iterable[Row], month: str) -> dict[str, Outcomes]:
    """What became of the runs of each job in a month, all processes together."""
    total: dict[str, Counter[str]] = {}
    for row in rows:
        if row.month == month:
            for job, outcomes in row.runs.items():
                total.setdefault(job, Counter()).update(outcomes)
    return {job: dict(counts) for job, counts in sorted(total.items())}


def messages_of(rows: Iterable[Row], month: str) -> dict[str, int]:
    """The messages done and published in a month, all processes together."""
    total: Counter[str] = Counter()
    for row in rows:
        if row.month == month:
            total.update(row.messages)
    return dict(total)


def told_of(rows: Iterable[Row], month: str) -> int:
    """The highest per cent of a month's budget that some process has told of."""
    return max((row.told for row in rows if row.month == month), default=0)


def total_before(rows: Iterable[Row], month: str) -> int:
    """All billed commands of a month that is over, as far as the rows know."""
    return sum(
        row.billed if row.month == month else row.before.get(month, 0) for row in rows
    )


def fold(rows: Iterable[Row], kind: str, now: datetime) -> Row:
    """One row that keeps the sums of these: this month's, and the last one's total."""
    mine = [row for row in rows if row.kind == kind]
    month = month_of(now)
    last = month_before(month)
    before = total_before(mine, last)
    stamp = to_utc(now).isoformat(timespec="seconds")
    return Row(
        id=FOLDED + kind,
        kind=kind,
        name=f"{kind}s that are gone",
        started=min((row.started for row in mine), default=stamp),
        written=stamp,
        stopped=True,
        month=month,
        commands=spent(mine, month),
        runs=runs_of(mine, month),
        messages=messages_of(mine, month),
        before={last: before} if before else {},
        told=told_of(mine, month),
    )


_TEXTS = ("id", "kind", "name", "started", "written", "broker", "month")
_LISTS = ("queues", "active")
_NESTED = ("tasks", "runs")
_COUNTS = ("commands", "messages", "before")
_NAMES = frozenset(each.name for each in fields(Row))


def _read(value: bytes | str) -> Row | None:
    """A row; None for what is none. Fields of a later release are left out."""
    try:
        found = json.loads(value)
        row = Row(**{name: found[name] for name in _NAMES & found.keys()})
        _check(row)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return row


def _check(row: Row) -> None:
    """Raise ValueError for a field of the wrong kind; sums must not break on it."""
    if not (
        all(isinstance(getattr(row, name), str) for name in _TEXTS)
        and all(isinstance(getattr(row, name), list) for name in _LISTS)
        and all(isinstance(each, dict) for each in row.active)
        and all(_is_nested(getattr(row, name)) for name in _NESTED)
        and all(_is_counts(getattr(row, name)) for name in _COUNTS)
        and all(_is_counts(outcomes) for outcomes in row.runs.values())
        and isinstance(row.told, int)
    ):
        raise ValueError("a field is of another kind")
    for stamp in (row.started, row.written):
        if datetime.fromisoformat(stamp).tzinfo is None:
            raise ValueError("a time without a zone")
    month_start(row.month)


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(each, dict) for each in value.values()
    )


def _is_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(each, int) for each in value.values()
    )
