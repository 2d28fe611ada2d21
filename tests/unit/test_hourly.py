"""The line of each hour: when it comes, and what it counts."""

import logging
from collections import Counter
from datetime import UTC, datetime

import pytest

from smartworker.testing import ManualClock
from smartworker.worker.hourly import Account, Report

BEGIN = datetime(2026, 11, 24, 17, 20, tzinfo=UTC)
BOOT = {("boot", "sadd"): 2, ("boot", "ping"): 3, ("poll", "exists"): 1}
HOUR = {("boot", "sadd"): 2, ("boot", "ping"): 3, ("poll", "exists"): 3}


@pytest.fixture
def clock():
    """A clock that begins in the middle of an hour."""
    return ManualClock(BEGIN)


def test_it_is_due_when_the_hour_is_full(clock):
    """Nothing before; then what was billed since the start, by cause."""
    counts = Counter(BOOT)
    account = Account(lambda: counts, clock)
    clock.advance(39 * 60)
    assert account.due() is None
    assert account.next_hour() == datetime(2026, 11, 24, 18, tzinfo=UTC)
    clock.advance(60)
    sent = account.due()
    assert sent is not None
    assert sent.since == "2026-11-24T17:20:00.000+00:00"
    assert sent.commands == {"boot": 2, "poll": 1}
    assert (sent.polls, sent.billed) == (1, 3)
    assert account.due() is None


def test_each_line_goes_on_where_the_last_one_ended(clock):
    """Only what is new is counted, and an hour without commands is a line too."""
    counts = Counter(BOOT)
    account = Account(lambda: counts, clock)
    account.take()
    clock.advance(3600)
    counts.update(Counter(HOUR) - Counter(BOOT))
    sent = account.due()
    assert sent is not None
    assert (sent.since, sent.commands) == ("2026-11-24T17:20:00.000+00:00", {"poll": 2})
    clock.advance(3600)
    sent = account.due()
    assert sent is not None
    assert (sent.commands, sent.billed) == ({}, 0)


def test_the_worker_says_it(clock, caplog):
    """One event an hour with all its fields, and one when it is asked to."""
    caplog.set_level(logging.INFO)
    report = Report("celery@one", Account(lambda: Counter(BOOT), clock))
    clock.advance(3600)
    assert report.look() == datetime(2026, 11, 24, 19, tzinfo=UTC)
    assert report.look() == datetime(2026, 11, 24, 19, tzinfo=UTC)
    report.say()
    first, last = (record.msg for record in caplog.records)
    assert first["event"] == last["event"] == "worker_report"
    assert first["worker"] == "celery@one"
    assert first["commands"] == {"boot": 2, "poll": 1}
    assert (first["polls"], first["billed"]) == (1, 3)
    assert last["billed"] == 0
