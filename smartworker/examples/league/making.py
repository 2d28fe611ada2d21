"""One run: from the league in the database to the schedule in the database."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from smartworker.clock import Clock, system_clock
from smartworker.examples.league import registry
from smartworker.examples.league.book import CANCELLED, DONE, Book, Cancelled
from smartworker.examples.league.generator import MOVES, generate
from smartworker.examples.league.model import LeagueError
from smartworker.examples.league.validation import validate

#: Seconds between two looks whether the run is cancelled.
LOOK = 0.5

#: How far it is: current, total, a sentence; `smartworker.progress` is one.
Report = Callable[[float, float, str], None]


class TookTooLong(LeagueError):
    """The generator has used up its time."""


class BrokenRules(LeagueError):
    """The generator has made a schedule that breaks a rule."""


@dataclass
class Watch:
    """Looks between two steps of the generator whether it should go on.

    The solo pool can neither be told to stop a task nor stop one that takes too long.
    """

    book: Book
    task_id: str
    report: Report
    seconds: float
    clock: Clock = system_clock

    def __post_init__(self) -> None:
        """The time begins."""
        self._begun = self._looked = self.clock.monotonic()
        self._percent = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self.clock.monotonic() - self._begun

    def tell(self, percent: int, message: str) -> None:
        """Report. Raises Cancelled or TookTooLong."""
        now = self.clock.monotonic()
        if now - self._begun > self.seconds:
            raise TookTooLong(f"The schedule was not made in {self.seconds:g} seconds.")
        if now - self._looked >= LOOK:
            self._looked = now
            run = self.book.run(self.task_id)
            if run is not None and run.state == CANCELLED:
                raise Cancelled
        # A game that has to go again is a step back, and nobody wants to see that.
        self._percent = max(percent, self._percent)
        self.report(self._percent, 100, message)


def make(
    engine: sa.Engine,
    task_id: str,
    report: Report,
    *,
    force: bool,
    seconds: float,
    moves: int = MOVES,
    clock: Clock = system_clock,
) -> dict[str, Any]:
    """The summary of a new schedule, or of the stored one.

    A run that comes again after it was done gives the schedule that it has made.
    Raises Cancelled, and LeagueError if there is none.
    """
    book = Book(engine)
    run = book.open(task_id)
    if run.state == CANCELLED:
        raise Cancelled
    if run.state == DONE and run.schedule is not None:
        return _summary(book, run.schedule)
    stored = book.newest()
    if stored is not None and not force:
        book.reuse(task_id, stored)
        return _summary(book, stored)
    watch = Watch(book, task_id, report, seconds, clock)
    try:
        made = _make(engine, book, watch, seed=(stored or 0) + 1, moves=moves)
    except LeagueError as error:
        book.fail(task_id, str(error))
        raise
    return _summary(book, made)


def _make(engine: sa.Engine, book: Book, watch: Watch, *, seed: int, moves: int) -> int:
    league = registry.load(engine, watch.clock.now().date())
    games = generate(league, seed, moves=moves, tell=watch.tell)
    watch.tell(95, f"Checking {len(games)} games...")
    report = validate(league, games)
    if not report.valid:
        raise BrokenRules(f"The schedule breaks a rule: {report.violations[0]}")
    return book.keep(
        watch.task_id,
        league,
        games,
        seed=seed,
        seconds=round(watch.elapsed, 3),
        validation=report.as_dict(),
    )


def _summary(book: Book, number: int) -> dict[str, Any]:
    """All but the games, which are too large for a result that is paid for."""
    schedule = book.schedule(number) or {}
    kept = ("success", "total_games", "generation_time")
    return {"schedule": number} | {name: schedule.get(name) for name in kept}
