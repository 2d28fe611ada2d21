"""The whole way from a league to its schedule. Pure, and the same for the same seed."""

from collections.abc import Callable
from datetime import time
from random import Random

from smartworker.examples.league.board import Match
from smartworker.examples.league.model import Game, League
from smartworker.examples.league.placing import place_all
from smartworker.examples.league.polish import polish

#: Moves of the polish; they take some four seconds, and more of them gain little.
MOVES = 300_000
#: Per cent after which the games are placed, and after which they are polished.
PLACED, POLISHED = 20, 95

#: Called often with the per cent that are done and a sentence; what it raises ends it.
Tell = Callable[[int, str], None]


def generate(
    league: League,
    seed: int,
    *,
    moves: int = MOVES,
    tell: Tell = lambda percent, message: None,
) -> list[Game]:
    """A schedule that keeps all rules, by date. Raises NoSchedule."""
    random = Random(seed)  # noqa: S311 - the same schedule for the same seed
    making = f"Generating schedule for {len(league.teams)} teams..."
    tell(0, making)
    board, matches = place_all(
        league,
        random,
        lambda done, total: tell(PLACED * done // total, making),
    )
    polish(
        board,
        matches,
        random,
        moves,
        lambda done, total: tell(
            PLACED + (POLISHED - PLACED) * done // max(total, 1),
            making,
        ),
    )
    games = [_game(league, match) for match in matches]
    return sorted(games, key=lambda game: (game.date, game.time, game.venue, game.home))


def _game(league: League, match: Match) -> Game:
    slot = match.slot
    assert slot is not None  # noqa: S101 - all games are placed
    return Game(
        round=match.round + 1,
        division=match.division,
        home=match.home,
        away=match.away,
        venue=slot.venue,
        date=league.date(slot.day),
        time=time(*divmod(slot.minute, 60)),
    )
