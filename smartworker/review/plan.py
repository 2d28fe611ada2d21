"""What the schedule demands of a day, and what the workers' reports say of it."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from smartworker.policy import Decision, Policy
from smartworker.review.book import Book, instant
from smartworker.review.measures import OTHERS
from smartworker.review.report import Commands, Hour, Polls, Sent, WindowSpan
from smartworker.windows import Windows

HOUR = timedelta(hours=1)
#: Seconds that are no time.
MOMENT = 1.0
#: Causes, and reports in a chart, that are kept apart.
CAUSES, SENT = 100, 2000


@dataclass(frozen=True)
class Said:
    """One worker_report, or web_report, which has no polls. Time stamps."""

    since: float
    at: float
    polls: int | None
    commands: dict[str, int]

    def share(self, begin: float, end: float) -> float:
        """The part of its time that lies between two time stamps.

        The line of a full hour is late by a moment, which is no part of the next one.
        """
        length = self.at - self.since
        if length <= MOMENT:
            return float(begin <= self.at < end)
        inside = min(self.at, end) - max(self.since, begin)
        return inside / length if inside > MOMENT else 0.0


def local_day(windows: Windows, moment: datetime) -> tuple[datetime, datetime]:
    """The begin of the local day of this instant, and of the next one, in UTC."""
    day = windows.local(moment).date()
    return windows.midnight(day), windows.midnight(day + timedelta(days=1))


class Ledger:
    """The reports of one day, and the stretches of its plan, each worked out once."""

    def __init__(self, policy: Policy, book: Book, said: Iterable[Said]) -> None:
        self._policy = policy
        self._book = book
        self._said = [one for one in said if one.share(book.begin, book.end) > 0]
        self._asked = [one for one in self._said if one.polls is not None]
        self._stretches = list(_stretches(policy, book.since, book.until))
        self._rates = [
            (since.timestamp(), until.timestamp(), decision.poll.total_seconds())
            for since, until, decision in self._stretches
        ]

    def spans(self) -> tuple[WindowSpan, ...]:
        """The windows of the day, cut at its ends."""
        return tuple(
            WindowSpan(decision.window, decision.poll.total_seconds(), since, until)
            for since, until, decision in self._stretches
            if decision.window is not None
        )

    def polls(self) -> Polls:
        """Polls against what the plan demands of the workers while they were there."""
        begin, end = self._book.begin, self._book.end
        made = sum((one.polls or 0) * one.share(begin, end) for one in self._asked)
        demanded = sum(self._demanded(one, begin, end) for one in self._asked)
        known = round(made) if self._asked else None
        return Polls(known, round(demanded), _most(self._asked))

    def commands(self, budget: int) -> Commands:
        """What was sent by cause, and the day's share of the month's budget."""
        causes: Counter[str] = Counter()
        for one in self._said:
            share = one.share(self._book.begin, self._book.end)
            for cause, count in one.commands.items():
                known = cause in causes or len(causes) < CAUSES
                name = cause if known else OTHERS
                causes[name] += round(count * share)
        total = causes.total() if self._said else None
        daily = _daily(self._book, budget)
        return Commands(
            total=total,
            by_cause=dict(causes.most_common()),
            budget_month=budget,
            budget_day=daily,
            ratio=None if total is None or not daily else round(total / daily, 4),
        )

    def hours(self) -> Iterator[Hour]:
        """The hours of the local day, in order."""
        book, seen = self._book, Counter[str]()
        for number, sums in enumerate(self._sums()):
            since = book.since + number * HOUR
            label = self._policy.windows.local(since).strftime("%H")
            seen[label] += 1
            commands, polls, demanded = map(round, sums)
            yield Hour(
                since=since,
                label=label + "b" * (seen[label] - 1),
                commands=commands,
                polls=polls,
                runs=book.hour_runs[number],
                failed=book.hour_failed[number],
                demanded_polls=demanded,
            )

    def _sums(self) -> list[list[float]]:
        """[commands, polls, polls demanded] of each hour."""
        book = self._book
        count = -((book.since - book.until) // HOUR)
        sums = [[0.0, 0.0, 0.0] for _ in range(count)]
        for one in self._said:
            billed = sum(one.commands.values())
            first = max(int((one.since - book.begin) // 3600), 0)
            last = min(int((one.at - book.begin) // 3600), count - 1)
            for number in range(first, last + 1):
                begin = book.begin + 3600 * number
                end = min(begin + 3600, book.end)
                share = one.share(begin, end)
                sums[number][0] += billed * share
                sums[number][1] += (one.polls or 0) * share
                sums[number][2] += self._demanded(one, begin, end)
        return sums

    def sent(self) -> tuple[Sent, ...]:
        """The workers' reports of the day, for a chart; the last ones, if too many."""
        return tuple(
            Sent(
                since=instant(one.since),
                at=instant(one.at),
                polls=one.polls or 0,
                poll_seconds=self._poll_at(one.since),
            )
            for one in self._asked[-SENT:]
        )

    def _poll_at(self, at: float) -> float | None:
        for since, until, poll in self._rates:
            if since <= at < until:
                return poll
        return None

    def _demanded(self, one: Said, begin: float, end: float) -> float:
        """The polls that the plan makes of the time of a report that lies in between.

        By the rate: a report's time does not begin with a poll.
        """
        if one.polls is None:
            return 0.0
        first, last = max(one.since, begin), min(one.at, end)
        return sum(
            max(0.0, min(last, until) - max(first, since)) / poll
            for since, until, poll in self._rates
        )


def _stretches(
    policy: Policy, now: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime, Decision]]:
    """The time up to `end`, cut where the decision changes."""
    while now < end:
        decision = policy.decide(now)
        until = end if decision.until is None else min(decision.until, end)
        yield now, until, decision
        now = until


def _daily(book: Book, budget: int) -> int:
    """The budget's share of this day; months have 28 to 31."""
    first = book.date.replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    return round(budget / (following - first).days)


def _most(said: Iterable[Said]) -> int:
    """The most workers that were there at the same time, by their reports.

    By full minutes: a report ends a moment after the next one has begun.
    """
    edges = sorted(
        (round(edge / 60), step)
        for one in said
        for edge, step in ((one.since, 1), (one.at, -1))
    )
    here = most = 0
    for _, step in edges:
        here += step
        most = max(most, here)
    return most
