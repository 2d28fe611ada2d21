"""What one local day's lines add up to; its size does not grow with the lines."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime

from smartworker.events import EVENTS
from smartworker.logs import Redactor
from smartworker.review.lines import Line
from smartworker.review.measures import (
    OTHERS,
    Histogram,
    Notable,
    Table,
    cause_of,
)
from smartworker.review.report import (
    ErrorGroup,
    JobFigures,
    Refusal,
    TaskFigures,
    WindowChange,
)

NAMES, CAUSES, ADDRESSES, CHANGES = 500, 300, 1000, 2000
SAMPLE = 500  # characters of a line
CAUSE = 300  # characters of an error
MINUTE, HOUR = 60, 3600
GRAVE = frozenset({"error", "critical"})
#: Their lines come from a worker that takes tasks, and show that it lives; the first
#: of them is `worker_ready`.
FROM_WORKER = frozenset(
    name for name in EVENTS if name.startswith(("worker_", "task_", "interval_"))
)
#: Lines of Celery that say what an event of ours says too.
TWICE = frozenset({"celery.app.trace"})
_COUNTED = {
    "run_missed": "missed",
    "run_late": "late",
    "run_made_up": "made_up",
    "run_stuck": "stuck",
    "trigger_replayed": "duplicate",
    "trigger_skipped": "skipped",
}
_clean = Redactor().clean
#: Seconds since 1970 of what never was.
NEVER = float("-inf")


class Tally:
    """Counts and durations of one job or task."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.seconds = Histogram()
        self.delay = Histogram()


class Group:
    """Equal errors, or refusals of one address."""

    def __init__(self) -> None:
        self.count = 0
        self.first = float("inf")
        self.last = NEVER
        self.sample = ""
        self.task: str | None = None
        self.job: str | None = None
        self.reasons: Counter[str] = Counter()

    def add(self, at: float) -> None:
        """One more."""
        self.count += 1
        self.first = min(self.first, at)
        self.last = max(self.last, at)


