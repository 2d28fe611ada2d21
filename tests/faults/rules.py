"""What can go wrong on the way to a server: faults of a line, and traps for commands.

`up` is the direction from the client to the server, `down` the other one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Direction = Literal["up", "down"]
#: Which connections; asked whenever something passes, so the answer may change.
Where = Callable[[Any], bool]
#: What becomes of a connection after a trap has sprung.
Then = Literal["pass", "silent", "close", "reset"]

BOTH: tuple[Direction, ...] = ("up", "down")


def everywhere(link: Any) -> bool:
    """All connections."""
    return True


def subscribed(link: Any) -> bool:
    """The connections that have subscribed to something."""
    return bool(link.seen["SUBSCRIBE"] or link.seen["PSUBSCRIBE"])


@dataclass(frozen=True)
class Pieces:
    """Segmented writes: this share of all writes leaves in small random pieces."""

    share: float = 1.0
    most: int = 7
    #: Seconds between two pieces: sent together the receiver would see one.
    pause: float = 0.0005


@dataclass(eq=False, frozen=True, kw_only=True)
class Line:
    """What happens to the bytes of a connection; a fresh one does nothing.

    `swallow`: they are thrown away while the connection stays open, for good, because
    what would come later fits nothing before it. `hold`: they wait until the fault is
    over, as when packets are lost and sent again. Delays are seconds of latency, `rate`
    is bytes a second in each direction, `idle` seconds until a connection is closed.
    """

    where: Where = everywhere
    swallow: tuple[Direction, ...] = ()
    hold: tuple[Direction, ...] = ()
    up_delay: float = 0.0
    down_delay: float = 0.0
    rate: float | None = None
    pieces: Pieces | None = None
    idle: float | None = None

    def delay(self, direction: Direction) -> float:
        """Seconds that a byte is late."""
        return self.up_delay if direction == "up" else self.down_delay


@dataclass(eq=False, kw_only=True)
class Trap:
    """Springs at each of these commands, or at all of them, so many times.

    With an `answer` the command never reaches the server; otherwise it does, and its
    reply is lost, or it does not if the `request` is lost.
    """

    commands: frozenset[str]
    where: Where = everywhere
    answer: bytes | None = None
    lose: Literal["reply", "request"] = "reply"
    times: int | None = None
    then: Then = "silent"
    #: Commands caught so far.
    caught: int = 0

    def catches(self, link: Any, name: str) -> bool:
        """Whether it springs at this command; counts it."""
        over = self.times is not None and self.caught >= self.times
        if over or (self.commands and name not in self.commands):
            return False
        found = self.where(link)
        self.caught += found
        return found


Fault = Line | Trap


@dataclass
class Rules:
    """All faults that are in force."""

    faults: list[Fault] = field(default_factory=list)

    def lines(self, link: Any) -> list[Line]:
        """What happens to the bytes of this connection now."""
        return [f for f in self.faults if isinstance(f, Line) and f.where(link)]

    def trap(self, link: Any, name: str) -> Trap | None:
        """The first trap that springs at this command."""
        traps = [fault for fault in self.faults if isinstance(fault, Trap)]
        return next((trap for trap in traps if trap.catches(link, name)), None)
