"""The report of a day as plain data; the terminal, the JSON and the page show it.

Instants are aware and in UTC, durations are seconds. The page and the terminal turn
instants into `Report.zone`; the analysis alone decides what belongs to which day.
"""

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True)
class Spread:
    """How long something took, in seconds; all 0 when `count` is 0."""

    count: int = 0
    p50: float = 0.0
    p95: float = 0.0
    longest: float = 0.0


@dataclass(frozen=True)
class JobFigures:
    """One job's runs and triggers; `start_delay` is trigger to start, in seconds."""

    job: str
    ok: int = 0
    failed: int = 0
    retried: int = 0
    missed: int = 0
    late: int = 0
    duplicate: int = 0  # triggers answered with the run that was there
    skipped: int = 0
    refused: int = 0
    made_up: int = 0
    stuck: int = 0
    seconds: Spread = Spread()
    start_delay: Spread = Spread()


@dataclass(frozen=True)
class TaskFigures:
    """One task's runs, of jobs or not; the slowest (by p95) come first."""

    task: str
    ok: int = 0
    failed: int = 0
    retried: int = 0
    seconds: Spread = Spread()


@dataclass(frozen=True)
class ErrorGroup:
    """Errors of one cause: same event, same message once ids and numbers are `#`."""

    cause: str
    event: str
    count: int
    first: datetime
    last: datetime
    task: str | None
    job: str | None
    sample: str  # one line as it was logged, cut to 500 characters


@dataclass(frozen=True)
class Refusal:
    """Calls that one address was refused; `reasons` maps "401 reason" to a count."""

    address: str
    count: int
    reasons: dict[str, int]
    first: datetime
    last: datetime


@dataclass(frozen=True)
class WindowChange:
    """A window opened or closed, or the pace changed for another `reason`."""

    at: datetime
    window: str | None
    poll_seconds: float
    old_poll_seconds: float
    reason: str | None


@dataclass(frozen=True)
class WindowSpan:
    """A window of the plan, cut at the day's ends; for the 24-hour strip."""

    window: str
    poll_seconds: float
    since: datetime
    until: datetime


@dataclass(frozen=True)
class Gap:
    """No worker was heard of between two instants; `until` None: still silent."""

    since: datetime
    until: datetime | None
    seconds: float
    worker: str | None
    planned: bool  # a worker had said that it stops


@dataclass(frozen=True)
class Outage:
    """The server was away; `until` None: not back when the logs end."""

    since: datetime
    until: datetime | None
    seconds: float
    kind: str
    attempts: int
    worker: str | None


@dataclass(frozen=True)
class Start:
    """A worker began or stopped; `how` is "ready" or "stopping"."""

    at: datetime
    worker: str
    how: str


@dataclass(frozen=True)
class Polls:
    """Polls made against those the plan demands; None: the logs do not say."""

    made: int | None
    demanded: int
    workers: int  # most workers that were there at the same time


@dataclass(frozen=True)
class Commands:
    """Billed commands of the day by cause, against the budget of the month."""

    total: int | None  # None: the logs hold no worker_report
    by_cause: dict[str, int]
    budget_month: int  # 0: no budget
    budget_day: int  # the month's share of one day
    ratio: float | None  # total / budget_day


@dataclass(frozen=True)
class Hour:
    """One hour of the local day: 23, 24 or 25 of them, in order."""

    since: datetime
    label: str  # local, "00" to "23"; the second of a repeated hour is "01b"
    commands: int
    polls: int
    runs: int
    failed: int
    demanded_polls: int


@dataclass(frozen=True)
class Run:
    """One finished run, for the strip; `outcome` is ok, failed or retried."""

    start: datetime
    seconds: float
    task: str
    job: str | None
    outcome: str


@dataclass(frozen=True)
class Sent:
    """Polls said by one worker_report: `polls` between `since` and `at`."""

    since: datetime
    at: datetime
    polls: int
    poll_seconds: float | None  # the plan's when it began


@dataclass(frozen=True)
class Day:
    """All that the logs say of one local day."""

    date: date
    since: datetime
    until: datetime  # the next midnight, also when the logs end before
    heard_first: datetime | None  # first and last line of smartworker in the day
    heard_last: datetime | None
    jobs: tuple[JobFigures, ...]
    tasks: tuple[TaskFigures, ...]
    errors: tuple[ErrorGroup, ...]
    refusals: tuple[Refusal, ...]
    changes: tuple[WindowChange, ...]
    spans: tuple[WindowSpan, ...]
    gaps: tuple[Gap, ...]
    outages: tuple[Outage, ...]
    starts: tuple[Start, ...]
    polls: Polls
    commands: Commands
    hours: tuple[Hour, ...]
    runs: tuple[Run, ...]  # at most 2000; `runs_left_out` says how many more there were
    runs_left_out: int
    sent: tuple[Sent, ...]
    events: dict[str, int]  # how often each event was logged
    durations: tuple[tuple[float, int], ...] = ()  # histogram: (up to seconds, runs)


@dataclass(frozen=True)
class Reason:
    """Why somebody should look; `kind` is stable, `text` is one sentence."""

    kind: str  # failed, missed, stuck, error, gap, outage, refused, budget, polls, dead
    text: str
    count: int


@dataclass(frozen=True)
class Reading:
    """What was read: counts of lines, and samples of those that are no events."""

    lines: int
    events: int
    foreign: int  # whole lines of other services
    broken: int  # lines that begin as JSON and are none
    console: int  # lines of the console format, which the review does not parse
    undated: int
    size: int  # bytes after unpacking
    sources: tuple[str, ...]
    broken_samples: tuple[str, ...]
    foreign_samples: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """A day, the day before it if the logs reach back, and what needs attention."""

    zone: str
    made_at: datetime
    day: Day
    before: Day | None
    reasons: tuple[Reason, ...]
    reading: Reading
