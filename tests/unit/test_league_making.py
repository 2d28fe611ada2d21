"""One run of the league's task on a real database, without a worker."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time
from pathlib import Path

import pytest
import sqlalchemy as sa

from smartworker.errors import SettingsError
from smartworker.examples.league import book as book_module
from smartworker.examples.league import registry, tables
from smartworker.examples.league.book import (
    CANCELLED,
    DONE,
    FAILED,
    OPEN,
    Book,
    Cancelled,
)
from smartworker.examples.league.making import TookTooLong, Watch, make
from smartworker.examples.league.model import League, Opening, Rules, Team, Venue
from smartworker.examples.league.placing import NoSchedule
from smartworker.examples.league.sample import sample_league
from smartworker.testing import ManualClock

NOW = datetime(2026, 8, 20, 12, tzinfo=UTC)
DAILY = tuple(Opening(day, time(9), time(21)) for day in range(7))
SMALL = League(
    tuple(Team(number, f"T{number}", "A", 1) for number in range(1, 7)),
    (Venue(1, "Hall", 2, DAILY, frozenset([date(2026, 9, 8)])),),
    Rules(date(2026, 9, 7), weeks=8),
)


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    """A database with a small league."""
    engine = tables.connect(f"sqlite:///{tmp_path}/league.sqlite3")
    registry.save(engine, SMALL)
    return engine


@pytest.fixture
def clock() -> ManualClock:
    """The time stands still."""
    return ManualClock(NOW)


Made = Callable[..., dict[str, object]]


@pytest.fixture
def run(engine: sa.Engine, clock: ManualClock) -> Iterator[Made]:
    """A run, as the task starts it; `on` is called with each report."""

    def make_it(
        task_id: str, *, force: bool = True, on: Callable[[str], None] = str
    ) -> dict[str, object]:
        return make(
            engine,
            task_id,
            lambda _current, _total, message: on(message),
            force=force,
            seconds=600,
            moves=400,
            clock=clock,
        )

    return make_it


def test_a_league_survives_the_database(engine: sa.Engine) -> None:
    """What is read is what was written, and saving again changes nothing."""
    assert registry.load(engine, NOW.date()) == SMALL
    registry.save(engine, sample_league(NOW.date()))
    assert registry.load(engine, NOW.date()) == SMALL


def test_an_empty_database_gets_the_sample(tmp_path: Path) -> None:
    """200 teams, in a season that is still to come; the second look finds them."""
    engine = tables.connect(f"sqlite:///{tmp_path}/empty.sqlite3")
    league = registry.load(engine, NOW.date())
    assert league == sample_league(NOW.date())
    assert league.rules.starts > NOW.date()
    assert registry.load(engine, date(2030, 1, 1)) == league


def test_a_run_stores_its_schedule(run: Made, engine: sa.Engine) -> None:
    """The summary is small, and the games are in the database."""
    made = run("a")
    assert made == {
        "schedule": 1,
        "success": True,
        "total_games": 15,
        "generation_time": 0.0,
    }
    stored = Book(engine).schedule(1)
    assert stored is not None
    assert len(stored["games"]) == 15
    assert stored["validation"]["valid"] is True
    assert set(stored["games"][0]) == {
        *("game", "round", "division", "home_team", "away_team"),
        *("venue", "date", "time"),
    }


def test_the_stored_one_comes_back(run: Made, engine: sa.Engine) -> None:
    """Without force nothing is made as long as there is one; with it there is."""
    first = run("a", force=False)
    assert run("b", force=False) == first
    assert Book(engine).run("b") == book_module.Run("b", DONE, 1)
    second = run("c")
    assert second["schedule"] == 2
    assert run("d", force=False) == second


def test_a_run_that_comes_again_makes_nothing(run: Made, engine: sa.Engine) -> None:
    """A message that is delivered twice, after the first one was done."""
    first = run("a")
    assert run("a") == first
    assert Book(engine).newest() == 1


def test_cancelled_before_it_begins(run: Made, engine: sa.Engine) -> None:
    """Nothing is made."""
    book = Book(engine)
    book.open("a")
    assert book.cancel("a")
    with pytest.raises(Cancelled):
        run("a")
    assert book.newest() is None


def test_cancelled_under_way(run: Made, engine: sa.Engine, clock: ManualClock) -> None:
    """It ends at the next look, and nothing is stored."""
    seen: list[str] = []

    def on(message: str) -> None:
        seen.append(message)
        if len(seen) == 3:
            assert Book(engine).cancel("a")
            clock.advance(1)

    with pytest.raises(Cancelled):
        run("a", on=on)
    assert len(seen) == 3
    assert Book(engine).run("a") == book_module.Run("a", CANCELLED)
    assert Book(engine).newest() is None


def test_cancelled_at_the_last_moment(run: Made, engine: sa.Engine) -> None:
    """After the last look the transaction still sees it, and stores nothing."""

    def on(message: str) -> None:
        if message.startswith("Checking"):
            assert Book(engine).cancel("a")

    with pytest.raises(Cancelled):
        run("a", on=on)
    assert Book(engine).newest() is None
    with engine.connect() as connection:
        assert (
            connection.scalar(sa.select(sa.func.count()).select_from(tables.games)) == 0
        )


def test_what_is_over_cannot_be_cancelled(run: Made, engine: sa.Engine) -> None:
    """The first of the two wins."""
    run("a")
    assert not Book(engine).cancel("a")
    assert not Book(engine).cancel("nobody")
    run_found = Book(engine).run("a")
    assert run_found is not None
    assert run_found.state == DONE


def test_one_of_both_wins(run: Made, engine: sa.Engine) -> None:
    """Ten threads cancel while the run ends: stored or cancelled, never both."""
    book = Book(engine)
    book.open("a")
    won: list[bool] = []
    start = threading.Event()

    def cancel() -> None:
        start.wait()
        won.append(book.cancel("a"))

    threads = [threading.Thread(target=cancel) for _ in range(10)]
    for thread in threads:
        thread.start()
    try:
        run("a", on=lambda message: start.set() if "Checking" in message else None)
        stored = True
    except Cancelled:
        stored = False
    for thread in threads:
        thread.join()
    assert set(won) == {not stored}
    assert (book.newest() is not None) is stored


def test_the_limit_is_kept_between_steps(run: Made, engine: sa.Engine) -> None:
    """The solo pool stops nothing, so the run does it itself after 600 seconds."""
    clock = ManualClock(NOW)
    watch = Watch(Book(engine), "a", lambda *_: None, 600, clock)
    clock.advance(600)
    watch.tell(50, "half")
    clock.advance(1)
    with pytest.raises(TookTooLong, match="not made in 600 seconds"):
        watch.tell(51, "more")


def test_percent_never_falls(engine: sa.Engine, clock: ManualClock) -> None:
    """A step back of the generator is not shown."""
    told: list[float] = []
    watch = Watch(Book(engine), "a", lambda now, *_: told.append(now), 600, clock)
    for percent in (1, 3, 2, 4):
        watch.tell(percent, "")
    assert told == [1, 3, 3, 4]


def test_no_schedule_is_a_failed_run(run: Made, engine: sa.Engine) -> None:
    """Its sentence is kept; once the league has room the same message succeeds."""
    with engine.begin() as connection:
        connection.execute(tables.season.update().values(weeks=1))
    with pytest.raises(NoSchedule):
        run("a")
    failed = Book(engine).run("a")
    assert failed is not None
    assert failed.state == FAILED
    assert "more weeks" in str(failed.error)
    with engine.begin() as connection:
        connection.execute(tables.season.update().values(weeks=8))
    assert run("a")["success"] is True


def test_a_run_that_could_not_be_queued_is_forgotten(engine: sa.Engine) -> None:
    """And a known one is not opened twice."""
    book = Book(engine)
    assert book.open("a").state == book.open("a").state == OPEN
    book.forget("a")
    assert book.run("a") is None


def test_old_schedules_go(
    run: Made, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many are kept; the runs of the others are forgotten with them."""
    monkeypatch.setattr(book_module, "KEPT", 2)
    for name in "abcd":
        run(name)
    book = Book(engine)
    assert [book.schedule(number) is None for number in (1, 2, 3, 4)] == [
        *(True, True, False, False)
    ]
    assert [book.run(name) is None for name in "abcd"] == [True, True, False, False]


@pytest.mark.parametrize(
    "url", ["nonsense", "mongo://x/y", "sqlite:////nowhere/at/all.sqlite3"]
)
def test_a_database_that_cannot_be_used_is_a_sentence(url: str) -> None:
    """It names the variable."""
    with pytest.raises(SettingsError, match=r"DATABASE_URL cannot be used: .*\.$"):
        tables.connect(url)
