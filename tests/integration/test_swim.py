"""The swim task against the real facility server, over HTTP."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker

from smartworker.clock import SystemClock, system_clock
from smartworker.examples.swim.auto_book import book_all
from smartworker.examples.swim.booking import Member, Preference
from smartworker.examples.swim.client import Facility, FacilityError, SlotFull
from smartworker.examples.swim.database import SEEDS, Database
from smartworker.examples.swim.facility import Server, main
from smartworker.examples.swim.lanes import Lanes, Refusal, Rules
from smartworker.examples.swim.moods import Moods
from smartworker.examples.swim.release import next_day
from smartworker.examples.swim.tasks import auto_book
from smartworker.testing import ManualClock
from tests.swim import ACCOUNTS, serving

SUNDAY = date(2026, 11, 22)
ALICE = SEEDS[0]


class _Stopped(SystemClock):
    """A clock that stands, so that a date stays released or not."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now


AFTER = _Stopped(datetime(2026, 11, 22, 2, tzinfo=UTC))


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """An empty database, also for the task."""
    url = f"sqlite:///{tmp_path / 'swim.sqlite3'}"
    monkeypatch.setenv("DATABASE_URL", url)
    return Database.from_url(url)


@pytest.fixture
def app() -> Iterator[Celery]:
    """A stock Celery app that needs no server."""
    app = Celery(
        "swim",
        broker="memory://",
        backend="cache+memory://",
        include=["smartworker.examples.swim.tasks"],
    )
    app.conf.broker_transport_options = {"polling_interval": 0.02}
    app.set_current()
    yield app
    app.close()


def _quietly(*_report: object) -> None:
    """No progress is wanted."""


def _raising(error: Exception) -> Callable[..., Any]:
    def fail(*_args: object) -> None:
        raise error

    return fail


@contextmanager
def _visiting(
    address: str, patience: float = 5, timeout: float = 5
) -> Iterator[Facility]:
    """A client that gives up after some seconds, and closes its connection."""
    until = system_clock.monotonic() + patience
    with closing(Facility(address, deadline=until, timeout=timeout)) as facility:
        yield facility


