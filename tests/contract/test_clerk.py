"""The clerk on a real server: when it writes, what it adopts, and what it survives."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from smartworker import rows
from smartworker.rows import Row
from smartworker.store import processes
from smartworker.store.account import Runs
from smartworker.store.client import ConnectionError, connect
from smartworker.store.meter import Ledger, ledger
from smartworker.testing import ManualClock, commandstats
from smartworker.worker import clerk as module
from smartworker.worker.clerk import Clerk
from tests.processes import wait_until

NOW = datetime(2026, 11, 14, 12, 0, tzinfo=UTC)


def said(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """What was logged."""
    return [cast("dict[str, Any]", record.msg) for record in caplog.records]


class Rig:
    """A clerk whose thread is the test, with a ledger and a clock of its own."""

    def __init__(self, url: str, now: datetime = NOW) -> None:
        self.client = connect(url)
        self.client.ping()
        self.clock = ManualClock(now)
        self.book = Ledger()
        self.facts: dict[str, Any] = {}
        self.runs: Runs = Counter()
        self.away = False
        self.opened = 0
        self.clerk = self.another()

    def another(self, kind: str = "worker") -> Clerk:
        """A clerk for one more start."""
        made = Clerk(
            None,
            kind,
            "celery@test",
            lambda: self.facts,
            lambda: self.runs,
            clock=self.clock,
            open_=self._open,
            book=self.book,
        )
        made.attend()
        # The test takes its turns by itself.
        self.book.unwatch(made.wake)
        made.wake = lambda: None  # type: ignore[method-assign]
        return made

    def _open(self, _app: Any) -> Any:
        self.opened += 1
        if self.away:
            raise ConnectionError("nobody is there")
        return SimpleNamespace(client=self.client, prefix="", close=lambda: None)

    def spend(self, commands: int, name: str = "exists") -> None:
        """Book commands of this process."""
        self.book.merge({("poll", name): commands})

    def rows(self) -> list[Row]:
        """What stands in the hash."""
        return processes.read(self.client)

    def cost(self) -> dict[str, int]:
        """What the server has counted since the last question."""
        found = commandstats(self.client)
        self.client.config_resetstat()
        return {n: c for n, c in found.items() if n in ("hset", "hgetall", "eval")}


@pytest.fixture
def rig(redis_url: str) -> Iterator[Rig]:
    """A clerk on an empty server."""
    made = Rig(redis_url)
    ledger.drain()
    yield made
    made.client.close()


def test_nothing_is_written_for_nothing(rig: Rig) -> None:
    """A web process that is idle costs nothing, not even at its end."""
    assert rig.clerk.turn() == module.WATCH
    rig.spend(module.MOST_FRESH - 1)
    rig.clerk.turn()
    assert rig.cost() == {}
    assert rig.opened == 0


def test_ninety_commands_are_worth_a_row(rig: Rig) -> None:
    """A process that is killed takes fewer than 100 commands with it."""
    rig.spend(module.MOST_FRESH)
    rig.clerk.turn()
    rig.clerk.turn()
    assert rig.cost() == {"hset": 1}
    (row,) = rig.rows()
    assert row.commands == {"poll": 90}
    assert (row.kind, row.name, row.month) == ("worker", "celery@test", "2026-11")
    assert row.written == "2026-11-14T12:00:00.000+00:00"


def test_what_is_not_billed_is_no_reason(rig: Rig) -> None:
    """PING costs nothing, and neither stands in the row nor causes one."""
    rig.spend(500, "ping")
    rig.clerk.turn()
    assert rig.cost() == {}
    rig.clerk.edge()
    rig.clerk.turn()
    assert rig.rows()[0].commands == {}


def test_an_edge_reads_and_writes(rig: Rig) -> None:
    """At the start and at window edges: one HGETALL, one HSET."""
    rig.clerk.edge()
    rig.clerk.turn()
    assert rig.cost() == {"hgetall": 1, "hset": 1}


def test_the_sums_of_others_are_adopted(rig: Rig) -> None:
    """A restart goes on where the last process ended."""
    rig.spend(95)
    rig.clerk.edge()
    rig.clerk.turn()
    second = rig.another()
    assert second.month_total() == 0
    second.edge()
    second.turn()
    assert second.month_total() == 95
    rig.spend(5)
    assert second.month_total() == 100


def test_the_last_row_says_that_it_has_stopped(rig: Rig) -> None:
    """At a clean stop one HSET, with everything that was spent."""
    rig.clerk.edge()
    rig.clerk.turn()
    rig.facts = {"window": "20:00-23:00"}
    rig.spend(7)
    rig.cost()
    rig.clerk.close()
    assert rig.cost() == {"hset": 1}
    (row,) = rig.rows()
    assert (row.stopped, row.window, row.commands) == (True, None, {"poll": 7})


def test_who_looks_sees_changes_within_seconds(rig: Rig) -> None:
    """At once, then after changes at most each 5 s, and for a minute."""
    rig.clerk.look()
    assert rig.clerk.turn() == module.LOOK_TICK
    assert rig.cost() == {"hset": 1}
    for _ in range(10):
        rig.clock.advance(1)
        rig.clerk.turn()
    assert rig.cost() == {}, "nothing has changed"
    for second in range(10):
        rig.facts = {"held": second}
        rig.clock.advance(1)
        rig.clerk.turn()
    assert rig.cost() == {"hset": 2}
    rig.clock.advance(41)
    rig.facts = {"held": 99}
    assert rig.clerk.turn() == module.WATCH
    assert rig.cost() == {}, "nobody looks any more"


def test_what_looking_costs_is_no_change(rig: Rig) -> None:
    """Or each row would be the reason for the next one."""
    rig.clerk.look()
    rig.clerk.turn()
    rig.spend(1)
    rig.clock.advance(10)
    rig.clerk.turn()
    assert rig.cost() == {"hset": 1}


def test_a_server_that_is_away_is_said_once(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """Tried again with pauses; what was spent meanwhile is written at last."""
    caplog.set_level(logging.INFO)
    rig.away = True
    rig.spend(90)
    pauses = []
    for _ in range(6):
        pauses.append(rig.clerk.turn())
        rig.clock.advance(pauses[-1])
        rig.spend(10)
    assert pauses == sorted(pauses)
    assert pauses[0] <= module.FIRST_PAUSE
    lines = [line for line in said(caplog) if line["event"] == "row_not_written"]
    assert len(lines) == 1
    assert "nobody is there" in lines[0]["error"]
    rig.away = False
    rig.clerk.turn()
    (row,) = rig.rows()
    assert row.commands == {"poll": 150}


def test_between_two_tries_nobody_is_asked(rig: Rig) -> None:
    """Each command wakes the clerk while it rests; that costs nothing."""
    rig.away = True
    rig.spend(90)
    rig.clerk.turn()
    opened = rig.opened
    for _ in range(50):
        rig.spend(1)
        rig.clerk.turn()
    assert rig.opened == opened


def test_whatever_goes_wrong_ends_no_thread(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker does without its row."""
    rig.facts = {"no such field": 1}
    rig.spend(90)
    assert rig.clerk.turn() <= module.FIRST_PAUSE
    assert [line["event"] for line in said(caplog)] == ["row_not_written"]


