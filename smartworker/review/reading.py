"""Log lines of files and pipes, packed or not, in constant memory."""

import gzip
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol, cast

#: Bytes that are read at once.
CHUNK = 1 << 20
#: A line that is longer is cut here, and the rest of it is passed over.
LONGEST = 4 << 20
_GZIP = b"\x1f\x8b"


class Peekable(Protocol):
    """A binary stream that can be looked into, such as an opened file or stdin's."""

    def peek(self, size: int = ..., /) -> bytes:
        """The next bytes, without taking them."""

    def read(self, size: int = ..., /) -> bytes:
        """The next bytes."""


class Damaged(Exception):
    """A packed file ends too early, or is not what it says."""


def lines(stream: Peekable) -> Iterator[bytes]:
    """The lines without their ends; gzip is known by its first bytes, also on a pipe.

    Raises Damaged after the last line that could be unpacked.
    """
    packed = stream.peek(2)[:2] == _GZIP
    source: Any = gzip.GzipFile(fileobj=cast(BinaryIO, stream)) if packed else stream
    rest, passing = b"", False
    for chunk in _chunks(source):
        *whole, rest = (rest + chunk).split(b"\n")
        if whole and passing:
            whole.pop(0)
            passing = False
        yield from whole
        if passing:
            rest = b""
        elif len(rest) > LONGEST:
            yield rest[:LONGEST]
            rest, passing = b"", True
    if rest and not passing:
        yield rest


def _chunks(source: Any) -> Iterator[bytes]:
    try:
        while chunk := source.read(CHUNK):
            yield chunk
    except (EOFError, OSError, zlib.error) as error:
        raise Damaged(str(error)) from error
