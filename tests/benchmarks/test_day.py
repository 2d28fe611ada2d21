"""What a day may cost, by rules and on a fast clock."""

import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.lab.dayrules import (
    Range,
    changes,
    compare,
    lease_cost,
    lease_range,
    looks,
    row_range,
    standing,
)
from benchmarks.lab.journal import TROUBLE, Journal
from benchmarks.lab.peers import PEERS
from benchmarks.measures import day
from smartworker.budget import simulate
from smartworker.events import EVENTS
from smartworker.policy import Policy
from tests.programs import fake_time_library, lacking

POLICY = Policy(day.SETTINGS.windows, day.SETTINGS.quiet_poll)
#: Noon in New York: quiet for eight hours.
NOON = datetime(2026, 11, 10, 17, tzinfo=UTC)


def at(*minutes: float) -> list[datetime]:
    """So many minutes after noon."""
    return [NOON + timedelta(minutes=minute) for minute in minutes]


@pytest.mark.parametrize(
    ("minutes", "writes"),
    [
        ((0,), [1]),
        ((0, 5), [1]),  # two thirds are left
        ((0, 8), [2]),  # less than half of 15 minutes
        ((0, 12), [2]),
        ((0, 13), [1, 1]),  # taken off after 12.5 minutes
        ((0, 8, 16, 24, 40), [4, 1]),
    ],
)
def test_a_lease_is_written_and_taken_off(minutes, writes):
    """Quiet hours: 15 minutes long."""
    assert [len(lease.writes) for lease in standing(POLICY, at(*minutes))] == writes


def test_leases_are_shorter_in_a_window():
    """Five minutes, of which half and five sixths decide."""
    begin = NOON + timedelta(hours=9)
    moments = [begin + timedelta(seconds=s) for s in (0, 140, 200, 600)]
    leases = [*standing(POLICY, moments)]
    assert [len(lease.writes) for lease in leases] == [2, 1]
    assert leases[0].end == moments[2] + timedelta(seconds=250)
    assert leases[1].end == moments[3] + timedelta(seconds=250)


def test_what_leases_cost():
    """Written and taken off, and the server's clock once an hour."""
    leases = [*standing(POLICY, at(0, 20, 40, 70))]
    assert len(leases) == 4
    assert lease_cost(leases) == Range(4 + 4 + 2 - 1, 4 + 4 + 2)
    assert lease_range(POLICY, at(0, 20, 40, 70)) == lease_cost(leases)
    assert lease_range(POLICY, []) == lease_cost([]) == Range(0, 0)
    # A third is used up, and not the half: renewed if the task is still held.
    assert lease_range(POLICY, at(0, 6)) == Range(2, 4)
    assert looks(POLICY, leases) == 4


def test_windows_open_and_close():
    """Twice in a day."""
    stretch = day.whole(day.LONG)
    assert stretch.end - stretch.begin == timedelta(hours=25)
    assert len(changes(POLICY, stretch.begin, stretch.end)) == 2


def test_the_row_is_as_planned():
    """Exactly where nothing comes at a moment of its own; else by the same rule."""
    stretch = day.whole(day.LONG)
    plan = simulate(POLICY, stretch.begin, stretch.end, running=True)
    assert plan.row == 8
    assert row_range(plan, POLICY, []) == Range(8, 8)
    busy = day.whole(day.LONG, 200)
    plan = simulate(POLICY, busy.begin, busy.end, tasks=200, running=True)
    found = row_range(plan, POLICY, busy.moments())
    assert found.excess(plan.row) == 0
    assert found.most - found.least <= 4


def test_moments_are_drawn_once():
    """200 different ones, the same each time, none by a threshold of a lease."""
    stretch = day.whole(day.LONG, 200)
    moments = stretch.moments()
    assert moments == stretch.moments() == sorted(set(moments))
    assert len(moments) == 200
    assert stretch.begin < moments[0] < moments[-1] < stretch.end
    gaps = [b - a for a in moments for b in moments if timedelta() < b - a]
    for seconds in (150, 250, 450, 750):
        near = min(abs(gap - timedelta(seconds=seconds)) for gap in gaps)
        assert near >= timedelta(seconds=10)


def test_agreement_is_exact():
    """One command more than allowed, or unknown, or unseen, and they do not agree."""
    stretch = day.whole(day.LONG)
    plan = simulate(POLICY, stretch.begin, stretch.end, running=True)
    ledger = {"poll": plan.polls + 1, "row": plan.row}
    server = {"exists": plan.polls + 1, "hset": 6, "hgetall": 2}
    found = compare(plan, POLICY, [], ledger, server)
    assert found["agrees"]
    assert (found["unexplained"], found["difference"]) == (0, 1)

    found = compare(
        plan, POLICY, [], {**ledger, "poll": 409}, {**server, "exists": 409}
    )
    assert (found["agrees"], found["outside"]) == (False, {"poll": 3})
    found = compare(plan, POLICY, [], {**ledger, "wait": 2}, {**server, "get": 2})
    assert (found["agrees"], found["unexplained"]) == (False, 2)
    found = compare(plan, POLICY, [], ledger, {**server, "get": 4})
    assert (found["agrees"], found["unexplained"], found["outside"]) == (False, 4, {})


def test_a_journal_is_read_as_it_is_written(tmp_path: Path):
    """Also a line that is only half there."""
    log = tmp_path / "worker.log"
    line = '{"event": "worker_report", "since": "2026-11-01T04:00:00+00:00", '
    line += '"timestamp": "2026-11-01T05:00:00.2+00:00", "commands": {"poll": 2}}\n'
    log.write_text(f"banner\n{line[:50]}")
    journal = Journal(log)
    begin = datetime(2026, 11, 1, 4, tzinfo=UTC)
    end = begin + timedelta(hours=1)
    assert not journal.reported(end)
    with log.open("a") as file:
        file.write(line[50:] + '{"event": "broker_lost", ')
        file.write('"timestamp": "2026-11-01T05:30:00+00:00"}\n')
    assert journal.reported(end)
    assert not journal.reported(end + timedelta(minutes=1))
    assert journal.commands(begin, end) == {"poll": 2}
    assert journal.commands(end, end + timedelta(hours=1)) == {}
    assert journal.trouble(begin) == {"broker_lost": 1}
    assert journal.trouble(end + timedelta(hours=1)) == {}
    journal.close()


def test_trouble_is_what_workers_can_report():
    """A name that no line has would never be found."""
    assert EVENTS.keys() >= TROUBLE


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_hour_that_comes_twice():
    """A real worker and a real server, from 1 AM to 2 AM, which takes two hours."""
    fake_time_library()
    if shutil.which("cc") is None:
        lacking("gcc")
    midnight = day.whole(day.LONG).begin
    night = day.Stretch(
        midnight + timedelta(hours=1), midnight + timedelta(hours=3), tasks=10
    )
    peer = replace(PEERS["smartworker"], environment_python=Path(sys.executable))
    found = day.checked(peer, night, (100, 50))
    assert found["trouble"] == {}
    assert found["ledger"] == found["server"]
    # A busy machine delays the sender by seconds of the fast clock, and these decide
    # about a lease; everything else is as planned at any speed.
    assert found["outside"].keys() <= {"lease", "rescue"}
    assert found["causes"]["poll"]["measured"] == 4
    assert found["causes"]["done"]["measured"] == 10