def test_the_task_books_for_every_member(
    app: Celery, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result has the form that callers read, and the lanes are really taken."""
    with serving(Rules(release=None)) as server:
        monkeypatch.setenv("SWIM_FACILITY_URL", server.url)
        done = auto_book.apply()
        day = next_day(system_clock.now())
        taken = server.lanes.bookings(day)
    assert done.state == "SUCCESS"
    result = done.result
    assert set(result) == {"status", "message", "results", "summary"}
    assert result["status"] == "SUCCESS"
    assert result["message"] == "Auto-booking process completed: 2 successful, 0 failed"
    assert result["summary"] == {"total_processed": 2, "successful": 2, "failed": 0}
    assert {entry["member"] for entry in result["results"]} == set(ACCOUNTS)
    assert sorted(taken) == sorted(
        (entry["member"], entry["slot"]) for entry in result["results"]
    )
    assert json.loads(json.dumps(result)) == result


@pytest.mark.slow  # Celery takes 4 s to stop a worker that runs in a thread
def test_the_task_runs_in_a_stock_worker(
    app: Celery, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No smartworker is needed to run it."""
    with serving(Rules(release=None)) as server:
        monkeypatch.setenv("SWIM_FACILITY_URL", server.url)
        app.loader.import_default_modules()
        with start_worker(app, perform_ping_check=False):
            sent = app.send_task("swim.auto_book")
            result = sent.get(timeout=20, interval=0.02)
    assert result["summary"]["successful"] == 2


def test_a_second_run_books_nothing_twice(database: Database) -> None:
    """A repeated trigger finds the bookings that are there."""
    with serving(Rules(release=None), clock=AFTER) as server:
        first = book_all(database, server.url, SUNDAY, _quietly)
        second = book_all(database, server.url, SUNDAY, _quietly)
        assert len(server.lanes.bookings(SUNDAY)) == 2
    assert [entry["slot"] for entry in first["results"]] == [
        entry["slot"] for entry in second["results"]
    ]


def test_a_lost_database_row_books_nothing_twice(
    database: Database, tmp_path: Path
) -> None:
    """A run that died before it stored the booking gets the same one again."""
    with serving(Rules(release=None), clock=AFTER) as server:
        first = book_all(database, server.url, SUNDAY, _quietly)
        fresh = Database(tmp_path / "fresh.sqlite3")
        second = book_all(fresh, server.url, SUNDAY, _quietly)
        assert len(server.lanes.bookings(SUNDAY)) == 2
    for before, again in zip(first["results"], second["results"], strict=True):
        assert before["confirmation"] == again["confirmation"]


@pytest.mark.parametrize("seed", range(5))
def test_a_moody_facility_books_each_member_once(
    database: Database, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request in three is slow or fails, some after the work was done."""
    monkeypatch.setattr("smartworker.examples.swim.retrying.FIRST_PAUSE_SECONDS", 0)
    moods = Moods(0.33, seed, slow_seconds=0)
    with serving(Rules(release=None), moods, AFTER) as server:
        result = book_all(database, server.url, SUNDAY, _quietly)
        assert result["summary"]["successful"] == 2
        assert len(server.lanes.bookings(SUNDAY)) == 2


def test_a_release_that_is_far_ahead_is_not_waited_for(database: Database) -> None:
    """An hour early each member gets the time to come back, and nobody waits."""
    noon = _Stopped(datetime(2026, 11, 21, 17, tzinfo=UTC))
    with serving(Rules(release=time(21)), clock=noon) as server:
        early = book_all(database, server.url, SUNDAY, _quietly, clock=noon)
    assert early["status"] == "SUCCESS"
    assert early["summary"] == {"total_processed": 2, "successful": 0, "failed": 2}
    assert "2026-11-21T21:00:00-05:00" in early["results"][0]["reason"]
    with serving(Rules(release=time(21)), clock=AFTER) as server:
        late = book_all(database, server.url, SUNDAY, _quietly, clock=AFTER)
    assert late["summary"]["successful"] == 2


def test_a_full_lane_sends_a_member_to_the_next_wish(database: Database) -> None:
    """A slot that fills between the list and the booking is no end."""
    with serving(Rules(release=None, capacity=1), clock=AFTER) as server:
        with _visiting(server.url) as rival, _visiting(server.url) as late:
            rival.log_in("ben", ACCOUNTS["ben"])
            seen = rival.slots(SUNDAY)
            wanted = next(slot for slot in seen if slot.id == "main-4-06:00")
            rival.book(wanted, SUNDAY, "rival")
            late.log_in("alice", ACCOUNTS["alice"])
            with pytest.raises(SlotFull):
                late.book(wanted, SUNDAY, "late")
        result = book_all(database, server.url, SUNDAY, _quietly)
    assert result["results"][0]["slot"].endswith("07:00")


def test_a_member_that_every_wish_fails(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full at the last moment, or never offered: a reason, and the others go on."""
    with serving(Rules(release=None), clock=AFTER) as server:
        with monkeypatch.context() as patch:
            patch.setattr(Lanes, "book", _raising(Refusal(409, "full", "Full.")))
            result = book_all(database, server.url, SUNDAY, _quietly)
        assert result["summary"]["failed"] == 2
        assert result["results"][0]["reason"] == "No slot that suits is free."
        monkeypatch.setattr(Lanes, "slots", lambda *_args: {"lanes": []})
        result = book_all(database, server.url, SUNDAY, _quietly)
    assert "lacks" in result["results"][0]["reason"]


def test_a_wrong_password_fails_for_that_member_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are booked."""
    members = [Member("eve", "guess", (Preference("Main", 1, "06:00"),)), ALICE]
    monkeypatch.setattr(Database, "members", lambda _self: members)
    with serving(Rules(release=None), clock=AFTER) as server:
        result = book_all(database, server.url, SUNDAY, _quietly)
    assert [entry["status"] for entry in result["results"]] == ["failed", "successful"]
    assert result["results"][0]["reason"] == "User or password is wrong."


def test_without_an_address_the_task_says_which_variable(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clear failure, not a connection error."""
    monkeypatch.delenv("SWIM_FACILITY_URL", raising=False)
    done = auto_book.apply()
    assert done.state == "FAILURE"
    assert "SWIM_FACILITY_URL" in str(done.result)


def test_a_facility_that_is_away_is_a_reason() -> None:
    """When its time is over the client gives up with a sentence."""
    with serving(Rules()) as server:
        address = server.url
    with (
        _visiting(address, patience=0.3) as client,
        pytest.raises(FacilityError, match=r"failed \d times.*Refused"),
    ):
        client.log_in("alice", "x")


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        pytest.param("12:00:00", "12:00:10", id="noon"),
        pytest.param("20:55:00", "21:02:00", id="evening"),
        pytest.param("21:10:00", "21:12:00", id="late"),
    ],
)
def test_a_facility_that_is_away_is_waited_for_in_the_evening(
    database: Database, begin: str, end: str
) -> None:
    """Until two minutes after the release; at another hour for ten seconds."""
    with serving(Rules()) as server:
        address = server.url
    first, last = (
        datetime.fromisoformat(f"2026-11-21T{each}-05:00") for each in (begin, end)
    )
    clock = ManualClock(first)
    result = book_all(database, address, SUNDAY, _quietly, clock=clock)
    assert result["summary"]["failed"] == 2
    assert "Refused" in result["results"][0]["reason"]
    assert last - timedelta(seconds=6) <= clock.now() < last


