"""Moving messages out of an in-flight list, each in one atomic step.

The rare path of a message: given back, tried again, rescued, or dead. The script is
sent whole each time, so a server that restarted costs no second try.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from smartworker.store import keys
from smartworker.store.lua import script
from smartworker.store.meter import because, ledger

MOVE = script("move")
#: Messages moved by one call; more would keep the server busy for too long.
MOST_AT_ONCE = 100

Place = Literal["front", "back", "dead"]


@dataclass(frozen=True)
class Move:
    """One message and where it goes: `push` is the message, or the facts as JSON."""

    raw: bytes
    place: Place
    push: bytes


@dataclass(frozen=True)
class Moved:
    """What became of each move, in order; `lease_ms` if a living lease forbade it."""

    gone: list[bool]
    lease_ms: int = 0


def move(
    client: Any,
    inflight_key: str,
    queue_key: str,
    moves: Sequence[Move],
    *,
    prefix: str = "",
    expired: bool = False,
    cause: str = "give_back",
) -> Moved:
    """Move messages out of an in-flight list.

    `expired`: only if its lease has ended by the server's clock. 1 command per 100
    messages and 2 per message, with `expired` up to 4 more per hundred. Raises what
    the server refuses with; nothing is half moved then.
    """
    gone: list[bool] = []
    for start in range(0, max(len(moves), 1), MOST_AT_ONCE):
        part = moves[start : start + MOST_AT_ONCE]
        where = [prefix + keys.LEASES, inflight_key, queue_key, prefix + keys.DEAD]
        how = "expired" if expired else "own"
        words = chain.from_iterable((m.raw, m.place, m.push) for m in part)
        with because(cause):
            lease, moved, counts = client.eval(MOVE, len(where), *where, how, *words)
            ledger.book(_spelled(counts))
        if lease:
            return Moved(gone, int(lease))
        gone += [count == 1 for count in moved]
    return Moved(gone)


def _spelled(counts: Sequence[Any]) -> list[str]:
    """The commands that ran inside the script, one name for each."""
    pairs = zip(counts[::2], counts[1::2], strict=True)
    return list(Counter({name.decode(): int(n) for name, n in pairs}).elements())
