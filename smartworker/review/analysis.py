"""The review: lines in, a report out; time, zone and plan are arguments."""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from smartworker.logs import Redactor
from smartworker.policy import Policy
from smartworker.review import plan, presence
from smartworker.review.book import GRAVE, Book, instant
from smartworker.review.lines import Found, Line, read
from smartworker.review.measures import NAME, Newest
from smartworker.review.reasons import reasons
from smartworker.review.report import Day, Reading, Report, Run

#: Days that are kept while the day of the report is not known: today, and two before.
KEPT = 3
#: Triggers and starts that wait for each other.
WAITING = 50_000
SAMPLES, SAMPLE = 5, 300
#: Seconds by which the line of a full hour may be late.
MOMENT = 30.0
REPORTS = frozenset({"worker_report", "web_report"})
ONE_DAY = timedelta(days=1)

T = TypeVar("T")


class Review:
    """Counts lines in any order, of at most three local days at a time.

    Without `day` the report is about the newest one before today that the logs have,
    or about today if there is none.
    """

    def __init__(
        self, policy: Policy, budget: int, now: datetime, day: date | None = None
    ) -> None:
        self._policy = policy
        self._budget = budget
        self._now = now
        self._day = day
        self._today = policy.windows.local(now).date()
        self._books: dict[date, Book] = {}
        self._book: Book | None = None  # the one of the last line
        self._begin, self._end = 0.0, 0.0
        self._heard: Newest[presence.Heard] = Newest(lambda one: one)
        self._lost: Newest[presence.Lost] = Newest(lambda one: one)
        self._said: Newest[plan.Said] = Newest(lambda one: one.at)
        self._triggered: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._started: OrderedDict[str, float] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._size = 0
        self._sources: list[str] = []
        self._samples: dict[str, list[str]] = {"broken": [], "foreign": []}
        self._clean = Redactor().clean

    def read(self, source: str, lines: Iterable[bytes]) -> None:
        """All lines of a file or a pipe, which has this name."""
        self._sources.append(source)
        feed, counted, size = self.feed, 0, 0
        try:
            for raw in lines:
                counted += 1
                size += len(raw) + 1
                feed(raw)
        finally:
            self._counts["lines"] += counted
            self._size += size

    def damaged(self, source: str, why: str) -> None:
        """A source ended with something that cannot be read."""
        self._note("broken", f"{source}: {why}".encode())

    def feed(self, raw: bytes) -> None:
        """One line, whatever is in it."""
        if not raw or raw.isspace():
            return
        found = read(raw)
        if isinstance(found, tuple):
            self._take(found, raw)
        else:
            for each in found:
                self._take(each, raw)

    def _take(self, found: Found, raw: bytes) -> None:
        kind, line = found
        if kind == "event" and line is not None:
            self._counts["event"] += 1
            stamp = line.timestamp
            if stamp is None or stamp.tzinfo is None:
                self._counts["undated"] += 1
            else:
                self._add(line, stamp.timestamp(), raw)
            return
        self._note(kind, raw)
        if line is not None and line.level in GRAVE and line.logger is not None:
            stamp = line.timestamp
            if stamp is not None and stamp.tzinfo is not None:
                book = self._book_at(stamp.timestamp())
                if book is not None:
                    book.add_foreign(line, stamp.timestamp(), raw)

    def _note(self, kind: str, raw: bytes) -> None:
        self._counts[kind] += 1
        samples = self._samples.get(kind)
        if samples is not None and len(samples) < SAMPLES:
            text = raw[: SAMPLE * 4].decode("utf-8", "replace")
            samples.append(self._clean(text)[:SAMPLE])

    def _add(self, line: Line, at: float, raw: bytes) -> None:
        # The line of the last hour comes when the day is over.
        book = self._book_at(at - MOMENT if line.event in REPORTS else at)
        collect = _COLLECTORS.get(line.event)
        if collect is not None:
            collect(self, line, at, book)
        if book is not None:
            book.add(line, at, raw)

    # -- lines that say something about more than their moment -------------------------

    def _presence(self, line: Line, at: float, book: Book | None) -> None:
        if book is not None:
            self._heard.add((at, (line.worker or "?")[:NAME], line.event))

    def _report(self, line: Line, at: float, book: Book | None) -> None:
        """It may be about two days; the web process's says nothing of a worker."""
        if line.event == "worker_report":
            self._presence(line, at, book)
        try:
            since = datetime.fromisoformat(line.since or "")
        except ValueError:
            return
        if since.tzinfo is None:
            return
        # A clock that was set back makes it end before it begins.
        begin = min(since.timestamp(), at)
        if (
            not isinstance(line.commands, dict)
            or at - begin > 2 * ONE_DAY.total_seconds()
        ):
            return
        if book is not None or self._book_at(begin) is not None:
            self._said.add(plan.Said(begin, at, line.polls, line.commands))

    def _outage(self, line: Line, at: float, book: Book | None) -> None:
        if book is not None:
            away, attempts = line.away_seconds or 0.0, line.attempts or 0
            self._lost.add((at, line.event, line.kind or "?", away, attempts))

    def _accepted(self, line: Line, at: float, book: Book | None) -> None:
        if book is None or line.task_id is None or line.job is None:
            return
        book.jobs.of(line.job)
        started = self._started.pop(line.task_id, None)
        if started is not None:
            book.delayed(line.job, max(started - at, 0.0))
            return
        _remember(self._triggered, line.task_id, (at, line.job))

    def _begun(self, line: Line, at: float, book: Book | None) -> None:
        if line.task_id is None or line.job is None:
            return
        triggered = self._triggered.pop(line.task_id, None)
        if triggered is None:
            first = min(at, self._started.get(line.task_id, at))
            _remember(self._started, line.task_id, first)
            return
        then, job = triggered
        day = self._book_at(then)
        if day is not None:
            day.delayed(job, max(at - then, 0.0))

    # -- days --------------------------------------------------------------------------

    def _book_at(self, at: float) -> Book | None:
        """The book of the local day at this time stamp; None if nobody asks for it."""
        if self._begin <= at < self._end:
            return self._book
        try:
            moment = datetime.fromtimestamp(at, UTC)
            since, until = plan.local_day(self._policy.windows, moment)
            day = self._policy.windows.local(moment).date()
        except (ValueError, OverflowError, OSError):
            return None
        self._begin, self._end = since.timestamp(), until.timestamp()
        book = self._books.get(day)
        if book is None and self._wanted(day):
            book = self._books[day] = Book(day, since, until)
            if self._day is None and len(self._books) > KEPT:
                self._books.pop(min(self._books))
                book = self._books.get(day)
        self._book = book
        return book

    def _wanted(self, day: date) -> bool:
        if self._day is not None:
            return day in (self._day, self._day - ONE_DAY)
        if day > self._today:
            return False
        return len(self._books) < KEPT or day > min(self._books)

    def report(self) -> Report:
        """What the lines say of the day, and of the one before it."""
        day = self._chosen()
        before = self._books.get(day - ONE_DAY)
        found = self._books.get(day) or self._empty(day)
        made = self._figures(found, before)
        return Report(
            zone=str(self._policy.windows.zone),
            made_at=self._now,
            day=made,
            before=None if before is None else self._figures(before, None),
            reasons=reasons(made, dict(found.grave)),
            reading=Reading(
                lines=self._counts["lines"],
                events=self._counts["event"],
                foreign=self._counts["foreign"],
                broken=self._counts["broken"],
                console=self._counts["console"],
                undated=self._counts["undated"],
                size=self._size,
                sources=tuple(self._sources),
                broken_samples=tuple(self._samples["broken"]),
                foreign_samples=tuple(self._samples["foreign"]),
            ),
        )

    def _chosen(self) -> date:
        if self._day is not None:
            return self._day
        over = [day for day in self._books if day < self._today]
        return max(over, default=self._today)

    def _empty(self, day: date) -> Book:
        midnight = self._policy.windows.midnight
        return Book(day, midnight(day), midnight(day + ONE_DAY))

    def _figures(self, book: Book, before: Book | None) -> Day:
        heard = list(self._heard)
        sums = plan.Ledger(self._policy, book, self._said)
        end = min(book.end, self._now.timestamp())
        books = [one for one in (before, book) if one is not None]
        first = books[0].begin
        gaps = presence.gaps(
            books,
            [one for one in heard if one[0] >= first],
            end,
            hourly=any(one.events["worker_report"] for one in books),
        )
        return Day(
            date=book.date,
            since=book.since,
            until=book.until,
            heard_first=instant(book.heard_first) if book.events else None,
            heard_last=instant(book.heard_last) if book.events else None,
            jobs=book.job_figures(),
            tasks=book.task_figures(),
            errors=book.error_groups(),
            refusals=book.refusals(),
            changes=tuple(sorted(book.changes, key=lambda change: change.at)),
            spans=sums.spans(),
            gaps=tuple(g for g in gaps if g.until is None or g.until > book.since),
            outages=presence.outages(book, self._lost, heard, end),
            starts=presence.starts(book, heard),
            polls=sums.polls(),
            commands=sums.commands(self._budget),
            hours=tuple(sums.hours()),
            runs=tuple(
                Run(instant(start), seconds, rest[0], rest[1] or None, rest[2])
                for _, seconds, start, rest in book.runs
            ),
            runs_left_out=book.runs.left_out,
            sent=sums.sent(),
            events=dict(book.events.most_common()),
            durations=book.durations.steps(),
        )


def _remember(table: OrderedDict[str, T], key: str, value: T) -> None:
    table[key] = value
    if len(table) > WAITING:
        table.popitem(last=False)


_COLLECTORS = {
    "worker_ready": Review._presence,
    "worker_stopping": Review._presence,
    **dict.fromkeys(REPORTS, Review._report),
    "broker_lost": Review._outage,
    "broker_back": Review._outage,
    "trigger_accepted": Review._accepted,
    "task_started": Review._begun,
}
