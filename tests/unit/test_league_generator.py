"""Schedules of all kinds of leagues: whatever comes out keeps every rule."""

from datetime import date, time, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartworker.clock import system_clock
from smartworker.examples.league.generator import MOVES, generate
from smartworker.examples.league.model import (
    League,
    LeagueError,
    Opening,
    Rules,
    Team,
    Venue,
)
from smartworker.examples.league.pairing import rounds
from smartworker.examples.league.placing import NoSchedule, place_all
from smartworker.examples.league.polish import polish, unfairness
from smartworker.examples.league.sample import sample_league
from smartworker.examples.league.validation import validate

STARTS = date(2026, 9, 7)  # a Monday
TODAY = date(2026, 8, 20)
WHOLE_WEEK = tuple(Opening(day, time(9), time(21)) for day in range(7))

openings = st.lists(
    st.builds(
        Opening,
        st.integers(0, 6),
        st.sampled_from([time(9), time(12)]),
        st.sampled_from([time(13), time(21)]),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda opening: opening.weekday,
).map(tuple)
dates = st.frozensets(
    st.integers(0, 60).map(lambda day: STARTS + timedelta(days=day)), max_size=6
)


@st.composite
def leagues(draw: st.DrawFn) -> League:
    """Small leagues, many of them too tight for any schedule."""
    rules = Rules(
        starts=STARTS + timedelta(days=draw(st.integers(0, 6))),
        weeks=draw(st.integers(2, 14)),
        meetings=draw(st.integers(1, 3)),
        game_minutes=draw(st.sampled_from([45, 90, 240])),
        rest_days=draw(st.integers(0, 4)),
    )
    venues = tuple(
        Venue(
            number, f"V{number}", draw(st.integers(1, 2)), draw(openings), draw(dates)
        )
        for number in range(draw(st.integers(1, 3)))
    )
    sizes = draw(st.lists(st.integers(2, 6), min_size=1, max_size=3))
    homes = st.sampled_from([venue.id for venue in venues])
    divisions = [str(each) for each, size in enumerate(sizes) for _ in range(size)]
    teams = tuple(
        Team(number, f"T{number}", division, draw(homes), draw(dates))
        for number, division in enumerate(divisions)
    )
    return League(teams, venues, rules)


@settings(max_examples=40, deadline=None)
@given(leagues(), st.integers(0, 2**32))
def test_what_comes_out_keeps_all_rules(league: League, seed: int) -> None:
    """A league gets a schedule that is valid, or a sentence that there is none."""
    try:
        games = generate(league, seed, moves=300)
    except NoSchedule:
        return
    report = validate(league, games)
    assert report.violations == ()
    assert len(games) == league.total_games


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(2, 7), min_size=1, max_size=3),
    st.integers(1, 2),
    st.integers(0, 2),
    st.integers(0, 2**32),
)
def test_where_there_is_room_there_is_a_schedule(
    sizes: list[int], meetings: int, rest_days: int, seed: int
) -> None:
    """With a week for each round and open fields nobody is told that it cannot be."""
    divisions = [str(each) for each, size in enumerate(sizes) for _ in range(size)]
    teams = tuple(Team(n, f"T{n}", d, n % 2) for n, d in enumerate(divisions))
    venues = tuple(Venue(number, "V", 2, WHOLE_WEEK) for number in range(2))
    weeks = meetings * (max(sizes) + 1)
    rules = Rules(STARTS, weeks, meetings=meetings, rest_days=rest_days)
    league = League(teams, venues, rules)
    assert validate(league, generate(league, seed, moves=100)).valid


@given(st.integers(2, 16), st.integers(1, 4))
def test_each_two_meet_and_sides_are_even(size: int, meetings: int) -> None:
    """Once a leg, nobody twice in a round, and home and away differ by one at most."""
    found = rounds(range(size), meetings)
    pairs = [frozenset(pair) for games in found for pair in games]
    assert len(pairs) == meetings * size * (size - 1) // 2
    assert all(pairs.count(pair) == meetings for pair in pairs)
    surplus = dict.fromkeys(range(size), 0)
    for games in found:
        teams = [team for pair in games for team in pair]
        assert len(teams) == len(set(teams))
        for home, away in games:
            surplus[home] += 1
            surplus[away] -= 1
    played = meetings * (size - 1)
    assert {abs(each) for each in surplus.values()} <= {played % 2}


