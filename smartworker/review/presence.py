"""When a worker was there: gaps between what was heard, starts, ends, outages."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from smartworker.review.book import Book, instant
from smartworker.review.report import Gap, Outage, Start

#: A worker says something each hour; so much later it is missed.
SILENT = 65 * 60.0
#: A restart within so many seconds is no gap worth a line.
BRIEF = 30.0

Heard = tuple[float, str, str]  # time stamp, worker, event: the lines that name one
Lost = tuple[float, str, str, float, int]  # time stamp, event, kind, away, attempts


def gaps(
    books: Iterable[Book], heard: Iterable[Heard], end: float, hourly: bool
) -> list[Gap]:
    """The silences of these days, which follow each other, up to `end`.

    A silence is too long for a worker that speaks each hour (`hourly`), or it ends
    with a start before which no worker was there, or calls come into it.
    """
    books = list(books)
    heard = [one for one in heard if one[0] < end]
    instants = sorted({*_instants(books), *(one[0] for one in heard)})
    if not instants:
        return list(_nobody(books, end))
    starts = {at: (worker, said) for at, worker, said in _alone(heard)}
    found: list[Gap] = []
    for last, first in pairwise(instants):
        worker, said = starts.get(first, (None, False))
        if first - last > (BRIEF if worker else SILENT) and (worker or hourly):
            found.append(_gap(last, first, worker, said))
    last = instants[-1]
    stopped = _all_stopped(heard)
    if end - last > SILENT and (hourly or stopped):
        found.append(_gap(last, None, None, stopped, end))
    return found


def _nobody(books: list[Book], end: float) -> Iterator[Gap]:
    """The whole time, if calls were taken in and no line of any worker is there."""
    called = [one.heard_first for one in books if one.events["trigger_accepted"]]
    if called and end - called[0] > SILENT:
        yield _gap(called[0], None, None, False, end)


def _gap(
    since: float,
    until: float | None,
    worker: str | None,
    planned: bool,
    end: float = 0.0,
) -> Gap:
    length = (end if until is None else until) - since
    return Gap(
        instant(since),
        None if until is None else instant(until),
        round(length, 1),
        worker,
        planned,
    )


def _instants(books: Iterable[Book]) -> Iterator[float]:
    """The first and the last line of a worker in each minute with one."""
    for book in books:
        for first, last in zip(book.first_heard, book.last_heard, strict=True):
            if last >= first:
                yield first
                yield last


def _alone(heard: list[Heard]) -> Iterator[tuple[float, str, bool]]:
    """(when, worker, whether the last one had said that it stops): starts of a worker
    when no other one was there.
    """
    last_words: dict[str, float] = {}
    for at, worker, _ in heard:
        last_words[worker] = max(at, last_words.get(worker, at))
    ends = max(last_words.values(), default=0.0)
    there: set[str] = set()
    gone: set[str] = set()
    stopped = False
    for at, worker, event in heard:
        if event == "worker_stopping":
            there.discard(worker)
            gone.add(worker)
            stopped = True
        elif event == "worker_report" and worker not in gone:
            # The last line of one that stops comes after it has said so.
            there.add(worker)
        elif event == "worker_ready":
            # One that is never heard again, though an hour went by, was dead by then.
            living = {
                one
                for one in there - {worker}
                if last_words[one] > at or ends - at < SILENT
            }
            if not living and (there or stopped):
                yield at, worker, stopped and not there
            there = living | {worker}
            gone.discard(worker)
            stopped = False


def _all_stopped(heard: Iterable[Heard]) -> bool:
    there: set[str] = set()
    gone: set[str] = set()
    for _, worker, event in heard:
        if event == "worker_stopping":
            there.discard(worker)
            gone.add(worker)
        elif event == "worker_ready" or worker not in gone:
            there.add(worker)
            gone.discard(worker)
    return bool(gone) and not there


def starts(book: Book, heard: Iterable[Heard]) -> tuple[Start, ...]:
    """The workers that began or stopped on this day."""
    words = {"worker_ready": "ready", "worker_stopping": "stopping"}
    return tuple(
        Start(instant(at), worker, words[event])
        for at, worker, event in heard
        if event in words and book.begin <= at < book.end
    )


def outages(
    book: Book, lost: Iterable[Lost], heard: Iterable[Heard], end: float
) -> tuple[Outage, ...]:
    """The outages that began on this day; one without an end may go on.

    A worker that ends meanwhile never says that the server is back: the next one does,
    when it is ready.
    """
    ready = [at for at, _, event in heard if event == "worker_ready"]
    found: list[Outage] = []
    begun: list[tuple[float, str]] = []
    covered: list[tuple[float, float]] = []
    for at, event, kind, away, attempts in lost:
        if event == "broker_lost":
            begun.append((at, kind))
            continue
        covered.append((at - away - 2.0, at))
        if book.begin <= at - away < book.end:
            since, until = instant(at - away), instant(at)
            found.append(Outage(since, until, round(away, 1), kind, attempts, None))
    for at, kind in begun:
        ended = any(since <= at <= until for since, until in covered)
        if not ended and book.begin <= at < book.end:
            back = next((one for one in ready if one > at), None)
            away = round(max((end if back is None else back) - at, 0.0), 1)
            known = None if back is None else instant(back)
            found.append(Outage(instant(at), known, away, kind, 0, None))
    return tuple(sorted(found, key=lambda outage: outage.since))
