"""The doorbell: one held subscription that wakes the worker and costs nothing idle.

A bell is a hint, never the message: a lost one costs at most one interval.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from smartworker.store.meter import because

#: Seconds within which the server must confirm a subscription or answer a PING.
ANSWER_WITHIN = 5.0

_CONFIRMATIONS = frozenset({"subscribe", "psubscribe", "unsubscribe", "punsubscribe"})


@dataclass(frozen=True)
class Ring:
    """One message on the subscription."""

    channel: str
    data: bytes


class Doorbell:
    """A subscribed connection. All methods may raise a lost connection."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._connection: Any = None
        self._channels: frozenset[str] = frozenset()
        self._patterns: frozenset[str] = frozenset()
        self._early: deque[Any] = deque()
        self._unconfirmed = 0
        self._pings = self._pongs = 0

    @property
    def connected(self) -> bool:
        """Whether there is a connection, dead or alive."""
        return self._connection is not None and self._connection._sock is not None

    def fileno(self) -> int:
        """The descriptor to watch; -1 while there is no connection."""
        return int(self._connection._sock.fileno()) if self.connected else -1

    def subscribe(
        self, pool: Any, channels: Iterable[str], patterns: Iterable[str]
    ) -> None:
        """Hear these channels and no others; confirmed when it returns.

        At most 4 commands, none if nothing changed.
        """
        wanted, wanted_patterns = frozenset(channels), frozenset(patterns)
        changes = [
            ("SUBSCRIBE", wanted - self._channels),
            ("PSUBSCRIBE", wanted_patterns - self._patterns),
            ("UNSUBSCRIBE", self._channels - wanted),
            ("PUNSUBSCRIBE", self._patterns - wanted_patterns),
        ]
        if not any(names for _, names in changes):
            return
        if self._connection is None:
            self._pool, self._connection = pool, pool.get_connection()
        with because("doorbell"):
            for command, names in changes:
                if names:
                    self._connection.send_command(
                        command, *sorted(names), check_health=False
                    )
                    self._unconfirmed += len(names)
        self._channels, self._patterns = wanted, wanted_patterns
        while self._unconfirmed:
            self._early.extend(self._sort(self._connection.read_response()))

    def ping(self) -> int:
        """Ask for a sign of life; `read` notes the answer. Not billed.

        Returns the number of the question, 0 where there is nobody to ask.
        """
        if self._connection is None:
            return 0
        with because("doorbell"):
            self._connection.send_command("PING", check_health=False)
        self._pings += 1
        return self._pings

    def answered(self, question: int) -> bool:
        """Whether this PING was answered, or its connection was given up since."""
        return self._pongs >= question

    @property
    def unanswered(self) -> int:
        """PINGs without an answer yet."""
        return self._pings - self._pongs

    def read(self) -> list[Ring]:
        """All that has been heard and not been read yet. Never waits for more."""
        heard = list(self._early)
        self._early.clear()
        while self._connection is not None and self._connection.can_read(timeout=0):
            heard += self._sort(self._connection.read_response())
        return heard

    @property
    def heard_early(self) -> bool:
        """Whether something was heard while a subscription was being confirmed."""
        return bool(self._early)

    def close(self) -> None:
        """Hang up. Costs no command."""
        connection, self._connection = self._connection, None
        self._channels = self._patterns = frozenset()
        self._early.clear()
        self._unconfirmed = 0
        self._pongs = self._pings
        if connection is not None:
            connection.disconnect()
            self._pool.release(connection)

    def _sort(self, response: Any) -> list[Ring]:
        """The rings in a reply: confirmations and answers to PING are noted."""
        if not isinstance(response, list):
            self._pongs += 1
            return []
        kind = response[0].decode()
        if kind in _CONFIRMATIONS:
            self._unconfirmed -= 1
        elif kind == "pong":
            self._pongs += 1
        elif kind in ("message", "pmessage"):
            return [Ring(response[-2].decode(), response[-1])]
        return []
