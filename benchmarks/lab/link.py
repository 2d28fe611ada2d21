"""A TCP link with a round trip of its own: bytes come late, but none waits in line."""

import asyncio
import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import Self

from smartworker.leash import leashed

HOST = "127.0.0.1"


class Link:
    """Passes everything on to a port of this machine, half a round trip later.

    A process of its own, so that it delays nothing but the bytes. `round_trip` is in
    seconds, both ways together.
    """

    def __init__(self, port: int, round_trip: float) -> None:
        self._upstream = port
        self._round_trip = round_trip

    def __enter__(self) -> Self:
        words = [str(self._upstream), str(self._round_trip)]
        self._process = subprocess.Popen(
            leashed([sys.executable, "-m", "benchmarks.lab.link", *words]),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._process:
            self._process.kill()

    @property
    def url(self) -> str:
        """The server's address at the near end."""
        return f"redis://{HOST}:{self.port}/0"


async def serve(upstream: int, one_way: float) -> None:
    """Listen on a free port, say which, and pass on until killed."""

    async def accept(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, forth = await asyncio.open_connection(HOST, upstream)
        await asyncio.gather(carry(near, forth, one_way), carry(far, back, one_way))

    server = await asyncio.start_server(accept, HOST, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def carry(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay: float
) -> None:
    """Each chunk leaves `delay` seconds after it came, in order."""
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        while chunk := await source.read(65_536):
            loop.call_later(delay, sink.write, chunk)
    loop.call_later(delay, sink.close)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 2))
