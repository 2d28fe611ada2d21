"""RESP read piece by piece: the requests of a client, the replies of a server."""

from collections.abc import Iterator
from dataclasses import dataclass

LINE = b"\r\n"
#: Commands that are answered once for each of their arguments.
SUBSCRIBING = {"SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE"}
#: How a subscription's messages begin in RESP2; in RESP3 they have a type of their own.
PUSHES = (b"*3\r\n$7\r\nmessage\r\n", b"*4\r\n$8\r\npmessage\r\n", b">")


@dataclass(frozen=True)
class Request:
    """One command as it was sent."""

    words: tuple[bytes, ...]
    raw: bytes

    @property
    def name(self) -> str:
        """The command in capitals, without its subcommand."""
        return self.words[0].decode("ascii", "replace").upper() if self.words else ""

    @property
    def replies(self) -> int:
        """How many replies it gets."""
        return max(len(self.words) - 1, 1) if self.name in SUBSCRIBING else 1


@dataclass(frozen=True)
class Reply:
    """One reply, or a message that nobody has asked for."""

    raw: bytes

    @property
    def pushed(self) -> bool:
        """Whether no request belongs to it."""
        return self.raw.startswith(PUSHES)


class Requests:
    """What a client sends, cut into commands."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Request]:
        """The commands that are complete with these bytes."""
        self._buffer += data
        for raw in _cut(self._buffer):
            yield Request(_words(raw), raw)


class Replies:
    """What a server sends, cut into replies."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Reply]:
        """The replies that are complete with these bytes."""
        self._buffer += data
        yield from map(Reply, _cut(self._buffer))


def _cut(buffer: bytearray) -> Iterator[bytes]:
    """Take complete values from the front of the buffer."""
    while buffer:
        end = end_of(buffer)
        if end is None:
            return
        raw = bytes(buffer[:end])
        del buffer[:end]
        yield raw


def end_of(buffer: bytes | bytearray) -> int | None:
    """Where the first value ends; None if it is not complete.

    What is no RESP counts as one line: commands typed by hand.
    """
    at, wanted = 0, 1
    while wanted:
        line = buffer.find(LINE, at)
        if line < 0:
            return None
        kind, number = buffer[at : at + 1], buffer[at + 1 : line]
        at, wanted = line + len(LINE), wanted - 1
        if kind in (b"$", b"=", b"!") and int(number) >= 0:
            at += int(number) + len(LINE)
        elif kind in (b"*", b"~", b">"):
            wanted += max(int(number), 0)
        elif kind == b"%":
            wanted += 2 * int(number)
        elif kind == b"|":  # attributes, and then the value that they describe
            wanted += 2 * int(number) + 1
    return at if at <= len(buffer) else None


def _words(raw: bytes) -> tuple[bytes, ...]:
    if not raw.startswith(b"*"):
        return tuple(raw.split())
    words, at = [], raw.index(LINE) + len(LINE)
    while at < len(raw):
        line = raw.index(LINE, at)
        start = line + len(LINE)
        end = start + int(raw[at + 1 : line])
        words.append(raw[start:end])
        at = end + len(LINE)
    return tuple(words)