def test_the_month_ends_at_midnight_utc(rig: Rig) -> None:
    """The new month begins at nothing; the old one's total is kept."""
    rig.spend(40)
    rig.runs = Counter({("job", "succeeded"): 3})
    rig.clock.advance(timedelta(days=16, hours=11, minutes=59).total_seconds())
    rig.clerk.turn()
    rig.clock.advance(60)
    rig.clerk.turn()
    rig.spend(2)
    rig.runs = Counter({("job", "succeeded"): 4})
    rig.clerk.edge()
    rig.clerk.turn()
    (row,) = rig.rows()
    assert row.month == "2026-12"
    assert row.commands == {"poll": 2}
    assert row.runs == {"job": {"succeeded": 1}}
    assert row.before == {"2026-11": 40}
    rig.clock.advance(timedelta(days=31).total_seconds())
    rig.clerk.edge()
    rig.clerk.turn()
    assert rig.rows()[0].before == {"2026-12": 2}


def test_who_was_taken_for_dead_is_not_counted_twice(rig: Rig) -> None:
    """A machine slept for days, and its row was folded: it begins another one."""
    rig.spend(95)
    rig.clerk.edge()
    rig.clerk.turn()
    first = rig.clerk.id
    for n in range(processes.MOST_GONE):
        gone = rig.rows()[0]
        processes.write(rig.client, replace(gone, id=f"p{n}", stopped=True))
    rig.clock.advance(timedelta(days=3).total_seconds())
    assert processes.fold_gone(rig.client, rig.clock.now()) == 21
    rig.spend(3)
    rig.clerk.edge()
    rig.clerk.turn()
    mine = [row for row in rig.rows() if not row.is_folded]
    assert [row.commands for row in mine] == [{"poll": 3}]
    assert mine[0].id != first
    assert rows.spent(rig.rows(), "2026-11") == {"poll": 21 * 95 + 3}


@pytest.mark.parametrize("how", ["look", "close", "ninety"])
def test_who_wakes_up_after_days_reads_before_it_writes(rig: Rig, how: str) -> None:
    """Its row may have been folded: the old one must not come back beside the sum."""
    rig.clerk = web = rig.another("web")
    rig.spend(95)
    web.turn()
    gone = rig.rows()[0]
    for n in range(processes.MOST_GONE):
        processes.write(rig.client, replace(gone, id=f"p{n}", stopped=True))
    rig.clock.advance(timedelta(days=3).total_seconds())
    assert processes.fold_gone(rig.client, rig.clock.now()) == 21
    more = 90 if how == "ninety" else 5
    rig.spend(more)
    if how == "look":
        web.look()
    if how == "close":
        web.close()
    else:
        web.turn()
    assert rows.spent(rig.rows(), "2026-11") == {"poll": 21 * 95 + more}


