"""The pacer puts decisions into force and says each change once."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smartworker.policy import Policy
from smartworker.testing import ManualClock
from smartworker.windows import Windows
from smartworker.worker.pacer import Pacer

POLICY = Policy(
    Windows.parse("20:00-23:00=30s;22:00-22:30=5s", "America/New_York"),
    timedelta(minutes=30),
)
#: 19:59:00 in New York, in summer.
EVENING = datetime(2026, 7, 1, 23, 59, tzinfo=UTC)


class Rig:
    """A pacer whose doings are lists."""

    def __init__(self, now: datetime = EVENING, policy: Policy = POLICY) -> None:
        self.clock = ManualClock(now)
        self.applied: list[float] = []
        self.spent = 100
        self.pacer = Pacer(policy, self.clock, self.applied.append, lambda: self.spent)

    def after(self, spent: int = 0, **passed: float) -> None:
        """Adjust after some time and some commands."""
        self.clock.advance(timedelta(**passed).total_seconds())
        self.spent += spent
        self.pacer.adjust()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """What was logged, as dictionaries."""
    caplog.set_level(logging.INFO)
    return lambda: [record.msg for record in caplog.records]


def test_the_first_decision_is_applied_in_silence(lines: Any) -> None:
    """At the start the interval is set; nothing changed, so nothing is said."""
    rig = Rig()
    decision = rig.pacer.adjust()
    assert rig.applied == [1800.0]
    assert decision.window is None
    assert decision.until == EVENING + timedelta(minutes=1)
    assert lines() == []


def test_nothing_is_applied_between_two_edges() -> None:
    """Looking at the clock each minute changes nothing by itself."""
    rig = Rig(EVENING + timedelta(minutes=1))
    for _ in range(60):
        rig.after(minutes=1)
    assert rig.applied == [30.0]


def test_an_opening_window_is_said_with_everything(lines: Any) -> None:
    """Old and new interval, window, its end, why, and what was spent till then."""
    rig = Rig()
    rig.pacer.adjust()
    rig.after(spent=17, minutes=1)
    assert rig.applied == [1800.0, 30.0]
    (line,) = lines()
    line.pop("timestamp")
    assert line == {
        "event": "interval_changed",
        "level": "info",
        "old_poll_seconds": 1800.0,
        "poll_seconds": 30.0,
        "window": "20:00-23:00",
        "until": "2026-07-02T02:00:00+00:00",
        "reason": "window 20:00-23:00 is open",
        "commands": 17,
    }


def test_each_change_counts_its_own_commands(lines: Any) -> None:
    """An evening with an inner window: four changes, the commands of each part."""
    rig = Rig()
    rig.pacer.adjust()
    rig.after(spent=1, minutes=1)
    rig.after(spent=240, hours=2)
    rig.after(spent=360, minutes=30)
    rig.after(spent=60, minutes=30)
    assert rig.applied == [1800.0, 30.0, 5.0, 30.0, 1800.0]
    assert [line["commands"] for line in lines()] == [1, 240, 360, 60]
    assert [line["window"] for line in lines()] == [
        "20:00-23:00",
        "22:00-22:30",
        "20:00-23:00",
        None,
    ]
    assert lines()[-1]["reason"] == "no window is open"


def test_an_edge_that_comes_a_hair_early_changes_nothing(lines: Any) -> None:
    """A timer may fire early: the decision is that of the clock."""
    rig = Rig(EVENING + timedelta(seconds=59.999))
    rig.pacer.adjust()
    rig.after(seconds=0.0005)
    assert rig.applied == [1800.0]
    rig.after(seconds=0.0005)
    assert rig.applied == [1800.0, 30.0]
    assert len(lines()) == 1


def test_a_machine_that_slept_over_the_edges_is_right_at_once(lines: Any) -> None:
    """From one day's afternoon into the next day's window: one change."""
    rig = Rig(EVENING - timedelta(hours=3))
    rig.pacer.adjust()
    rig.after(hours=27, minutes=30)
    assert rig.applied == [1800.0, 30.0]
    assert len(lines()) == 1


def test_windows_of_the_same_poll_are_told_apart(lines: Any) -> None:
    """The interval stays, the window changes: applied, because it opened."""
    policy = Policy(
        Windows.parse("20:00-21:00=30s;21:00-22:00=30s", "America/New_York"),
        timedelta(minutes=30),
    )
    rig = Rig(EVENING + timedelta(minutes=30), policy)
    rig.pacer.adjust()
    rig.after(minutes=31)
    assert rig.applied == [30.0, 30.0]
    assert [line["window"] for line in lines()] == ["21:00-22:00"]
