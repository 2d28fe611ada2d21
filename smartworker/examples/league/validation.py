"""Holds a schedule against the rules; knows nothing of how it was made. Pure."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import combinations, pairwise
from typing import Any

from smartworker.examples.league.model import Game, League, minutes

#: Violations that are told in words; the rest is counted.
MOST_TOLD = 50


@dataclass(frozen=True)
class Report:
    """What was found, and figures that tell how good the schedule is."""

    violations: tuple[str, ...]
    games_checked: int
    rules_checked: tuple[str, ...]
    figures: dict[str, Any]

    @property
    def valid(self) -> bool:
        """Whether every rule is kept."""
        return not self.violations

    def as_dict(self) -> dict[str, Any]:
        """For the answer."""
        return {
            "valid": self.valid,
            "violations": list(self.violations[:MOST_TOLD]),
            "total_violations": len(self.violations),
            "games_checked": self.games_checked,
            "rules_checked": list(self.rules_checked),
            **self.figures,
        }


def validate(league: League, games: Sequence[Game]) -> Report:
    """Check all hard rules."""
    found = tuple(said for rule in RULES.values() for said in rule(league, games))
    return Report(found, len(games), tuple(RULES), _figures(league, games))


def _known(league: League, games: Sequence[Game]) -> Iterator[str]:
    for game in games:
        for team in (game.home, game.away):
            if team not in league.team:
                yield f"There is no team {team}."
            elif league.team[team].division != game.division:
                yield f"{_name(league, team)} does not play in {game.division}."
        if game.venue not in league.venue:
            yield f"There is no venue {game.venue}."


def _pairs(league: League, games: Sequence[Game]) -> Iterator[str]:
    met = Counter((min(g.home, g.away), max(g.home, g.away)) for g in games)
    for teams in league.divisions.values():
        for pair in combinations(sorted(team.id for team in teams), 2):
            times = met.pop(pair, 0)
            if times != league.rules.meetings:
                yield (
                    f"{_pair(league, pair)} meet {times} times instead of "
                    f"{league.rules.meetings}."
                )
    for pair in met:
        yield f"{_pair(league, pair)} are in no division together."


def _rest(league: League, games: Sequence[Game]) -> Iterator[str]:
    for team, played in _by_team(games).items():
        days = sorted(game.date for game in played)
        for one, other in pairwise(days):
            if one == other:
                yield f"{_name(league, team)} plays twice on {one}."
            elif other - one <= timedelta(days=league.rules.rest_days):
                yield f"{_name(league, team)} plays on {one} and again on {other}."


def _balance(league: League, games: Sequence[Game]) -> Iterator[str]:
    for team, played in _by_team(games).items():
        at_home = sum(game.home == team for game in played)
        away = len(played) - at_home
        if abs(at_home - away) > league.rules.balance:
            yield f"{_name(league, team)} has {at_home} home and {away} away games."


def _hosts(league: League, games: Sequence[Game]) -> Iterator[str]:
    hosted = Counter((game.home, game.away) for game in games)
    for (home, away), times in hosted.items():
        if times - hosted.get((away, home), 0) > 1:
            yield f"{_name(league, home)} hosts {_name(league, away)} {times} times."


def _home_venue(league: League, games: Sequence[Game]) -> Iterator[str]:
    for game in games:
        team = league.team.get(game.home)
        if team is not None and team.venue != game.venue:
            yield f"{team.name} is at home at another venue on {game.date}."


def _open(league: League, games: Sequence[Game]) -> Iterator[str]:
    length = league.rules.game_minutes
    for game in games:
        venue = league.venue.get(game.venue)
        if venue is None:
            continue
        begin = minutes(game.time)
        is_open = game.date not in venue.closed and any(
            opening.weekday == game.date.weekday()
            and minutes(opening.opens) <= begin
            and begin + length <= minutes(opening.closes)
            for opening in venue.openings
        )
        if not is_open:
            yield f"{venue.name} is closed on {game.date} at {game.time:%H:%M}."


def _capacity(league: League, games: Sequence[Game]) -> Iterator[str]:
    changes: dict[tuple[int, date], list[tuple[int, int]]] = defaultdict(list)
    for game in games:
        begin = minutes(game.time)
        # At the same minute the end of one game comes before the start of another.
        there = changes[game.venue, game.date]
        there += [(begin, 1), (begin + league.rules.game_minutes, -1)]
    for (venue_id, when), moments in changes.items():
        venue = league.venue.get(venue_id)
        running = most = 0
        for _, change in sorted(moments):
            running += change
            most = max(most, running)
        if venue is not None and most > venue.fields:
            yield f"{venue.name} has {venue.fields} fields and {most} games on {when}."


def _season(league: League, games: Sequence[Game]) -> Iterator[str]:
    last = league.date(league.days - 1)
    for game in games:
        if not league.rules.starts <= game.date <= last:
            yield f"A game is on {game.date}, which is not in the season."


def _away_dates(league: League, games: Sequence[Game]) -> Iterator[str]:
    for game in games:
        for team in (game.home, game.away):
            if team in league.team and game.date in league.team[team].away:
                yield f"{_name(league, team)} cannot play on {game.date}."


Rule = Callable[[League, Sequence[Game]], Iterable[str]]
RULES: dict[str, Rule] = {
    "known teams and venues": _known,
    "each pair meets": _pairs,
    "rest days": _rest,
    "home and away balance": _balance,
    "pairs take turns at home": _hosts,
    "home games at home": _home_venue,
    "opening times": _open,
    "venue capacity": _capacity,
    "within the season": _season,
    "dates without a team": _away_dates,
}


def _figures(league: League, games: Sequence[Game]) -> dict[str, Any]:
    shortest = most = streak = 0
    gaps = []
    for team, played in _by_team(games).items():
        ordered = sorted(played, key=lambda game: game.date)
        gaps += [(b.date - a.date).days - 1 for a, b in pairwise(ordered)]
        sides = [game.home == team for game in ordered]
        most = max(most, abs(2 * sum(sides) - len(sides)))
        streak = max(streak, _longest_run(sides))
    shortest = min(gaps, default=0)
    return {
        "shortest_rest_days": shortest,
        "largest_home_away_difference": most,
        "longest_streak": streak,
        "teams": len(league.teams),
        "venues_used": len({game.venue for game in games}),
    }


def _longest_run(sides: Sequence[bool]) -> int:
    longest = run = 0
    for number, side in enumerate(sides):
        run = run + 1 if number and side == sides[number - 1] else 1
        longest = max(longest, run)
    return longest


def _by_team(games: Iterable[Game]) -> dict[int, list[Game]]:
    found: dict[int, list[Game]] = defaultdict(list)
    for game in games:
        found[game.home].append(game)
        found[game.away].append(game)
    return found


def _name(league: League, team: int) -> str:
    return league.team[team].name if team in league.team else f"Team {team}"


def _pair(league: League, pair: tuple[int, int]) -> str:
    return " and ".join(_name(league, team) for team in pair)
