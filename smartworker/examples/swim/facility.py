"""The facility's web server, with the moods of a real one.

Run it: `python -m smartworker.examples.swim.facility --port 8100`.
"""

import argparse
import json
import random
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from smartworker.clock import Clock, system_clock
from smartworker.examples.swim.database import SEEDS
from smartworker.examples.swim.lanes import Lanes, Refusal, Rules

LARGEST_BODY = 4096
MOODS = ("slow", "fails before", "fails after")


class Moods:
    """Decides from a seed which request is slow and which one fails."""

    def __init__(self, trouble: float, seed: int, slow_seconds: float = 0.3) -> None:
        self._trouble = trouble
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._lock = threading.Lock()
        self.slow_seconds = slow_seconds

    def next(self) -> str | None:
        """The mood for the next request; None is a good one."""
        with self._lock:
            bad = self._random.random() < self._trouble
            return self._random.choice(MOODS) if bad else None


class Server(ThreadingHTTPServer):
    """Answers in threads until it is shut down."""

    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        lanes: Lanes,
        moods: Moods,
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(address, Handler)
        self.lanes = lanes
        self.moods = moods
        self.clock = clock

    @property
    def url(self) -> str:
        """Where the server answers."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"


class Handler(BaseHTTPRequestHandler):
    """Log-in, list of slots, booking."""

    server: Server
    server_version = "facility"
    timeout = 10

    def do_GET(self) -> None:
        """`/slots?date=2026-11-22`."""
        self._respond("GET")

    def do_POST(self) -> None:
        """`/login` and `/bookings`."""
        self._respond("POST")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the client logs."""

    def _respond(self, method: str) -> None:
        mood = self.server.moods.next()
        if mood == "slow":
            self.server.clock.wait(threading.Event(), self.server.moods.slow_seconds)
        status, answer = 503, {"error": "mood", "message": "Try again later."}
        if mood != "fails before":
            done = self._answer(method)
            # The work is done and the answer gets lost: why keys exist.
            status, answer = (status, answer) if mood == "fails after" else done
        body = json.dumps(answer).encode()
        with suppress(ConnectionError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _answer(self, method: str) -> tuple[int, Any]:
        parts = urlsplit(self.path)
        try:
            match method, parts.path:
                case "POST", "/login":
                    body = self._body()
                    return 200, self.server.lanes.log_in(
                        str(body["user"]), str(body["password"])
                    )
                case "GET", "/slots":
                    self._user()
                    day = date.fromisoformat(parse_qs(parts.query)["date"][0])
                    return 200, self.server.lanes.slots(day, self.server.clock.now())
                case "POST", "/bookings":
                    return 201, self._book()
        except Refusal as refusal:
            return refusal.status, {"error": refusal.error, "message": str(refusal)}
        except (ValueError, LookupError, TypeError):
            return 400, {"error": "request", "message": "This cannot be read."}
        return 404, {"error": "address", "message": "There is nothing here."}

    def _book(self) -> dict[str, Any]:
        user, body = self._user(), self._body()
        return self.server.lanes.book(
            user,
            str(body["slot"]),
            date.fromisoformat(body["date"]),
            self.headers.get("Idempotency-Key", ""),
            self.server.clock.now(),
        )

    def _user(self) -> str:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return self.server.lanes.user(token)

    def _body(self) -> Any:
        size = int(self.headers.get("Content-Length", 0))
        if not 0 <= size <= LARGEST_BODY:
            raise ValueError(size)
        return json.loads(self.rfile.read(size))


def _release(text: str) -> time | None:
    return None if text == "always" else time.fromisoformat(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted; the first line printed is the address."""
    parser = argparse.ArgumentParser(prog="facility", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8100, help="0 takes a free one")
    parser.add_argument("--release", type=_release, default="21:00")
    parser.add_argument("--capacity", type=int, default=2, help="people on a lane")
    parser.add_argument("--trouble", type=float, default=0.1, help="from 0 to 1")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    lanes = Lanes(
        {member.name: member.password for member in SEEDS},
        Rules(chosen.release, chosen.capacity),
    )
    moods = Moods(chosen.trouble, chosen.seed)
    with Server((chosen.host, chosen.port), lanes, moods) as server:
        print(server.url, flush=True)  # noqa: T201 - the address is the output
        with suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
