"""The roster service, a third party with the moods of a real one.

Run it: `python -m smartworker.examples.sync.roster --port 8200`.
"""

import argparse
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from smartworker.clock import Clock, system_clock
from smartworker.examples.sync.moods import Mood, Moods, Weather
from smartworker.examples.sync.roster_state import Answer, Books, Refusal

LARGEST_BODY = 4096
UNAVAILABLE = {"message": "Try again later."}


class Server(ThreadingHTTPServer):
    """Answers in threads until it is shut down."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        address: tuple[str, int],
        books: Books,
        moods: Moods,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(address, Handler)
        self.books = books
        self.moods = moods
        self.clock = clock

    @property
    def url(self) -> str:
        """Where the server answers."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"


class Handler(BaseHTTPRequestHandler):
    """Schedules and employees; `/log` and `/mood` are for people who try things out."""

    server: Server
    server_version = "roster"
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the client logs."""

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        control = {
            ("GET", "/log"): self._log,
            ("PUT", "/mood"): self._change_mood,
        }.get((self.command, parts.path))
        if control is not None:
            self._send(*self._guarded(control))
            return
        server = self.server
        mood = server.moods.next(server.clock.monotonic())
        if mood is Mood.SLOW:
            server.clock.wait(threading.Event(), server.moods.weather.slow_seconds)
        if mood is Mood.DOWN:
            return
        if mood is Mood.FAILING:
            self._send(503, UNAVAILABLE)
            return
        if mood is Mood.LIMITED:
            seconds = str(server.moods.weather.retry_after)
            self._send(429, {"message": "Too many requests."}, seconds)
            return
        status, answer = self._guarded(self._answer)
        # What was done is done: why keys exist.
        if mood is Mood.NONSENSE:
            self._send_raw(200, server.moods.nonsense())
        elif mood is not Mood.LOSING:
            self._send(status, answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def _guarded(self, answer: Callable[[], Answer]) -> Answer:
        try:
            return answer()
        except Refusal as refusal:
            return refusal.status, {"message": str(refusal)}
        except (ValueError, LookupError, TypeError, AttributeError):
            return 400, {"message": "This cannot be read."}

    def _answer(self) -> Answer:
        parts, books = urlsplit(self.path), self.server.books
        kind, _, name = parts.path.strip("/").partition("/")
        name, key = unquote(name), self.headers.get("Idempotency-Key", "")
        match self.command, kind, bool(name):
            case "GET", "schedules", False:
                query = parse_qs(parts.query)
                if "reference" in query:
                    return 200, books.find(query["reference"][0])
                return 200, books.page(query.get("after", [""])[0])
            case "POST", "schedules", False:
                return books.create(key, self._fields())
            case "PATCH", "schedules", True:
                return books.update(key, name, self._fields())
            case "DELETE", "schedules", True:
                return books.delete(key, name)
            case "PUT", "employees", True:
                return books.employee(key, name, self._fields()["name"])
        raise Refusal(404, "There is nothing here.")

    def _log(self) -> Answer:
        books = self.server.books
        return 200, {"events": list(books.events), "replays": books.replays}

    def _change_mood(self) -> Answer:
        moods = self.server.moods
        moods.weather = moods.weather.changed(self._body())
        return 200, asdict(moods.weather)

    def _fields(self) -> dict[str, str]:
        found = self._body()
        if not all(isinstance(value, str) for value in found.values()):
            raise ValueError(found)
        return dict(found)

    def _body(self) -> Any:
        size = int(self.headers.get("Content-Length", 0))
        if not 0 <= size <= LARGEST_BODY:
            raise ValueError(size)
        return json.loads(self.rfile.read(size))

    def _send(
        self, status: int, answer: dict[str, Any], retry_after: str | None = None
    ) -> None:
        self._send_raw(status, json.dumps(answer).encode(), retry_after)

    def _send_raw(
        self, status: int, raw: bytes, retry_after: str | None = None
    ) -> None:
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            if retry_after is not None:
                self.send_header("Retry-After", retry_after)
            self.end_headers()
            self.wfile.write(raw)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted; the first line printed is the address."""
    parser = argparse.ArgumentParser(prog="roster", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8200, help="0 takes a free one")
    parser.add_argument("--mood", type=Mood, default=Mood.MOODY, choices=list(Mood))
    parser.add_argument("--share", type=float, default=0.1, help="of requests, 0 to 1")
    parser.add_argument("--rate", type=int, help="requests a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--journal", type=Path, help="a file to remember things in")
    chosen = parser.parse_args(arguments)
    weather = Weather(chosen.mood, chosen.share, rate=chosen.rate)
    moods = Moods(weather, chosen.seed)
    with Server((chosen.host, chosen.port), Books(chosen.journal), moods) as server:
        print(server.url, flush=True)  # noqa: T201 - the address is the output
        with suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
