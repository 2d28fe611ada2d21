"""A league and its games. Pure: days are numbers from the season's first day on."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, time, timedelta
from functools import cached_property
from itertools import pairwise


class LeagueError(ValueError):
    """The league is described in a way that cannot work; the message says why."""


@dataclass(frozen=True)
class Opening:
    """When a venue is open on a day of the week (Monday is 0)."""

    weekday: int
    opens: time
    closes: time


@dataclass(frozen=True)
class Venue:
    """A place with so many fields, on which games are played at the same time."""

    id: int
    name: str
    fields: int
    openings: tuple[Opening, ...]
    closed: frozenset[date] = frozenset()


@dataclass(frozen=True)
class Team:
    """A team, where it is at home, and the dates on which it cannot play."""

    id: int
    name: str
    division: str
    venue: int
    away: frozenset[date] = frozenset()


@dataclass(frozen=True)
class Rules:
    """What the season is like, and what every schedule has to keep.

    `meetings`: how often each two teams of a division meet. `rest_days`: whole days
    between two games of a team. `balance`: the most by which the numbers of a team's
    home and away games may differ.
    """

    starts: date
    weeks: int
    meetings: int = 1
    game_minutes: int = 90
    rest_days: int = 2
    balance: int = 1


@dataclass(frozen=True)
class Game:
    """A game with its place and time, as it is published."""

    round: int
    division: str
    home: int
    away: int
    venue: int
    date: date
    time: time


@dataclass(frozen=True)
class League:
    """All that a schedule is made of. Raises LeagueError for what cannot work."""

    teams: tuple[Team, ...]
    venues: tuple[Venue, ...]
    rules: Rules

    def __post_init__(self) -> None:
        """Check what the types cannot say."""
        _unique("team", (team.id for team in self.teams))
        _unique("venue", (venue.id for venue in self.venues))
        _check_rules(self.rules)
        for venue in self.venues:
            _check_venue(venue)
        for team in self.teams:
            if team.venue not in self.venue:
                raise LeagueError(f"The home of {team.name} is no venue.")
        for name, teams in self.divisions.items():
            if len(teams) < 2:
                raise LeagueError(f"Division {name} has one team, which needs others.")

    @cached_property
    def team(self) -> dict[int, Team]:
        """The teams by their number."""
        return {team.id: team for team in self.teams}

    @cached_property
    def venue(self) -> dict[int, Venue]:
        """The venues by their number."""
        return {venue.id: venue for venue in self.venues}

    @cached_property
    def divisions(self) -> dict[str, tuple[Team, ...]]:
        """The teams of each division."""
        found: dict[str, list[Team]] = {}
        for team in self.teams:
            found.setdefault(team.division, []).append(team)
        return {name: tuple(teams) for name, teams in found.items()}

    @property
    def days(self) -> int:
        """How many days the season has."""
        return 7 * self.rules.weeks

    @property
    def total_games(self) -> int:
        """How many games a whole schedule has."""
        pairs = sum(len(t) * (len(t) - 1) // 2 for t in self.divisions.values())
        return pairs * self.rules.meetings

    def date(self, day: int) -> date:
        """The date of a day of the season."""
        return self.rules.starts + timedelta(days=day)


def minutes(moment: time) -> int:
    """Minutes since midnight."""
    return 60 * moment.hour + moment.minute


def _unique(what: str, ids: Iterable[int]) -> None:
    for number, count in Counter(ids).items():
        if count > 1:
            raise LeagueError(f"There are {count} {what}s with the number {number}.")


def _check_rules(rules: Rules) -> None:
    least = {"weeks": 1, "meetings": 1, "game_minutes": 1, "rest_days": 0}
    for name, bound in least.items():
        if (value := getattr(rules, name)) < bound:
            raise LeagueError(f"{name} is {value}, and the least is {bound}.")
    if rules.balance < 1:
        raise LeagueError("balance is less than 1, which an odd number cannot keep.")


def _check_venue(venue: Venue) -> None:
    if venue.fields < 1:
        raise LeagueError(f"{venue.name} has no field.")
    ordered = sorted(venue.openings, key=lambda each: (each.weekday, each.opens))
    for opening in ordered:
        if opening.opens >= opening.closes:
            raise LeagueError(f"{venue.name} closes before it opens.")
    for one, other in pairwise(ordered):
        if one.weekday == other.weekday and other.opens < one.closes:
            raise LeagueError(f"{venue.name} opens twice at the same time.")
