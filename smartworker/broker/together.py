"""Messages that are published in one call go out as one LPUSH per queue key."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Any

from smartworker.store.meter import because

#: Most bytes of messages in one LPUSH; Upstash takes requests of up to 10 MB.
MOST_BYTES = 1_000_000
#: Seconds after which what a slow generator has given so far goes out.
LONGEST = 5.0


class Pushes:
    """Messages for one connection, in order, that are not sent yet."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._messages: dict[str, list[str]] = {}
        self._bytes = 0
        self._due = 0.0

    def __bool__(self) -> bool:
        return bool(self._messages)

    def add(self, channel: Any, key: str, message: str) -> None:
        """One more for this queue key; those before it are sent if they are many.

        Raises what sending raises, and then has not taken the message.
        """
        size = len(message.encode())
        full = self._bytes + size > MOST_BYTES or monotonic() > self._due
        if self._messages and full:
            self.send(channel)
        if not self._messages:
            self._due = monotonic() + LONGEST
        self._messages.setdefault(key, []).append(message)
        self._bytes += size

    def send(self, channel: Any) -> None:
        """1 command per key, and 1 more where the producer must ring.

        Raises what a push raises; the keys whose push was answered are done, and the
        next call sends the others.
        """
        must_ring = channel.must_ring()
        client = channel.connection.plain_client(channel)
        for key, messages in [*self._messages.items()]:
            with because("publish"):
                client.lpush(key, *messages)
            del self._messages[key]
            if must_ring:
                channel.ring(key, len(messages))
        self._bytes = 0


_current: ContextVar[Pushes | None] = ContextVar("pushes", default=None)


@contextmanager
def together(connection: Any) -> Iterator[Pushes]:
    """What this thread publishes on a connection inside the block is only collected.

    Whoever opened the block sends it; after an error nobody does.
    """
    pushes = Pushes(connection)
    outer = _current.set(pushes)
    try:
        yield pushes
    finally:
        _current.reset(outer)


def collecting(connection: Any) -> Pushes | None:
    """Where messages for this connection are collected; None if they go at once."""
    pushes = _current.get()
    return pushes if pushes is not None and pushes.connection is connection else None
