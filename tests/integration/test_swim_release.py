"""The evening of a release: real servers, real processes, the wall clock."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from smartworker.clock import system_clock
from smartworker.examples.swim import attempt, auto_book
from smartworker.examples.swim import release as release_module
from smartworker.examples.swim.auto_book import book_all
from smartworker.examples.swim.client import Facility, FacilityError
from smartworker.examples.swim.database import Database
from smartworker.examples.swim.facility import Handler
from smartworker.examples.swim.lanes import Lanes, Rules
from smartworker.examples.swim.moods import Limit, Moods
from smartworker.examples.swim.release import next_day
from smartworker.testing import ManualClock
from tests.swim import (
    ACCOUNTS,
    Interrupted,
    Shifted,
    bookings_after,
    enroll,
    facility,
    requests,
    serving,
)

LATEST_SECONDS = 0.05


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """An empty database."""
    return Database(tmp_path / "swim.sqlite3")


def soon(seconds: float) -> datetime:
    """A moment shortly ahead."""
    return system_clock.now() + timedelta(seconds=seconds)


def quietly(*_report: object) -> None:
    """No progress is wanted."""


def book(database: Database, address: str, release: datetime) -> dict[str, Any]:
    """Tomorrow's round."""
    return book_all(database, address, next_day(release), quietly)


def test_requests_leave_within_50_milliseconds(database: Database) -> None:
    """Twelve members: none a moment too early, all in time, one request each."""
    enroll(database, 10)
    release = soon(1.5)
    with facility(release, "--capacity", "12") as address:
        result = book(database, address, release)
        journal = requests(address)
    sent = bookings_after(journal, release)
    assert result["summary"]["successful"] == 12
    assert [status for _, status in sent] == [201] * 12
    assert min(after for after, _ in sent) >= 0
    assert max(after for after, _ in sent) < LATEST_SECONDS, sent
    logged_in = [entry for entry in journal if entry["path"] == "/login"]
    assert max(entry["time"] for entry in logged_in) < release.isoformat()
    assert "after the release" in result["results"][0]["reason"]


@pytest.mark.parametrize("wrong", [-0.3, 0.3])
def test_a_facility_clock_that_differs(database: Database, wrong: float) -> None:
    """One that is behind says "not yet": it is asked again at once until it opens."""
    release = soon(0.7)
    with serving(Rules(release), clock=Shifted(wrong)) as server:
        result = book(database, server.url, release)
        by_our_clock = release - timedelta(seconds=wrong)
        sent = bookings_after(list(server.journal), release)
    assert result["summary"]["successful"] == 2
    refused = [after for after, status in sent if status == 409]
    assert bool(refused) == (wrong < 0)
    # The journal has the facility's own times.
    assert max(after for after, status in sent if status == 201) < abs(wrong) + 0.2
    assert system_clock.now() < by_our_clock + timedelta(seconds=2)


def test_an_expired_log_in_is_renewed(database: Database) -> None:
    """A facility that forgets all sessions while we wait costs nobody the lane."""
    release = soon(0.8)
    with serving(Rules(release)) as server:
        forget = threading.Timer(0.4, server.lanes.log_out_all)
        forget.start()
        result = book(database, server.url, release)
        sent = bookings_after(list(server.journal), release)
    assert result["summary"]["successful"] == 2
    assert sorted(status for _, status in sent) == [201, 201, 401, 401]


def test_a_closed_connection_is_opened_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that hangs up while we wait is called again without a pause."""
    monkeypatch.setattr(Handler, "timeout", 0.2)
    release = soon(0.8)
    with serving(Rules(release)) as server:
        result = book(database, server.url, release)
        sent = bookings_after(list(server.journal), release)
    assert result["summary"]["successful"] == 2
    assert [status for _, status in sent] == [201, 201]
    assert max(after for after, _ in sent) < 0.1


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second stands for the last half minute before the release."""
    monkeypatch.setattr(release_module, "WARM_EACH", timedelta(seconds=0.1))
    monkeypatch.setattr(release_module, "WARM_TIMES", 10)
    monkeypatch.setattr(release_module, "LAST_WARM", timedelta(seconds=0.2))
    monkeypatch.setattr(attempt, "CALM_SECONDS", 0.1)