def test_a_silent_facility_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never answers costs the timeout, not the task."""
    moods = Moods(1, 1, slow_seconds=0.5)
    monkeypatch.setattr(moods, "next", lambda: "slow")
    with (
        serving(Rules(), moods) as server,
        _visiting(server.url, patience=0.3, timeout=0.1) as client,
        pytest.raises(FacilityError, match=r"failed \d times.*timed out"),
    ):
        client.log_in("alice", ACCOUNTS["alice"])


@pytest.mark.parametrize("address", ["", "ftp://x", "http://", "facility"])
def test_an_address_that_cannot_work_is_a_sentence(address: str) -> None:
    """A misspelled SWIM_FACILITY_URL is named as what it is."""
    with pytest.raises(FacilityError, match="address"):
        Facility(address)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/login", b"{broken", 400),
        ("/login", b"[]", 400),
        ("/login", b'{"user": "a"}', 400),
        ("/login", b'{"user": "a", "password": "b"}', 401),
        ("/bookings", b"{}", 401),
        ("/nothing", b"", 404),
        ("/login", b"x" * 5000, 400),
    ],
)
def test_the_facility_answers_nonsense_calmly(
    path: str, body: bytes, status: int
) -> None:
    """No request makes it fail."""
    with serving(Rules()) as server:
        response = httpx.post(server.url + path, content=body, trust_env=False)
    assert response.status_code == status
    assert response.json()["message"]


def test_the_moods_of_a_seed_are_repeatable() -> None:
    """The same seed gives the same day."""
    days = [[Moods(0.5, 7).next() for _ in range(3)] for _ in range(2)]
    assert days[0] == days[1]
    calm = Moods(0, 7)
    assert {calm.next() for _ in range(50)} == {None}


def test_the_facility_prints_its_address(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Port 0 takes a free one, and the first line says which; Ctrl-C ends it."""

    def interrupt(_self: Any) -> None:
        raise KeyboardInterrupt

    served: Callable[..., None] = interrupt
    monkeypatch.setattr(Server, "serve_forever", served)
    main(["--port", "0", "--release", "always"])
    host, port = capsys.readouterr().out.strip().rsplit(":", 1)
    assert host == "http://127.0.0.1"
    assert int(port) > 0
