"""Records that cannot be written wait for the next one, and nobody waits for them."""

import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery

import smartworker
from smartworker import logs
from smartworker.logs import Redactor
from smartworker.settings import Settings
from smartworker.store.database import DatabaseAway
from smartworker.store.history import RedisHistory
from smartworker.store.runs import RunRecord
from smartworker.testing import ManualClock
from smartworker.worker import scribe as module
from smartworker.worker.scribe import SILENCE, TRIES, WAITING, Scribe, scribe_of

Lines = Callable[[], list[dict[str, Any]]]

REFUSED = redis.ConnectionError("Connection refused by redis://u:url-pass@host")


def record(number: int) -> RunRecord:
    """The run of a job."""
    return RunRecord("book", "slot", f"id-{number}", "http", "SUCCESS", "now")


class Place:
    """A history that fails as told, after as many seconds as told."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.kept: list[str] = []
        self.tries = 0
        self.errors: list[Exception | None] = []
        self.error: Exception | None = None
        self.seconds = 0.0

    def add(self, record: RunRecord) -> None:
        """Keep it, or raise the next error."""
        self.tries += 1
        self.clock.advance(self.seconds)
        error = self.errors.pop(0) if self.errors else self.error
        if error is not None:
            raise error
        self.kept.append(record.task_id)

    def last(self, job: str, count: int) -> list[RunRecord]:
        """Nobody asks."""
        raise NotImplementedError


@pytest.fixture
def clock() -> ManualClock:
    """Time that stands still."""
    return ManualClock()


@pytest.fixture
def place(clock: ManualClock) -> Place:
    """Where the history is kept."""
    return Place(clock)


@pytest.fixture
def scribe(place: Place, clock: ManualClock) -> Scribe:
    """Writes there."""
    return Scribe(place, Redactor(["top-secret"]), clock)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Everything that was logged, one object for each line."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    root = logging.getLogger()
    kept = root.handlers[:], root.level
    logs.configure()
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], root.level = kept
    logging.captureWarnings(False)


def ids(*numbers: int) -> list[str]:
    """The ids of these records."""
    return [f"id-{number}" for number in numbers]


def test_a_record_is_written_at_once(scribe: Scribe, place: Place) -> None:
    """One try, nothing waits."""
    scribe.write(record(1))
    scribe.flush()
    assert (place.kept, place.tries) == (ids(1), 1)


def test_a_dead_connection_is_tried_once_more(scribe: Scribe, place: Place) -> None:
    """The server had hung up long since; nobody need know."""
    place.errors = [REFUSED]
    scribe.write(record(1))
    assert (place.kept, place.tries) == (ids(1), 2)


@pytest.mark.parametrize(
    "error",
    [
        REFUSED,
        redis.TimeoutError("slow"),
        redis.OutOfMemoryError("OOM command not allowed"),
        DatabaseAway("x"),
    ],
)
def test_what_cannot_be_written_goes_with_the_next(
    scribe: Scribe, place: Place, error: Exception
) -> None:
    """In order, and once."""
    place.error = error
    scribe.write(record(1))
    scribe.write(record(2))
    assert place.kept == []
    place.error = None
    scribe.write(record(3))
    scribe.write(record(4))
    assert place.kept == ids(1, 2, 3, 4)


def test_it_is_said_once_per_outage(scribe: Scribe, place: Place, lines: Lines) -> None:
    """And without secrets."""
    place.error = redis.ConnectionError(f"{REFUSED} top-secret")
    for number in range(5):
        scribe.write(record(number))
    (line,) = lines()
    assert (line["event"], line["waiting"]) == ("history_not_written", 1)
    assert line["error"] == "Connection refused by redis://u:***@host ***"
    place.error = None
    scribe.write(record(6))
    assert len(lines()) == 1
    place.error = REFUSED
    scribe.write(record(7))
    assert len(lines()) == 2


def test_a_silent_server_holds_up_one_run(
    scribe: Scribe, place: Place, clock: ManualClock
) -> None:
    """The next ones do not ask, for a while."""
    place.error, place.seconds = redis.TimeoutError("slow"), 5.0
    begun = clock.monotonic()
    for number in range(5):
        scribe.write(record(number))
    scribe.flush()
    assert (place.tries, clock.monotonic() - begun) == (1, 5.0)
    place.error = None
    clock.advance(SILENCE)
    scribe.write(record(5))
    assert place.kept == ids(0, 1, 2, 3, 4, 5)


def test_only_so_many_wait(scribe: Scribe, place: Place) -> None:
    """The oldest are given up."""
    place.error = REFUSED
    for number in range(WAITING + 5):
        scribe.write(record(number))
    place.error = None
    scribe.flush()
    assert place.kept == ids(*range(5, WAITING + 5))


def test_a_record_that_is_refused_does_not_block_the_others(
    scribe: Scribe, place: Place
) -> None:
    """Redis says no once; from a database it may be meant as not now."""
    place.errors = [redis.ResponseError("WRONGTYPE Operation"), None]
    scribe.write(record(1))
    scribe.write(record(2))
    place.errors = [DatabaseAway("no")] * TRIES
    for number in range(TRIES):
        scribe.write(record(3 + number))
    assert place.kept == ids(2, *range(4, 3 + TRIES))


def test_an_error_of_our_own_is_not_hidden(scribe: Scribe, place: Place) -> None:
    """Only what a server says is waited for."""
    place.error = RuntimeError("ours")
    with pytest.raises(RuntimeError, match="ours"):
        scribe.write(record(1))


def test_each_process_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child does not use its parent's sockets, and flushes its own records alone."""
    app = smartworker.setup(Celery("s", set_as_current=False), Settings())
    here = scribe_of(app)
    assert scribe_of(app) is here
    assert isinstance(here._history, RedisHistory)
    flushed: list[Scribe] = []
    monkeypatch.setattr(Scribe, "flush", lambda self: flushed.append(self))
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    child = scribe_of(app)
    assert child is not here
    module.flush()
    assert child in flushed
    assert here not in flushed
