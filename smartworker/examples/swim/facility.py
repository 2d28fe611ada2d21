"""The facility's web server, with the moods of a real one.

Run it: `python -m smartworker.examples.swim.facility --port 8100`.
"""

import argparse
import json
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import ceil
from typing import Any
from urllib.parse import parse_qs, urlsplit

from smartworker.clock import Clock, system_clock
from smartworker.examples.swim.database import SEEDS
from smartworker.examples.swim.lanes import Lanes, Refusal, Rules
from smartworker.examples.swim.moods import Limit, Moods
from smartworker.windows import to_utc

LARGEST_BODY = 4096
LONGEST_JOURNAL = 10_000


class Server(ThreadingHTTPServer):
    """Answers in threads until it is shut down."""

    daemon_threads = True
    # All members may connect in the same moment.
    request_queue_size = 256

    def __init__(
        self,
        address: tuple[str, int],
        lanes: Lanes,
        moods: Moods,
        clock: Clock = system_clock,
        limit: Limit | None = None,
    ) -> None:
        super().__init__(address, Handler)
        self.lanes = lanes
        self.moods = moods
        self.clock = clock
        self.limit = limit or Limit()
        #: What arrived when, the oldest first.
        self.journal: deque[dict[str, Any]] = deque(maxlen=LONGEST_JOURNAL)

    @property
    def url(self) -> str:
        """Where the server answers."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"


class Handler(BaseHTTPRequestHandler):
    """Log-in, timetable, list of slots, booking; connections are kept open."""

    server: Server
    server_version = "facility"
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    #: A connection that is silent for so many seconds is closed.
    timeout = 10

    def handle(self) -> None:
        """Answer one request after the other, until somebody hangs up."""
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        """`/timetable`, `/slots` and `/bookings`, each with `?date=2026-11-22`."""
        if self.path == "/journal":
            self._send(200, {"requests": list(self.server.journal)})
        else:
            self._respond("GET")

    def do_POST(self) -> None:
        """`/login` and `/bookings`."""
        self._respond("POST")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the client logs."""

    def _respond(self, method: str) -> None:
        now, port = self.server.clock.now(), self.client_address[1]
        entry = {"time": now.isoformat(), "method": method, "connection": str(port)}
        mood = self.server.moods.next()
        if mood == "slow":
            self.server.clock.wait(threading.Event(), self.server.moods.slow_seconds)
        status, answer = 503, {"error": "mood", "message": "Try again later."}
        if mood == "fails before":
            self.close_connection = True  # its body was not read
        else:
            done = self._answer(method)
            # The work is done and the answer gets lost: why keys exist.
            status, answer = (status, answer) if mood == "fails after" else done
        entry |= {"path": urlsplit(self.path).path, "status": str(status)}
        self.server.journal.append(entry)
        self._send(status, answer)

    def _send(self, status: int, answer: Any) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", str(ceil(answer["seconds"])))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, method: str) -> tuple[int, Any]:
        parts = urlsplit(self.path)
        lanes, now = self.server.lanes, self.server.clock.now()
        try:
            raw = self._body() if method == "POST" else b""
            if seconds := self._too_many():
                message = "That was too often."
                return 429, {"error": "limit", "message": message, "seconds": seconds}
            match method, parts.path:
                case "POST", "/login":
                    sent = json.loads(raw)
                    return 200, lanes.log_in(str(sent["user"]), str(sent["password"]))
                case "GET", "/timetable":
                    return 200, lanes.timetable(_day(parts.query), now)
                case "GET", "/slots":
                    self._user()
                    return 200, lanes.slots(_day(parts.query), now)
                case "GET", "/bookings":
                    return 200, lanes.of_user(self._user(), _day(parts.query))
                case "POST", "/bookings":
                    return 201, self._book(self._user(), json.loads(raw), now)
        except Refusal as refusal:
            return refusal.status, {"error": refusal.error, "message": str(refusal)}
        except (ValueError, LookupError, TypeError):
            return 400, {"error": "request", "message": "This cannot be read."}
        return 404, {"error": "address", "message": "There is nothing here."}

    def _book(self, user: str, sent: Any, now: datetime) -> dict[str, Any]:
        key = self.headers.get("Idempotency-Key", "")
        day = date.fromisoformat(sent["date"])
        return self.server.lanes.book(user, str(sent["slot"]), day, key, now)

    def _too_many(self) -> float | None:
        token = self._token()
        if not token:
            return None
        return self.server.limit.exceeded(token, self.server.clock.monotonic())

    def _token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _user(self) -> str:
        return self.server.lanes.user(self._token())

    def _body(self) -> bytes:
        size = int(self.headers.get("Content-Length", 0))
        if not 0 <= size <= LARGEST_BODY:
            self.close_connection = True
            raise ValueError(size)
        return self.rfile.read(size)


def _day(query: str) -> date:
    return date.fromisoformat(parse_qs(query)["date"][0])


def _release(text: str) -> time | datetime | None:
    if text == "always":
        return None
    if "T" in text:
        return to_utc(datetime.fromisoformat(text))
    return time.fromisoformat(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted; the first line printed is the address."""
    parser = argparse.ArgumentParser(prog="facility", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8100, help="0 takes a free one")
    parser.add_argument(
        "--release",
        type=_release,
        default="21:00",
        help="a time on the evening before, a moment with its offset, or `always`",
    )
    parser.add_argument("--capacity", type=int, default=2, help="people on a lane")
    parser.add_argument("--trouble", type=float, default=0.1, help="from 0 to 1")
    parser.add_argument("--limit", type=int, help="requests a second of one account")
    parser.add_argument(
        "--registers", action="store_true", help="the first log-in makes an account"
    )
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    lanes = Lanes(
        {member.name: member.password for member in SEEDS},
        Rules(chosen.release, chosen.capacity, chosen.registers),
    )
    moods, limit = Moods(chosen.trouble, chosen.seed), Limit(chosen.limit)
    address = (chosen.host, chosen.port)
    with Server(address, lanes, moods, limit=limit) as server:
        print(server.url, flush=True)  # noqa: T201 - the address is the output
        with suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
