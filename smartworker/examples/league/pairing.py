"""Who plays whom, and who is at home: rounds in which each team plays once. Pure."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
#: The games of a round, each as home and away.
Round = list[tuple[T, T]]


def rounds(teams: Sequence[T], meetings: int = 1) -> list[Round[T]]:
    """All games of a division; with an odd number of teams one pauses each round.

    Home and away alternate as well as they can (de Werra's orientation of the circle
    method), so within each leg they differ by one at most, and by none where a team's
    games are even in number. Each second leg is the one before with sides changed.
    """
    first = _leg(teams)
    second = [[(away, home) for home, away in games] for games in first]
    return [
        games for leg in range(meetings) for games in (second if leg % 2 else first)
    ]


def _leg(teams: Sequence[T]) -> list[Round[T]]:
    # The last of an even number stands in the middle of the circle; for an odd number
    # nobody does, and who would meet it has a pause.
    middle = teams[-1] if len(teams) % 2 == 0 else None
    circle = teams[:-1] if middle is not None else teams
    size = len(circle)
    found = []
    for number in range(size):
        games: Round[T] = []
        if middle is not None:
            guest = circle[number]
            games.append((middle, guest) if number % 2 else (guest, middle))
        for step in range(1, (size + 1) // 2):
            one, other = circle[(number + step) % size], circle[(number - step) % size]
            games.append((one, other) if step % 2 else (other, one))
        found.append(games)
    return found
