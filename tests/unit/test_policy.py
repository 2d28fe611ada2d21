"""The policy: how often, until when, and why."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from smartworker.policy import Decision, Policy
from smartworker.windows import Windows

QUIET = timedelta(minutes=30)
FAST = timedelta(seconds=30)


def utc(text: str) -> datetime:
    """An instant in UTC, written without its zone."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def policy() -> Policy:
    """The default plan."""
    return Policy(Windows.parse("20:00-23:00=30s", "America/New_York"), QUIET)


def test_quiet_hours_have_the_quiet_poll(policy: Policy) -> None:
    """The night of a clock change: from 23:00 EDT to 20:00 EST."""
    assert policy.decide(utc("2026-11-01T05:30")) == Decision(
        poll=QUIET,
        window=None,
        since=utc("2026-11-01T03:00"),
        until=utc("2026-11-02T01:00"),
        reason="no window is open",
    )


def test_a_window_has_its_own_poll(policy: Policy) -> None:
    """The first instant of a window belongs to it."""
    assert policy.decide(utc("2026-11-02T01:00")) == Decision(
        poll=FAST,
        window="20:00-23:00",
        since=utc("2026-11-02T01:00"),
        until=utc("2026-11-02T04:00"),
        reason="window 20:00-23:00 is open",
    )


def test_a_wait_ends_at_the_next_edge(policy: Policy) -> None:
    """A window that opens in ten minutes is not overslept."""
    now = utc("2026-11-02T00:50")
    assert policy.decide(now).next_poll(now) == utc("2026-11-02T01:00")


def test_a_wait_far_from_an_edge_is_one_poll(policy: Policy) -> None:
    """In the middle of a stretch nothing cuts the wait."""
    now = utc("2026-11-01T12:00")
    assert policy.decide(now).next_poll(now) == utc("2026-11-01T12:30")


def test_a_plan_without_windows_never_changes() -> None:
    """There is no edge to cut a wait."""
    now = utc("2026-11-01T12:00")
    decision = Policy(Windows(()), QUIET).decide(now)
    assert (decision.since, decision.until) == (None, None)
    assert decision.next_poll(now) == utc("2026-11-01T12:30")


def test_a_wait_is_real_time_whatever_the_zone_of_now(policy: Policy) -> None:
    """Adding to a local time would add an hour too little in autumn."""
    now = datetime(2026, 11, 1, 1, 45, tzinfo=ZoneInfo("America/New_York"))
    assert policy.decide(now).next_poll(now) == utc("2026-11-01T06:15")


def test_a_naive_datetime_is_refused(policy: Policy) -> None:
    """No zone is guessed."""
    naive = datetime(2026, 11, 1)  # noqa: DTZ001
    with pytest.raises(ValueError, match="has no time zone"):
        policy.decide(naive)
    with pytest.raises(ValueError, match="has no time zone"):
        policy.decide(utc("2026-11-01")).next_poll(naive)