def test_nobody_folds_its_own_row(rig: Rig) -> None:
    """It has been silent for days, and is the first to look at the many that went."""
    rig.spend(95)
    rig.clerk.edge()
    rig.clerk.turn()
    gone = rig.rows()[0]
    for n in range(processes.MOST_GONE + 1):
        processes.write(rig.client, replace(gone, id=f"p{n}", stopped=True))
    rig.clock.advance(timedelta(days=3).total_seconds())
    rig.clerk.edge()
    rig.clerk.turn()
    assert {row.id for row in rig.rows()} == {"folded-worker", rig.clerk.id}
    assert rows.spent(rig.rows(), "2026-11") == {"poll": 22 * 95}


def test_a_worker_that_is_idle_for_days_is_not_taken_for_dead(rig: Rig) -> None:
    """Without windows 90 polls may take a week: it writes once a day."""
    rig.clerk.edge()
    rig.clerk.turn()
    rig.cost()
    for _ in range(24 * 4):
        rig.clock.advance(3601)
        rig.clerk.turn()
        assert not rig.clerk.row().is_gone(rig.clock.now())
        assert not rig.rows()[0].is_gone(rig.clock.now())
    assert rig.cost()["hset"] == 4


def test_a_web_process_that_is_idle_for_days_writes_nothing(rig: Rig) -> None:
    """Nobody has to know of it."""
    rig.clerk = web = rig.another("web")
    rig.spend(90)
    web.turn()
    rig.cost()
    for _ in range(4):
        rig.clock.advance(timedelta(days=1, seconds=1).total_seconds())
        web.turn()
    assert rig.cost() == {}


def test_what_was_told_is_of_its_month(rig: Rig) -> None:
    """The first row of a month, an edge, must not keep everybody quiet in it."""
    rig.clerk.edge()
    rig.clerk.turn()
    rig.clerk.tell(100)
    rig.clerk.turn()
    assert rig.rows()[0].told == 100
    second = rig.another()
    second.edge()
    second.turn()
    assert second.told == 100
    rig.clock.advance(timedelta(days=17).total_seconds())
    rig.clerk.edge()
    rig.clerk.turn()
    assert rig.clerk.told == 0
    assert sorted(row.told for row in rig.rows()) == [0, 100]
    second.edge()
    second.turn()
    assert second.told == 0


def test_a_read_that_fails_is_made_up_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the sums of others would be unknown until the next edge."""
    rig.spend(95)
    rig.clerk.edge()
    rig.clerk.turn()
    second = rig.another()
    with monkeypatch.context() as patched:
        patched.setattr(processes, "fold_gone", _refuse)
        second.edge()
        rig.clock.advance(second.turn())
    second.turn()
    assert second.month_total() == 95


def _refuse(*_: Any) -> int:
    raise ConnectionError("no script today")


def test_a_poll_told_by_another_clock_is_no_change(rig: Rig) -> None:
    """The same moment, a thousandth later: no reason to write for who looks."""
    rig.facts = {"last_poll": "2026-11-14T11:59:30.120+00:00"}
    rig.clerk.look()
    rig.clerk.turn()
    rig.cost()
    rig.facts = {"last_poll": "2026-11-14T11:59:30.121+00:00"}
    rig.clock.advance(6)
    rig.clerk.turn()
    assert rig.cost() == {}


def test_a_hash_that_was_lost_is_written_again(rig: Rig) -> None:
    """Somebody emptied the server: this process still knows its own sum."""
    rig.spend(95)
    rig.clerk.edge()
    rig.clerk.turn()
    rig.client.flushall()
    rig.clerk.edge()
    rig.clerk.turn()
    (row,) = rig.rows()
    assert row.commands == {"poll": 95}


def test_the_boot_folds_what_is_gone(rig: Rig) -> None:
    """The rows of 21 earlier starts become one, and their sum is adopted."""
    rig.spend(90)
    rig.clerk.turn()
    (pattern,) = rig.rows()
    rig.client.flushall()
    for n in range(21):
        processes.write(rig.client, replace(pattern, id=f"p{n}", stopped=True))
    second = rig.another()
    second.edge()
    second.turn()
    assert {row.id for row in rig.rows()} == {"folded-worker", second.id}
    assert second.month_total() == 21 * 90


def test_the_thread_writes_by_itself(redis_url: str) -> None:
    """With a real thread: the ninetieth command wakes it."""
    rig = Rig(redis_url)
    book = Ledger()
    clerk = Clerk(None, "web", "web@test", open_=rig._open, book=book)
    clerk.attend()
    for _ in range(module.MOST_FRESH):
        assert rig.rows() == []
        book.book(["exists"])
    wait_until(rig.rows)
    (row,) = rig.rows()
    assert (row.kind, row.stopped, row.billed) == ("web", False, module.MOST_FRESH)
    clerk.close()
    (row,) = rig.rows()
    assert row.stopped
    rig.client.close()
