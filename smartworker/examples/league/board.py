"""Where games stand while a schedule is made, and what stands in whose way. Pure."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from smartworker.examples.league.model import League, minutes

#: From this minute of the day on a game is late.
LATE = 19 * 60


@dataclass(frozen=True, slots=True)
class Slot:
    """A time at a venue at which as many games can begin as it has fields."""

    venue: int
    day: int
    minute: int
    fields: int

    @property
    def is_late(self) -> bool:
        """Whether it is in the evening."""
        return self.minute >= LATE


@dataclass(slots=True)
class Match:
    """A game to be placed; who is at home may still change."""

    id: int
    round: int
    division: str
    home: int
    away: int
    slot: Slot | None = None

    @property
    def teams(self) -> tuple[int, int]:
        """Both teams."""
        return self.home, self.away


class Board:
    """Slots and the games on them.

    It never holds two games of a team within the rest days, nor more games in a slot
    than there are fields: who places a game removes what is in its way first.
    """

    def __init__(self, league: League, rounds: int) -> None:
        self._days, self._rounds = league.days, rounds
        self._reach = range(-league.rules.rest_days, league.rules.rest_days + 1)
        self.slots = {
            venue.id: list(_slots(league, venue.id)) for venue in league.venues
        }
        self.on_slot: dict[Slot, list[Match]] = defaultdict(list)
        self.on_day: dict[int, dict[int, Match]] = {t.id: {} for t in league.teams}
        self._away = {
            team.id: {(when - league.rules.starts).days for when in team.away}
            for team in league.teams
        }

    def outside(self, match: Match, day: int) -> int:
        """How many days a day is away from those that the game's round has."""
        begin = match.round * self._days // self._rounds
        end = (match.round + 1) * self._days // self._rounds
        return max(begin - day, day - end + 1, 0)

    def suits(self, match: Match, slot: Slot) -> bool:
        """Whether both teams can play on that day at all."""
        home, away = match.teams
        return slot.day not in self._away[home] and slot.day not in self._away[away]

    def is_full(self, slot: Slot) -> bool:
        """Whether all fields are taken."""
        return len(self.on_slot[slot]) >= slot.fields

    def too_close(self, match: Match, day: int) -> Iterator[Match]:
        """The other games of both teams around a day; one may come twice."""
        for team in match.teams:
            played = self.on_day[team]
            for offset in self._reach:
                other = played.get(day + offset)
                if other is not None and other is not match:
                    yield other

    def is_free(self, match: Match, slot: Slot) -> bool:
        """Whether the game can stand there, and nothing has to go."""
        return (
            not self.is_full(slot)
            and self.suits(match, slot)
            and next(self.too_close(match, slot.day), None) is None
        )

    def place(self, match: Match, slot: Slot) -> None:
        """Put a game there."""
        match.slot = slot
        self.on_slot[slot].append(match)
        for team in match.teams:
            self.on_day[team][slot.day] = match

    def remove(self, match: Match) -> Slot:
        """Take a game away; where it was."""
        slot = match.slot
        assert slot is not None  # noqa: S101 - only placed games are removed
        match.slot = None
        self.on_slot[slot].remove(match)
        for team in match.teams:
            del self.on_day[team][slot.day]
        return slot


def _slots(league: League, venue_id: int) -> Iterator[Slot]:
    venue, length = league.venue[venue_id], league.rules.game_minutes
    for day in range(league.days):
        when = league.date(day)
        if when in venue.closed:
            continue
        for opening in venue.openings:
            if opening.weekday == when.weekday():
                last = minutes(opening.closes) - length
                for minute in range(minutes(opening.opens), last + 1, length):
                    yield Slot(venue_id, day, minute, venue.fields)