@pytest.mark.usefixtures("often")
def test_connections_are_kept_warm(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that closes silent ones gets the booking on the one of the log-in.

    An expired log-in is noticed and renewed ahead of the release.
    """
    monkeypatch.setattr(Handler, "timeout", 0.4)
    release = soon(1.1)
    with serving(Rules(release)) as server:
        forget = threading.Timer(0.5, server.lanes.log_out_all)
        forget.start()
        result = book(database, server.url, release)
        journal = list(server.journal)
    assert result["summary"]["successful"] == 2
    assert [status for _, status in bookings_after(journal, release)] == [201, 201]
    used = {entry["connection"] for entry in journal if entry["path"] != "/timetable"}
    assert len(used) == 2
    warm = [entry for entry in journal if entry["path"] == "/bookings"]
    assert len(warm) > 10
    assert [entry["status"] for entry in warm].count("401") == 2


@pytest.mark.usefixtures("often")
def test_a_call_that_hangs_ahead_of_the_release_is_given_up(database: Database) -> None:
    """Another connection is open in time."""
    release = soon(0.8)
    lanes = Hanging(ACCOUNTS, Rules(release))
    with serving(Rules(release), lanes=lanes) as server:
        try:
            result = book(database, server.url, release)
        finally:
            lanes.over.set()
        sent = bookings_after(list(server.journal), release)
    assert result["summary"]["successful"] == 2
    assert [status for _, status in sent] == [201, 201]
    assert max(after for after, _ in sent) < 0.1


class Hanging(Lanes):
    """Does not say what a member has booked."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.over = threading.Event()

    def of_user(self, *args: Any) -> dict[str, Any]:
        """Answer too late."""
        self.over.wait(20)
        return super().of_user(*args)


@pytest.mark.parametrize("seed", range(3))
def test_trouble_at_the_release(database: Database, seed: int) -> None:
    """Every second request is slow, fails, or loses its answer: still one lane each."""
    enroll(database, 6)
    release = soon(0.4)
    moods = Moods(0.5, seed, slow_seconds=0.05)
    with serving(Rules(release, 20, registers=True), moods) as server:
        result = book(database, server.url, release)
        taken = server.lanes.bookings(next_day(release))
    assert result["summary"]["successful"] == 8
    assert len({member for member, _ in taken}) == len(taken) == 8
    assert sorted(taken) == sorted((r["member"], r["slot"]) for r in result["results"])


def test_too_many_requests_are_repeated_when_allowed() -> None:
    """429 with Retry-After: that long is waited, and not a second longer."""
    clock = ManualClock()
    day = next_day(clock.now())
    with (
        serving(Rules(None), clock=clock, limit=Limit(1)) as server,
        closing(Facility(server.url, clock=clock)) as client,
    ):
        client.log_in("alice", ACCOUNTS["alice"])
        begun = clock.monotonic()
        slot = client.slots(day)[0]
        client.book(slot, day, "key")
        assert [entry["status"] for entry in server.journal][-3:] == [
            "200",
            "429",
            "201",
        ]
    assert clock.monotonic() - begun == pytest.approx(1)


def test_a_retry_never_outlives_the_window() -> None:
    """Who is told to come back later than that gives up at once, with a sentence."""
    clock = ManualClock()
    day = next_day(clock.now())
    limit = Limit(1)
    with (
        serving(Rules(None), clock=clock, limit=limit) as server,
        closing(
            Facility(server.url, clock=clock, deadline=clock.monotonic() + 0.5)
        ) as client,
    ):
        client.log_in("alice", ACCOUNTS["alice"])
        slot = client.slots(day)[0]
        with pytest.raises(FacilityError, match="no time for another"):
            client.book(slot, day, "key")
        assert len(server.journal) == 3


def test_an_answer_that_never_ends_is_cut_off(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then keeps no member busy beyond the end of the window."""
    monkeypatch.setattr(auto_book, "WINDOW", timedelta(seconds=0.3))
    monkeypatch.setattr(auto_book, "SLACK_SECONDS", 0.1)
    begun = system_clock.monotonic()
    with (
        serving(Rules(None)) as server,
        dripping(server.url) as address,
    ):
        result = book(database, address, system_clock.now())
    assert result["summary"]["failed"] == 2
    assert system_clock.monotonic() - begun < 2


def test_a_run_that_is_stopped_books_nothing_more(database: Database) -> None:
    """A time limit or a revoked task ends the wait, and no thread goes on."""

    def stop(_current: int, _total: int, message: str) -> None:
        if message.startswith("Waiting"):
            raise TimeoutError("The time limit is over.")

    before = threading.active_count()
    release = soon(0.6)
    with serving(Rules(release)) as server:
        begun = threading.active_count()
        with pytest.raises(TimeoutError):
            book_all(database, server.url, next_day(release), stop)
        assert system_clock.now() < release
        assert threading.active_count() <= begun + 2  # the facility's own
        system_clock.wait(threading.Event(), (release - system_clock.now()).seconds + 1)
        assert server.lanes.bookings(next_day(release)) == []
    assert threading.active_count() <= before


def test_two_runs_at_once_book_each_member_once(
    database: Database, tmp_path: Path
) -> None:
    """Two processes wait for the same release: each member has one lane."""
    enroll(database, 4)
    release = soon(2.5)
    with facility(release, "--capacity", "12") as address:
        runs = [run_in_process(tmp_path, address, release) for _ in range(2)]
        assert [run.wait(20) for run in runs] == [0, 0]
        sent = bookings_after(requests(address), release)
        known = {each.member: each.confirmation for each in database.bookings()}
        again = book(database, address, release)
    assert [status for _, status in sent] == [201] * 12
    assert max(after for after, _ in sent) < 0.5
    assert {r["member"]: r["confirmation"] for r in again["results"]} == known
    assert len(known) == 6


def test_a_run_that_was_killed_is_repeated_without_a_second_booking(
    database: Database, tmp_path: Path
) -> None:
    """kill -9 between the booking and its answer; the next run gets the same lane."""
    lanes = Interrupted(ACCOUNTS, Rules(None))
    release = system_clock.now()
    with serving(Rules(None), lanes=lanes) as server:
        run = run_in_process(tmp_path, server.url, release)
        assert lanes.booked.wait(20)
        os.kill(run.pid, signal.SIGKILL)
        run.wait(10)
        lanes.go_on.set()
        assert database.bookings() == []
        first = server.lanes.bookings(next_day(release))
        result = book(database, server.url, release)
        assert result["summary"]["successful"] == 2
        taken = server.lanes.bookings(next_day(release))
    assert first
    assert set(first) <= set(taken)
    assert sorted(member for member, _ in taken) == ["alice", "ben"]
    assert {each.confirmation for each in database.bookings()} == lanes.confirmed


def run_in_process(
    directory: Path, address: str, release: datetime
) -> "subprocess.Popen[bytes]":
    """A round on the test's database, in a process that may be killed."""
    code = (
        "import sys; from smartworker.examples.swim.tasks import auto_book; "
        "auto_book(sys.argv[1])"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, next_day(release).isoformat()],
        env={
            **os.environ,
            "SWIM_FACILITY_URL": address,
            "DATABASE_URL": f"sqlite:///{directory / 'swim.sqlite3'}",
        },
    )


@contextmanager
def dripping(address: str) -> Iterator[str]:
    """Passes the first request on; all others get an answer of endless length."""
    host, port = address.removeprefix("http://").split(":")
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def drip(visitor: socket.socket) -> None:
            head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
            with visitor:
                while not over.is_set():
                    try:
                        visitor.sendall(head or b" ")
                    except OSError:
                        return
                    head = b""
                    over.wait(0.03)

        def serve() -> None:
            started: list[threading.Thread] = []
            while not over.is_set():
                try:
                    visitor, _ = listener.accept()
                except TimeoutError:
                    continue
                visitor.setblocking(True)
                if started == []:
                    with visitor, socket.create_connection((host, int(port))) as other:
                        asked = visitor.recv(4096)
                        other.sendall(
                            asked.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
                        )
                        while part := other.recv(65536):
                            visitor.sendall(part)
                    started.append(threading.current_thread())
                    continue
                started.append(threading.Thread(target=drip, args=(visitor,)))
                started[-1].start()
            for thread in started[1:]:
                thread.join()

        serving_ = threading.Thread(target=serve)
        serving_.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            serving_.join()
