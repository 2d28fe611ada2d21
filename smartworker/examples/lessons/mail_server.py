"""A mail server to try: `python -m smartworker.examples.lessons.mail_server`.

It takes every letter and keeps it as a file in a Maildir. Letters to `nobody@` anywhere
it refuses for good, and the first ones it may put off, as a busy server does.
"""

import argparse
import asyncio
import signal
from collections.abc import Sequence
from mailbox import Maildir
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

HOST = "127.0.0.1"


class Counter:
    """What the server answers; aiosmtpd asks the methods of these names."""

    def __init__(self, directory: str, busy: int = 0) -> None:
        self._letters = Maildir(directory)
        self._busy = busy

    async def handle_RCPT(
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        """Whether there is such a person."""
        if address.startswith("nobody@"):
            return "550 5.1.1 There is no such person here."
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Keep a letter, or put it off."""
        if self._busy > 0:
            self._busy -= 1
            return "451 4.3.2 The server is busy, try again later."
        content: Any = envelope.content
        self._letters.add(content)
        return "250 The letter is kept."


async def serve(port: int, counter: Counter) -> None:
    """Answer until a signal comes."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # The loops of Windows have no add_signal_handler.
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopped.set))
    server = await loop.create_server(
        lambda: SMTP(counter, hostname="mail.example.com", loop=loop), HOST, port
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        print(f"smtp://{HOST}:{port}", flush=True)  # noqa: T201 - where it is
        await stopped.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="mail_server")
    parser.add_argument("--port", type=int, default=2525)
    parser.add_argument("--directory", default="lessons-mail")
    parser.add_argument("--busy", type=int, default=0, help="letters to put off first")
    options = parser.parse_args(arguments)
    asyncio.run(serve(options.port, Counter(options.directory, options.busy)))


if __name__ == "__main__":
    main()
