"""How long to pause before the next try."""

import random
from collections.abc import Iterator


def pauses(
    first: float = 1.0,
    most: float = 30.0,
    spread: float = 0.2,
    rng: random.Random | None = None,
) -> Iterator[float]:
    """Seconds to wait before each further try: doubling from `first` up to `most`.

    Each is shortened by up to `spread` of itself, so that workers that lost the same
    server do not come back in the same second, and none later than it was promised.
    """
    draw = (rng or random.SystemRandom()).uniform
    pause = first
    while True:
        yield pause * draw(1 - spread, 1)
        pause = min(pause * 2, most)
