"""Finds a place for every game: the best one, and whoever is in the way moves. Pure."""

from collections import Counter
from collections.abc import Callable
from random import Random

from smartworker.examples.league.board import Board, Match, Slot
from smartworker.examples.league.model import League, LeagueError
from smartworker.examples.league.pairing import rounds

#: Each game may be placed so many times before another order of the teams is tried.
TRIES_PER_GAME = 20
LEAST_TRIES = 500
ORDERS = 4
#: A game in the way weighs as much as so many days outside of its round.
IN_THE_WAY = 100.0

Tell = Callable[[int, int], None]


class NoSchedule(LeagueError):
    """No schedule that keeps all rules was found."""


def place_all(league: League, random: Random, tell: Tell) -> tuple[Board, list[Match]]:
    """All games, each in a slot. Raises NoSchedule."""
    for _ in range(ORDERS):
        matches = pair_all(league, random)
        placer = Placer(league, matches, random)
        if placer.place_all(tell):
            return placer.board, matches
    raise NoSchedule(_why(league, [match for match in matches if match.slot is None]))


def pair_all(league: League, random: Random) -> list[Match]:
    """All games of all divisions, without a place."""
    found: list[Match] = []
    for division, teams in league.divisions.items():
        order = random.sample([team.id for team in teams], len(teams))
        for number, games in enumerate(rounds(order, league.rules.meetings)):
            for home, away in games:
                found.append(Match(len(found), number, division, home, away))
    return found


class Placer:
    """Places games one by one; what had to go is placed again.

    Each time that a game has to go it gets heavier, so that no two of them chase each
    other for ever.
    """

    def __init__(self, league: League, matches: list[Match], random: Random) -> None:
        self.board = Board(league, 1 + max(match.round for match in matches))
        self._league = league
        self._matches = matches
        self._random = random
        self._weight: Counter[int] = Counter()
        self._surplus: Counter[int] = Counter()
        self._hosted: Counter[tuple[int, int]] = Counter()
        for match in matches:
            self._count(match, 1)

    def place_all(self, tell: Tell) -> bool:
        """Whether every game has found a place."""
        waiting = sorted(self._matches, key=lambda match: match.round, reverse=True)
        total = len(waiting)
        for _ in range(LEAST_TRIES + TRIES_PER_GAME * total):
            if not waiting:
                return True
            match = waiting.pop()
            tell(total - len(waiting), total)
            if not (gone := self._settle(match)):
                waiting.insert(0, match)
            else:
                waiting.extend(gone[1:])
        return not waiting

    def _settle(self, match: Match) -> list[Match]:
        """Place a game: itself and what had to go; nothing if there is no slot."""
        best = self._best(match)
        turned = self._may_turn(match)
        if turned and (best is None or best[0] >= IN_THE_WAY):
            self._turn(match)
            other = self._best(match)
            if other is None or (best is not None and best[0] <= other[0]):
                self._turn(match)
            else:
                best = other
        if best is None:
            return []
        slot = best[1]
        gone = self._in_the_way(match, slot)
        for other_match in gone:
            self._weight[other_match.id] += 1
            self.board.remove(other_match)
        self.board.place(match, slot)
        return [match, *gone]

    def _best(self, match: Match) -> tuple[float, Slot] | None:
        home = self._league.team[match.home].venue
        found = (
            (self._cost(match, slot) + self._random.random(), slot)
            for slot in self.board.slots[home]
            if self.board.suits(match, slot)
        )
        return min(found, key=lambda each: each[0], default=None)

    def _cost(self, match: Match, slot: Slot) -> float:
        gone = self._in_the_way(match, slot)
        weight = sum(IN_THE_WAY * (1 + self._weight[each.id]) for each in gone)
        return self.board.outside(match, slot.day) + weight

    def _in_the_way(self, match: Match, slot: Slot) -> list[Match]:
        found = {other.id: other for other in self.board.too_close(match, slot.day)}
        there = self.board.on_slot[slot]
        if len(there) >= slot.fields and not any(each.id in found for each in there):
            lightest = min(there, key=lambda each: (self._weight[each.id], each.id))
            found[lightest.id] = lightest
        return list(found.values())

    def _may_turn(self, match: Match) -> bool:
        """Whether the rules let the other team be at home."""
        limit, pair = self._league.rules.balance, match.teams
        return (
            self._surplus[match.home] - 2 >= -limit
            and self._surplus[match.away] + 2 <= limit
            and self._hosted[pair] > self._hosted[pair[::-1]]
        )

    def _turn(self, match: Match) -> None:
        self._count(match, -1)
        match.home, match.away = match.away, match.home
        self._count(match, 1)

    def _count(self, match: Match, sign: int) -> None:
        self._surplus[match.home] += sign
        self._surplus[match.away] -= sign
        self._hosted[match.teams] += sign


def _why(league: League, missing: list[Match]) -> str:
    home, away = (league.team[team].name for team in missing[0].teams)
    return (
        f"No schedule was found: {len(missing)} of {league.total_games} games have no "
        f"place, such as {home} against {away}; it takes more weeks, more fields, "
        "longer opening hours or less rest."
    )
