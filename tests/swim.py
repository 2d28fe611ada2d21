"""The swim example's facility for tests: in a thread or as a process of its own."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import httpx

from smartworker.clock import Clock, SystemClock, system_clock
from smartworker.examples.swim.booking import Member, Preference
from smartworker.examples.swim.database import SEEDS, Database
from smartworker.examples.swim.facility import Server
from smartworker.examples.swim.lanes import Lanes, Rules
from smartworker.examples.swim.moods import Limit, Moods

ACCOUNTS = {member.name: member.password for member in SEEDS}
CALM = Moods(0, 1)


class Shifted(SystemClock):
    """A clock that is wrong by some seconds."""

    def __init__(self, seconds: float) -> None:
        self._wrong = timedelta(seconds=seconds)

    def now(self) -> datetime:
        """The wrong time."""
        return super().now() + self._wrong


class Interrupted(Lanes):
    """Books, and keeps the first answers back until they are of no use."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.booked, self.go_on = threading.Event(), threading.Event()
        self.confirmed: set[str] = set()

    def book(self, *args: Any) -> dict[str, Any]:
        """Book, and answer when somebody has been killed meanwhile."""
        answer = super().book(*args)
        self.confirmed.add(answer["confirmation"])
        self.booked.set()
        self.go_on.wait(30)
        return answer


@contextmanager
def serving(
    rules: Rules,
    moods: Moods = CALM,
    clock: Clock = system_clock,
    limit: Limit | None = None,
    lanes: Lanes | None = None,
) -> Iterator[Server]:
    """A facility that answers in a thread."""
    books = lanes or Lanes(ACCOUNTS, rules)
    with Server(("127.0.0.1", 0), books, moods, clock, limit) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def facility(release: datetime | None, *options: str, port: int = 0) -> Iterator[str]:
    """A facility as a process, whose work is in nobody's way; gives its address."""
    command = [sys.executable, "-m", "smartworker.examples.swim.facility"]
    words = ["--release", release.isoformat() if release else "always"]
    words += ["--port", str(port), "--trouble", "0", "--registers", *options]
    with subprocess.Popen(
        [*command, *words], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def requests(address: str) -> list[dict[str, Any]]:
    """What the facility was sent, the oldest first."""
    answer = httpx.get(f"{address}/journal", trust_env=False).json()
    found: list[dict[str, Any]] = answer["requests"]
    return found


def bookings_after(
    journal: list[dict[str, Any]], release: datetime
) -> list[tuple[float, int]]:
    """Each booking request: seconds after the release, and its status."""
    return [
        (
            (datetime.fromisoformat(entry["time"]) - release).total_seconds(),
            int(entry["status"]),
        )
        for entry in journal
        if (entry["method"], entry["path"]) == ("POST", "/bookings")
    ]


def enroll(database: Database, count: int) -> None:
    """So many members who all want a lane at six."""
    wants = (Preference("Main", None, "06:00"), Preference("Main", None, "07:00"))
    for number in range(count):
        database.save(Member(f"member-{number}", "fast", wants))
