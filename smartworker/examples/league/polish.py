"""Makes a valid schedule a fair one, move by move, and keeps it valid. Pure."""

from collections.abc import Callable
from itertools import pairwise
from math import log
from random import Random

from smartworker.examples.league.board import Board, Match, Slot

#: Days between two games that teams like; less and much more are disliked.
LIKED_GAP = 6
LONG_GAP = 14
#: What a third home or away game in a row counts.
STREAK = 12.0
#: What a day outside of those of its round counts, and how many a move may go there.
OUTSIDE, AROUND = 0.5, 4
#: What an evening game counts, times how many of them the team has.
LATE_GAME = 1.5
#: How much worse a move may make it at first; it cools down to nearly nothing.
WARM, COLD = 8.0, 0.05
#: Moves between two calls of `tell`.
STRIDE = 200

Tell = Callable[[int, int], None]


def polish(
    board: Board, matches: list[Match], random: Random, moves: int, tell: Tell
) -> None:
    """Simulated annealing over so many moves.

    A game goes to another slot of its venue, or changes with the one that has it.
    """
    near = {match.id: _near(board, match) for match in matches}
    costs = {team: unfairness(board, team) for team in board.on_day}
    for number in range(moves):
        if number % STRIDE == 0:
            tell(number, moves)
        match = random.choice(matches)
        slots = near[match.id]
        if not slots or (slot := random.choice(slots)) == match.slot:
            continue
        moved = [match]
        if board.is_full(slot):
            moved.append(random.choice(board.on_slot[slot]))
        heat = WARM * (COLD / WARM) ** (number / moves)
        # How much worse it may get: more than zero by chance, and rarely by much.
        _try(board, moved, slot, costs, limit=-heat * log(1 - random.random()))
    tell(moves, moves)


def unfairness(board: Board, team: int) -> float:
    """How far a team's games are from what it would like; 0 is perfect."""
    played = board.on_day[team]
    days = sorted(played)
    cost = 0.0
    for one, other in pairwise(days):
        gap = other - one
        if gap < LIKED_GAP:
            cost += (LIKED_GAP - gap) ** 2
        elif gap > LONG_GAP:
            cost += gap - LONG_GAP
    late, run, side = 0, 0, None
    for day in days:
        match = played[day]
        cost += OUTSIDE * board.outside(match, day)
        late += match.slot is not None and match.slot.is_late
        run = run + 1 if (match.home == team) is side else 1
        side = match.home == team
        cost += STREAK * (run > 2)
    return cost + LATE_GAME * late * late


def _near(board: Board, match: Match) -> list[Slot]:
    """The slots at the game's venue in and around the days of its round."""
    assert match.slot is not None  # noqa: S101 - all games are placed
    return [
        slot
        for slot in board.slots[match.slot.venue]
        if board.outside(match, slot.day) <= AROUND
    ]


def _try(
    board: Board,
    moved: list[Match],
    slot: Slot,
    costs: dict[int, float],
    limit: float,
) -> None:
    """Move the first match to a slot, and the second one, if any, to where it was.

    Not if a rule forbids it, or if it gets worse by more than the limit.
    """
    before = [board.remove(match) for match in moved]
    after = [slot, before[0]][: len(moved)]
    if not _place(board, moved, after):
        _place(board, moved, before)
        return
    teams = {team for match in moved for team in match.teams}
    new = {team: unfairness(board, team) for team in teams}
    if sum(new.values()) - sum(costs[team] for team in teams) <= limit:
        costs.update(new)
        return
    for match in moved:
        board.remove(match)
    _place(board, moved, before)


def _place(board: Board, matches: list[Match], slots: list[Slot]) -> bool:
    """Place all of them, or none if one cannot stand where it should."""
    for number, (match, slot) in enumerate(zip(matches, slots, strict=True)):
        if not board.is_free(match, slot):
            for placed in matches[:number]:
                board.remove(placed)
            return False
        board.place(match, slot)
    return True
