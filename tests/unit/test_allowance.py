"""The month's budget: each crossing told once, quiet polls widened and renewed."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smartworker.policy import Policy
from smartworker.testing import ManualClock
from smartworker.windows import Windows
from smartworker.worker.allowance import Allowance

QUIET = timedelta(minutes=30)
PLAN = Policy(Windows.parse("20:00-23:00=30s", "America/New_York"), QUIET)
NOON = datetime(2026, 11, 30, 17, 0, tzinfo=UTC)


class Sums:
    """The part of a clerk that an allowance asks."""

    def __init__(self) -> None:
        self.total = 0
        self.told = 0

    def month_total(self) -> int:
        """What all have spent."""
        return self.total

    def tell(self, level: int) -> None:
        """Others need not tell it any more."""
        self.told = level


class Rig:
    """An allowance of 1,000 commands, two hours before the end of a window's day."""

    def __init__(self, longest: timedelta = timedelta(hours=2)) -> None:
        self.sums = Sums()
        self.clock = ManualClock(NOON)
        self.changes = 0
        self.allowance = Allowance(
            self.sums,  # type: ignore[arg-type]
            1000,
            longest,
            self.clock,
            lambda: 1234,
        )
        self.allowance.on_change = self.changed

    def changed(self) -> None:
        """Quiet polls have changed."""
        self.changes += 1

    def spend(self, total: int) -> None:
        """So much has been spent this month."""
        self.sums.total = total
        self.allowance.check()

    def decide(self) -> Any:
        """The decision of now."""
        return self.allowance.policy(PLAN).decide(self.clock.now())


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Any:
    """The names of the events, and the events, since the start."""
    caplog.set_level(logging.INFO)
    return lambda: [record.msg for record in caplog.records]


def names(lines: Any) -> list[str]:
    """What was said."""
    return [line["event"] for line in lines()]


def test_each_level_is_told_once(said: Any) -> None:
    """60, 85 and 100 %; a second look at the same sum says nothing."""
    rig = Rig()
    for total in (599, 600, 601, 849, 850, 999, 1000, 1001, 2000):
        rig.spend(total)
    assert names(said) == ["budget_warned", "budget_warned", "budget_exhausted"]
    assert [line.get("share") for line in said()] == [0.6, 0.85, None]
    warned = said()[0]
    assert (warned["spent"], warned["budget"], warned["forecast"]) == (600, 1000, 1234)
    assert said()[2]["until"] == "2026-12-01T00:00:00+00:00"


def test_a_leap_over_two_levels_is_one_warning(said: Any) -> None:
    """The higher one."""
    rig = Rig()
    rig.spend(900)
    assert names(said) == ["budget_warned"]
    assert rig.sums.told == 85


def test_what_others_have_told_is_not_told_again(said: Any) -> None:
    """Another process, or the one before a restart; polls widen all the same."""
    rig = Rig()
    rig.sums.told = 100
    rig.spend(1000)
    assert names(said) == []
    assert rig.decide().poll == timedelta(hours=2)


def test_quiet_polls_widen_and_windows_do_not() -> None:
    """With a reason, up to the next edge, and no further than the month."""
    rig = Rig()
    assert rig.decide().poll == QUIET
    rig.spend(1000)
    assert rig.changes == 1
    decision = rig.decide()
    assert decision.poll == timedelta(hours=2)
    assert decision.reason == "the month's budget is used up"
    # The month ends at 19:00 in New York, before the window opens.
    assert decision.until == datetime(2026, 12, 1, tzinfo=UTC)
    rig.clock.advance(timedelta(hours=-15).total_seconds())  # in the window before
    assert rig.decide() == PLAN.decide(rig.clock.now())


def test_the_new_month_renews_everything(said: Any) -> None:
    """The decision ends by itself; then it is said, and the levels count anew."""
    rig = Rig()
    rig.spend(1000)
    rig.clock.advance(timedelta(hours=7).total_seconds())
    assert rig.decide().poll == QUIET
    rig.spend(0)
    assert names(said) == ["budget_exhausted", "budget_renewed"]
    assert rig.changes == 2
    rig.sums.told = 0  # as the clerk says of another month
    rig.spend(600)
    assert names(said)[-1] == "budget_warned"


def test_a_bound_at_the_quiet_poll_never_widens(said: Any) -> None:
    """The operator's word: said, and nothing else."""
    rig = Rig(longest=QUIET)
    rig.spend(1000)
    assert names(said) == ["budget_exhausted"]
    assert rig.decide() == PLAN.decide(NOON)


def test_a_shorter_bound_never_narrows() -> None:
    """A worker's own --quiet-poll may be longer than the bound."""
    rig = Rig(longest=timedelta(minutes=5))
    rig.spend(1000)
    assert rig.decide().poll == QUIET
