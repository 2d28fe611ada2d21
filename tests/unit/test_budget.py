"""The forecast: what a plan costs."""

from datetime import UTC, date, datetime, timedelta
from math import ceil
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartworker.budget import FREE_COMMANDS, Forecast, Share, simulate
from smartworker.policy import Policy
from smartworker.windows import Windows

QUIET = timedelta(minutes=30)
ZONES = ("America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC")


def plan(
    text: str = "20:00-23:00=30s",
    zone: str = "America/New_York",
    quiet: timedelta = QUIET,
) -> Policy:
    """A policy; the default one if nothing is said."""
    return Policy(Windows.parse(text, zone), quiet)


def days(policy: Policy, first: str, count: int = 1, **options: int) -> Forecast:
    """The forecast of whole local days."""
    day = date.fromisoformat(first)
    end = policy.windows.midnight(day + timedelta(days=count))
    return simulate(policy, policy.windows.midnight(day), end, **options)


@pytest.mark.parametrize(
    ("day", "polls"),
    [("2026-11-21", 402), ("2026-03-08", 400), ("2026-11-01", 404)],
)
def test_the_default_day(day: str, polls: int) -> None:
    """360 polls in the window, two an hour outside, by 24, 23 or 25 hours.

    And the row: two commands at the start and at each edge, four in the window.
    """
    forecast = days(plan(), day)
    assert (forecast.polls, forecast.row, forecast.ready) == (polls, 10, 2)
    assert forecast.commands == polls + 10


def test_the_hours_of_a_short_day() -> None:
    """The missing hour has no polls, the window's hours have 120 each."""
    hours = days(plan(), "2026-03-08").hours
    assert hours == (2, 2, 0, *(2,) * 17, 120, 120, 120, 2)


def test_the_hours_of_a_long_day() -> None:
    """The repeated hour counts twice."""
    assert days(plan(), "2026-11-01").hours[:4] == (2, 4, 2, 2)


def test_each_window_has_its_share() -> None:
    """Windows in the order of their names, the quiet time last."""
    forecast = days(plan("20:00-23:00=30s;9:00-10:00=1m"), "2026-11-21")
    hour = timedelta(hours=1)
    assert forecast.shares == (
        Share("09:00-10:00", timedelta(minutes=1), hour, 60),
        Share("20:00-23:00", timedelta(seconds=30), 3 * hour, 360),
        Share(None, QUIET, 20 * hour, 40),
    )


def test_tasks_cost_four_and_starts_fifteen() -> None:
    """Everything that is billed adds up."""
    forecast = days(plan(), "2026-11-21", workers=2, tasks=100, starts=2)
    assert forecast.polls == sum(forecast.cells) == 804
    assert forecast.task_commands == 400
    # 14.4 minutes apart: each takes a lease and drops it, and asks the clock hourly.
    assert forecast.lease_commands == 2 * 100 + 24
    assert forecast.work_commands == 300 + 224
    # Each worker: three times 2, and once for 89 other commands between the edges: 40
    # polls and 218 others, of which the second time reads, too; 360 and 33; 2 and 11.
    assert forecast.row == 2 * (6 + 2 + 1 + 4)
    assert forecast.commands == 804 + 400 + 224 + 30 + 26


def test_leases_cost_little_while_work_never_stops() -> None:
    """A task each minute: a renewal each 3 minutes in the window, each 8 outside."""
    forecast = days(plan(), "2026-11-21", tasks=1440)
    assert forecast.lease_commands == 3 * 20 + 3 + ceil(21 * 60 / 8) + 21


def test_no_task_takes_no_lease() -> None:
    """An idle day costs its polls and the row, and nothing else."""
    assert days(plan(), "2026-11-21").lease_commands == 0


def test_the_price_is_that_of_the_published_list() -> None:
    """A month of the default plan, against the free plan and pay as you go."""
    forecast = days(plan(), "2026-11-01", 30)
    assert (forecast.polls, forecast.row) == (12_062, 2 + 30 * 8)
    assert forecast.commands == 12_304
    assert forecast.budget == FREE_COMMANDS == 500_000
    assert forecast.budget_share == pytest.approx(0.024608)
    assert forecast.dollars == pytest.approx(0.024608)
    # 30 days and the hour of November's first night; the start comes once.
    assert forecast.month_commands == 2 + round(12_302 * 720 / 721)


def test_workers_that_run_already_have_written_their_rows() -> None:
    """Their start is not in the plan."""
    started = days(plan(), "2026-11-21", workers=3)
    running = days(plan(), "2026-11-21", workers=3, running=True)
    assert (started.row, running.row, running.ready) == (30, 24, 0)
    assert started.month_commands - running.month_commands == 6


def test_other_work_of_the_workers_is_in_the_plan() -> None:
    """It counts by itself, and towards the next 90 commands."""
    busy = days(plan(), "2026-11-21", work=24 * 89)
    # Three times 2; 1,820, 627 and 91 commands between; and the rows are read once.
    assert busy.row == 6 + 20 + 7 + 1 + 1
    assert busy.commands == 402 + busy.row + 24 * 89


def test_no_time_costs_nothing() -> None:
    """An empty stretch has no polls and no rate."""
    now = datetime(2026, 11, 1, tzinfo=UTC)
    forecast = simulate(plan(), now, now)
    assert (forecast.polls, forecast.month_commands, forecast.shares) == (0, 0, ())
    assert forecast.row == 0


def test_a_plan_without_windows_costs_the_quiet_poll() -> None:
    """Nothing changes, and the stretch still ends."""
    now = datetime(2026, 11, 1, tzinfo=UTC)
    forecast = simulate(Policy(Windows(()), QUIET), now, now + timedelta(hours=25))
    assert forecast.polls == 50


def test_a_month_of_fast_polls_is_counted_not_walked() -> None:
    """2.6 million polls are forecast within the time limit of any test."""
    assert days(plan("0:00-24:00=1s"), "2026-11-01", 30).polls == 721 * 3600


def test_local_bounds_are_real_time() -> None:
    """Two local times of one zone are 25 hours apart in autumn, not 24."""
    zone = ZoneInfo("America/New_York")
    start = datetime(2026, 11, 1, tzinfo=zone)
    forecast = simulate(plan(), start, datetime(2026, 11, 2, tzinfo=zone))
    assert forecast.polls == 404
    assert forecast.start == start


@settings(deadline=None, max_examples=60)
@given(
    zone=st.sampled_from(ZONES),
    start=st.datetimes(
        datetime(2026, 1, 1),  # noqa: DTZ001  # hypothesis adds the zone
        datetime(2026, 12, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
    length=st.timedeltas(timedelta(0), timedelta(days=2)),
    fast=st.integers(20, 900),
    quiet=st.integers(300, 86_400),
    text=st.sampled_from(["20:00-23:00", "1:15-2:45", "sat,sun 22:00-2:30"]),
)
def test_the_forecast_counts_what_next_poll_does(
    zone: str, start: datetime, length: timedelta, fast: int, quiet: int, text: str
) -> None:
    """Poll by poll, as a worker would do it, from any instant."""
    policy = plan(f"{text}={fast}s", zone, timedelta(seconds=quiet))
    cells = [0] * 48
    now = start
    while now < start + length:
        local = policy.windows.local(now)
        cells[2 * local.hour + local.minute // 30] += 1
        now = policy.decide(now).next_poll(now)
    forecast = simulate(policy, start, start + length)
    assert forecast.polls == sum(cells)
    assert forecast.cells == tuple(cells)
    assert sum((share.open for share in forecast.shares), timedelta(0)) == length
