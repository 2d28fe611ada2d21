"""What the doorbell has told about each queue: how many messages may wait there.

Pure bookkeeping. It never sees a message and never asks the server; it only says
which queues are worth a command.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import ceil, inf

#: Most messages asked of one queue in one round trip when its length is unknown.
MOST_AT_ONCE = 64
#: What one worker takes at once or soon; more is enough for several.
FEW = 8
#: A list that ran empty sends `del`. After so many disappointments without ever
#: having heard one, the server is taken not to send it.
DISAPPOINTMENTS = 2


class Bells:
    """Expected messages by queue key; `inf` means: some, nobody knows how many."""

    def __init__(self) -> None:
        self._expected: dict[str, float] = {}
        self._chunk: dict[str, int] = {}
        # Most that is asked of a queue where others were faster; doubles with luck.
        self._limits: dict[str, int] = {}
        # Our own pops ring too; each is told apart from a foreign one by count.
        self._echoes: Counter[str] = Counter()
        # So do the messages that we put back for others to take.
        self._for_others: Counter[str] = Counter()
        self._left: set[str] = set()
        self._guessed: set[str] = set()
        self._heard_empty = False
        self._disappointed = 0
        self.foreign_pops = 0
        #: Pushes heard so far.
        self.pushes = 0

    def look_everywhere(self, keys: Iterable[str]) -> None:
        """Nothing is known about these queues any more: look into each."""
        self._echoes.clear()
        self._for_others.clear()
        self._expected = dict.fromkeys(keys, inf)

    def look_into(self, key: str) -> None:
        """Something may lie in this queue that will not ring again."""
        self._expected[key] = inf

    def pushed(self, key: str, count: int = 1) -> None:
        """Somebody pushed `count` messages."""
        self.pushes += 1
        if self._for_others[key] > 0:
            self._for_others[key] -= 1
            return
        self._expected[key] = self._expected.get(key, 0) + count

    def leave_to_others(self, key: str) -> None:
        """We are about to put a message back that we cannot run: its bell is theirs."""
        self._for_others[key] += 1

    def popped(self, key: str) -> None:
        """Somebody took a message; unless `emptied` follows, there are more."""
        if self._echoes[key] > 0:
            self._echoes[key] -= 1
        else:
            self.foreign_pops += 1
            self._expected[key] = max(self._expected.get(key, 0) - 1, 0)
        self._left.add(key)

    def emptied(self, key: str) -> None:
        """The queue ran empty."""
        self._heard_empty = True
        self._left.discard(key)
        self._expected[key] = 0

    def settle(self) -> None:
        """All that was to be heard has been heard: draw the conclusions.

        One push of many messages rings once, so a pop that left something behind
        is the only sign of the others.
        """
        for key in self._left:
            if not self._expected.get(key) and self._believes_left():
                self._expected[key] = inf
                self._guessed.add(key)
        self._left.clear()

    def _believes_left(self) -> bool:
        return self._heard_empty or self._disappointed < DISAPPOINTMENTS

    @property
    def any(self) -> bool:
        """Whether any queue is worth a command."""
        return any(self._expected.values())

    @property
    def few(self) -> bool:
        """Whether so little is expected that one worker may take it all."""
        return sum(self._expected.values()) <= FEW

    def unknown(self, key: str) -> bool:
        """Whether the queue holds some messages, and nobody knows how many."""
        return self._expected.get(key) == inf

    def wishes(self, keys: Sequence[str], room: int) -> list[str]:
        """The keys to take from, at most `room`; queues of one urgency share it."""
        chosen: list[str] = []
        share = ceil(room / max(sum(map(self.unknown, keys)), 1))
        for key in keys:
            count = self._expected.get(key, 0)
            if count == inf:
                count = min(self._chunk.get(key, 1), share)
            limit = self._limits.get(key, MOST_AT_ONCE)
            chosen += [key] * int(min(count, limit, room - len(chosen)))
        return chosen

    def answered(self, key: str, asked: int, got: int, *, echo: bool = True) -> bool:
        """The server gave `got` messages where `asked` were wished.

        `echo`: our own pops will be heard on the doorbell. True if a bell had
        promised more than there was.
        """
        promised = self._expected.get(key, 0) != inf
        if echo:
            self._echoes[key] += got
        if got < asked:
            self._limits[key] = max(got, 1)
            self._expected[key] = 0
            self._chunk.pop(key, None)
            if key in self._guessed and not got and not self._heard_empty:
                self._disappointed += 1
            self._guessed.discard(key)
            return promised
        if self._limits.get(key, MOST_AT_ONCE) < MOST_AT_ONCE:
            self._limits[key] *= 2
        if self._expected.get(key) == inf:
            self._chunk[key] = min(2 * self._chunk.get(key, 1), MOST_AT_ONCE)
        else:
            self._expected[key] = max(self._expected.get(key, 0) - got, 0)
            if not self._believes_left():
                self._expected[key] = inf
        return False
