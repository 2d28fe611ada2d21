"""The validator: a good schedule passes, and each broken rule is found."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, time, timedelta

import pytest

from smartworker.examples.league.generator import generate
from smartworker.examples.league.model import (
    Game,
    League,
    Opening,
    Rules,
    Team,
    Venue,
)
from smartworker.examples.league.validation import RULES, validate

MONDAY = date(2026, 9, 7)
DAILY = tuple(Opening(day, time(9), time(21)) for day in range(7))
AWAY = MONDAY + timedelta(days=3)
CLOSED = MONDAY + timedelta(days=4)


@pytest.fixture(scope="module")
def league() -> League:
    """Two divisions of four and three teams, two venues."""
    teams = tuple(
        Team(
            *(number, f"T{number}", "A" if number < 5 else "B", number % 2 + 1),
            frozenset([AWAY]) if number == 1 else frozenset(),
        )
        for number in range(1, 8)
    )
    venues = (
        Venue(1, "Hall", 1, DAILY, frozenset([CLOSED])),
        Venue(2, "Park", 2, DAILY),
    )
    return League(teams, venues, Rules(MONDAY, weeks=8, meetings=2))


@pytest.fixture(scope="module")
def games(league: League) -> list[Game]:
    """A schedule that keeps all rules."""
    return generate(league, 1, moves=500)


def test_a_good_schedule_passes(league: League, games: list[Game]) -> None:
    """No rule is broken, and the report says what was looked at."""
    report = validate(league, games).as_dict()
    assert report["valid"] is True
    assert report["violations"] == []
    assert report["games_checked"] == league.total_games == 18
    assert report["rules_checked"] == list(RULES)
    assert report["largest_home_away_difference"] == 0


def first(games: list[Game], **changes: object) -> list[Game]:
    """The schedule with another first game."""
    return [replace(games[0], **changes), *games[1:]]  # type: ignore[arg-type]


def moved_to(games: list[Game], team: int, when: date) -> list[Game]:
    """The schedule with the first game of a team on another date."""
    number = next(n for n, g in enumerate(games) if team in (g.home, g.away))
    return [*games[:number], replace(games[number], date=when), *games[number + 1 :]]


def next_game(games: list[Game], offset: int) -> list[Game]:
    """The schedule with two games of a team so many days apart."""
    team = games[0].home
    later = [g for g in games[1:] if team in (g.home, g.away)]
    when = later[0].date - timedelta(days=offset)
    return moved_to(games, team, when)


def turned(games: list[Game]) -> list[Game]:
    """The schedule with sides changed in the first game, at the other's venue."""
    game = games[0]
    return first(games, home=game.away, away=game.home, venue=game.away % 2 + 1)


def crowded(games: list[Game]) -> list[Game]:
    """Three games at once at each venue."""
    return [replace(g, date=games[0].date, time=time(12)) for g in games]


Break = Callable[[list[Game]], list[Game]]
BREAKS: dict[str, tuple[Break, str]] = {
    "an unknown team": (lambda g: first(g, home=99), "There is no team 99."),
    "an unknown venue": (lambda g: first(g, venue=99), "There is no venue 99."),
    "a wrong division": (lambda g: first(g, division="C"), "does not play in C."),
    "a missing game": (lambda g: g[1:], "meet 1 times instead of 2."),
    "a game too many": (lambda g: [*g, g[0]], "meet 3 times instead of 2."),
    "two divisions": (lambda g: first(g, home=1, away=7), "in no division together."),
    "twice a day": (lambda g: next_game(g, 0), "plays twice on"),
    "no rest": (lambda g: next_game(g, 2), "and again on"),
    "home and away": (turned, "home and"),
    "one host": (turned, "hosts"),
    "another's venue": (
        lambda g: first(g, venue=3 - g[0].venue),
        "is at home at another venue",
    ),
    "at night": (lambda g: first(g, time=time(20)), "is closed on"),
    "a closed day": (lambda g: moved_hall(g, CLOSED), "Hall is closed on"),
    "too many at once": (crowded, "has 2 fields and"),
    "after the season": (
        lambda g: first(g, date=MONDAY + timedelta(days=56)),
        "not in the season",
    ),
    "before the season": (
        lambda g: first(g, date=MONDAY - timedelta(days=1)),
        "not in the season",
    ),
    "a holiday": (lambda g: moved_to(g, 1, AWAY), "T1 cannot play on"),
}


def moved_hall(games: list[Game], when: date) -> list[Game]:
    """The schedule with the first game of the hall on another date."""
    number = next(n for n, game in enumerate(games) if game.venue == 1)
    return [*games[:number], replace(games[number], date=when), *games[number + 1 :]]


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_rule_is_found(league: League, games: list[Game], name: str) -> None:
    """Each rule has a schedule that breaks it, and a sentence for it."""
    broken, said = BREAKS[name]
    report = validate(league, broken(games))
    assert not report.valid
    assert any(said in violation for violation in report.violations)


def test_games_one_after_the_other_share_a_field(league: League) -> None:
    """The next game may begin in the minute in which one ends."""
    hall = [team for team in league.teams if team.venue == 1][:2]
    one, other = (
        Game(1, t.division, t.id, 99, 1, MONDAY, time(9 + 3 * n // 2, 30 * n))
        for n, t in enumerate(hall)
    )
    assert not any(
        "fields" in said for said in validate(league, [one, other]).violations
    )
    overlapping = replace(other, time=time(10, 29))
    said = validate(league, [one, overlapping]).violations
    assert any("Hall has 1 fields and 2 games" in each for each in said)