class Book:
    """The lines of one local day, which begins at `since` and ends before `until`."""

    def __init__(self, day: date, since: datetime, until: datetime) -> None:
        self.date, self.since, self.until = day, since, until
        self.begin, self.end = since.timestamp(), until.timestamp()
        minutes = int(self.end - self.begin) // MINUTE + 1
        #: First and last line of a worker in each minute of the day.
        self.first_heard = [float("inf")] * minutes
        self.last_heard = [NEVER] * minutes
        self.heard_first, self.heard_last = float("inf"), NEVER
        self.events: Counter[str] = Counter()
        self.grave: Counter[str] = Counter()
        self.jobs: Table[Tally] = Table(Tally, NAMES)
        self.tasks: Table[Tally] = Table(Tally, NAMES)
        self.errors: dict[tuple[str, str], Group] = {}
        self.addresses: Table[Group] = Table(Group, ADDRESSES)
        self.changes: list[WindowChange] = []
        self.hour_runs = [0] * (minutes // 60 + 1)
        self.hour_failed = [0] * (minutes // 60 + 1)
        self.runs = Notable()
        self.durations = Histogram()

    def add(self, line: Line, at: float, raw: bytes) -> None:
        """One event of ours at this time stamp, which lies in the day."""
        event = line.event
        self.events[event] += 1
        if at < self.heard_first:
            self.heard_first = at
        if at > self.heard_last:
            self.heard_last = at
        if event in FROM_WORKER:
            self._hear(at)
        handle = _HANDLERS.get(event)
        if handle is not None:
            handle(self, line, at)
        grave = line.level in GRAVE
        if grave:
            self.grave[event] += 1
        if (grave or line.error is not None) and event not in _COUNTED:
            self.note_error(event, line.error or line.reason or event, line, at, raw)

    def add_foreign(self, line: Line, at: float, raw: bytes) -> None:
        """An error line of a library or of the user's own code."""
        if line.logger not in TWICE:
            self.grave["log"] += 1
            self.note_error("log", line.event, line, at, raw)

    def note_error(
        self, event: str, error: str, line: Line, at: float, raw: bytes
    ) -> None:
        """Book an error on its cause."""
        key = event, cause_of(error[:CAUSE])
        group = self.errors.get(key)
        if group is None:
            key = key if len(self.errors) < CAUSES else ("", OTHERS)
            group = self.errors.setdefault(key, Group())
        if not group.count:
            text = raw[: SAMPLE * 4].decode("utf-8", "replace")
            group.sample = _clean(text)[:SAMPLE]
            group.task, group.job = line.task, line.job
        group.add(at)

    def delayed(self, job: str, seconds: float) -> None:
        """So long after its trigger a run of the job started."""
        self.jobs.of(job).delay.add(seconds)

    def _hear(self, at: float) -> None:
        minute = int(at - self.begin) // MINUTE
        if at < self.first_heard[minute]:
            self.first_heard[minute] = at
        if at > self.last_heard[minute]:
            self.last_heard[minute] = at

    def _ran(self, line: Line, at: float, outcome: str) -> None:
        seconds = line.seconds or 0.0
        task = line.task or "?"
        for tally in (
            self.tasks.of(task),
            None if line.job is None else self.jobs.of(line.job),
        ):
            if tally is not None:
                tally.counts[outcome] += 1
                if line.seconds is not None:
                    tally.seconds.add(seconds)
        hour = int(at - self.begin) // HOUR
        self.hour_runs[hour] += 1
        self.hour_failed[hour] += outcome == "failed"
        self.durations.add(seconds)
        self.runs.add(
            outcome != "ok", seconds, at - seconds, (task, line.job or "", outcome)
        )

    def _refused(self, line: Line, at: float) -> None:
        group = self.addresses.of(line.address or "?")
        group.add(at)
        reason = f"{line.status or ''} {line.reason or ''}".strip()[:100]
        if len(group.reasons) >= 20 and reason not in group.reasons:
            reason = OTHERS
        group.reasons[reason] += 1
        # What nobody declared is no job: a scanner makes up names.
        if line.job is not None and line.job in self.jobs:
            self.jobs[line.job].counts["refused"] += 1

    def _changed(self, line: Line, at: float) -> None:
        if len(self.changes) < CHANGES:
            self.changes.append(
                WindowChange(
                    instant(at),
                    line.window,
                    line.poll_seconds or 0.0,
                    line.old_poll_seconds or 0.0,
                    line.reason,
                )
            )

    def _count(self, line: Line, at: float) -> None:
        if line.job is not None:
            self.jobs.of(line.job).counts[_COUNTED[line.event]] += 1

    # -- the figures of the report ----------------------------------------------------

    def job_figures(self) -> tuple[JobFigures, ...]:
        """By name."""
        return tuple(
            JobFigures(
                job,
                **tally.counts,
                seconds=tally.seconds.spread(),
                start_delay=tally.delay.spread(),
            )
            for job, tally in sorted(self.jobs.items())
        )

    def task_figures(self) -> tuple[TaskFigures, ...]:
        """The slowest first."""
        found = (
            TaskFigures(task, **tally.counts, seconds=tally.seconds.spread())
            for task, tally in self.tasks.items()
        )
        return tuple(sorted(found, key=lambda task: (-task.seconds.p95, task.task)))

    def error_groups(self) -> tuple[ErrorGroup, ...]:
        """The most frequent first."""
        found = (
            ErrorGroup(
                cause=cause,
                event=event,
                count=group.count,
                first=instant(group.first),
                last=instant(group.last),
                task=group.task,
                job=group.job,
                sample=group.sample,
            )
            for (event, cause), group in self.errors.items()
        )
        return tuple(sorted(found, key=lambda group: (-group.count, group.first)))

    def refusals(self) -> tuple[Refusal, ...]:
        """The address that was refused most often comes first."""
        found = (
            Refusal(
                address,
                group.count,
                dict(group.reasons.most_common()),
                instant(group.first),
                instant(group.last),
            )
            for address, group in self.addresses.items()
        )
        return tuple(sorted(found, key=lambda one: (-one.count, one.address)))


def instant(stamp: float) -> datetime:
    """Seconds since 1970 as an instant in UTC, to the millisecond."""
    return datetime.fromtimestamp(round(stamp, 3), UTC)


Handler = Callable[[Book, Line, float], None]
_HANDLERS: dict[str, Handler] = {
    "task_finished": lambda book, line, at: book._ran(line, at, "ok"),
    "task_failed": lambda book, line, at: book._ran(line, at, "failed"),
    "task_retried": lambda book, line, at: book._ran(line, at, "retried"),
    "trigger_refused": Book._refused,
    "management_refused": Book._refused,
    "sign_in_refused": Book._refused,
    "interval_changed": Book._changed,
    **dict.fromkeys(_COUNTED, Book._count),
}