def test_200_teams_within_a_minute() -> None:
    """The league that comes with the example, as the task makes it."""
    league = sample_league(TODAY)
    assert len(league.teams) == 200
    begun = system_clock.monotonic()
    told = []
    games = generate(league, 1, moves=MOVES, tell=lambda *told_: told.append(told_))
    assert system_clock.monotonic() - begun < 60
    assert len(games) > 600
    report = validate(league, games)
    assert report.violations == ()
    assert report.figures["shortest_rest_days"] >= league.rules.rest_days
    percents = [percent for percent, _ in told]
    assert told[0] == (0, "Generating schedule for 200 teams...")
    assert percents[-1] == 95
    # Steps are short: a cancelled run ends soon.
    assert len(percents) > 1000


def test_the_same_seed_gives_the_same_schedule() -> None:
    """And another seed another one."""
    league = sample_league(TODAY)
    first, again, other = (generate(league, seed, moves=2000) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_polishing_pays() -> None:
    """It makes the schedule much fairer within few moves."""
    random = Random(3)
    board, matches = place_all(sample_league(TODAY), random, lambda *_: None)
    before = sum(unfairness(board, team) for team in board.on_day)
    polish(board, matches, random, 30_000, lambda *_: None)
    assert sum(unfairness(board, team) for team in board.on_day) < before / 3


def test_a_league_without_room_is_told() -> None:
    """The sentence names a game and what would help."""
    teams = tuple(Team(number, f"T{number}", "A", 1) for number in range(6))
    venue = Venue(1, "Hall", 1, (Opening(5, time(9), time(10, 30)),))
    league = League(teams, (venue,), Rules(STARTS, weeks=3))
    with pytest.raises(NoSchedule, match=r"12 of 15 games .* more weeks"):
        generate(league, 1)


def test_what_is_raised_ends_the_work() -> None:
    """The caller may stop it between any two steps."""

    def stop(percent: int, _message: str) -> None:
        if percent >= 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(sample_league(TODAY), 1, tell=stop)


TWO = (Team(1, "One", "A", 1), Team(2, "Two", "A", 1))
HALL = Venue(1, "Hall", 1, WHOLE_WEEK)


@pytest.mark.parametrize(
    ("teams", "venues", "rules", "said"),
    [
        ((*TWO, TWO[0]), (HALL,), Rules(STARTS, 4), "2 teams with the number 1"),
        (TWO, (HALL, HALL), Rules(STARTS, 4), "2 venues with the number 1"),
        (TWO[:1], (HALL,), Rules(STARTS, 4), "Division A has one team"),
        (TWO, (), Rules(STARTS, 4), "home of One is no venue"),
        (TWO, (HALL,), Rules(STARTS, 0), "weeks is 0"),
        (TWO, (HALL,), Rules(STARTS, 4, balance=0), "balance is less than 1"),
        (TWO, (Venue(1, "Hall", 0, ()),), Rules(STARTS, 4), "Hall has no field"),
        (
            TWO,
            (Venue(1, "Hall", 1, (Opening(1, time(9), time(9)),)),),
            Rules(STARTS, 4),
            "closes before it opens",
        ),
        (
            TWO,
            (
                Venue(
                    *(1, "Hall", 1),
                    (Opening(1, time(9), time(12)), Opening(1, time(11), time(13))),
                ),
            ),
            Rules(STARTS, 4),
            "opens twice at the same time",
        ),
    ],
)
def test_a_league_that_cannot_work_is_refused(
    teams: tuple[Team, ...], venues: tuple[Venue, ...], rules: Rules, said: str
) -> None:
    """What is wrong with it is a sentence."""
    with pytest.raises(LeagueError, match=said):
        League(teams, venues, rules)
