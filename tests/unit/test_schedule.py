"""When a job is due, on ordinary days and when the clocks change."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartworker.cron.schedule import Schedule

EASTERN = "America/New_York"
SUMMER = timezone(timedelta(hours=-4))
WINTER = timezone(timedelta(hours=-5))
SPRING_DAY = datetime(2026, 3, 8, tzinfo=WINTER)
AUTUMN_DAY = datetime(2026, 11, 1, tzinfo=SUMMER)


def hours(expression: str, day: datetime) -> list[str]:
    """The UTC times of this local day, which may have 23 or 25 hours."""
    found = Schedule(expression, EASTERN).between(
        day - timedelta(seconds=1), day + timedelta(hours=6)
    )
    return [f"{moment:%H:%M}" for moment in found]


def test_a_local_time_is_an_hour_later_in_utc_in_winter() -> None:
    """Nine in the evening is 01:00 UTC in October and 02:00 in November."""
    schedule = Schedule("0 21 * * *", EASTERN)
    assert schedule.after(datetime(2026, 10, 31, 12, tzinfo=UTC)).hour == 1
    assert schedule.after(datetime(2026, 11, 1, 12, tzinfo=UTC)).hour == 2


@pytest.mark.parametrize(
    ("expression", "day", "expected"),
    [
        ("30 1 * * *", AUTUMN_DAY, ["05:30"]),
        ("30 2 * * *", SPRING_DAY, ["07:00"]),
        (
            "0 * * * *",
            SPRING_DAY,
            ["05:00", "06:00", "07:00", "08:00", "09:00", "10:00", "11:00"],
        ),
        ("30 */2 * * *", AUTUMN_DAY, ["04:30", "07:30", "09:30"]),
    ],
)
def test_clock_changes_lose_and_double_nothing(
    expression: str, day: datetime, expected: list[str]
) -> None:
    """A missing time comes right after the jump, a repeated one comes once."""
    assert hours(expression, day) == expected


def test_the_last_time_includes_the_moment_itself() -> None:
    """A call at the very second of a slot counts for it."""
    schedule = Schedule("0 21 * * *", EASTERN)
    due = datetime(2026, 11, 22, 2, tzinfo=UTC)
    assert schedule.last(due) == due
    assert schedule.last(due - timedelta(microseconds=1)) == due - timedelta(days=1)
    assert schedule.after(due) == due + timedelta(days=1)


@given(
    moment=st.datetimes(
        datetime.fromisoformat("2026-01-01"),
        datetime.fromisoformat("2027-12-31"),
        timezones=st.just(UTC),
    ),
    expression=st.sampled_from(
        [
            "0 21 * * *",
            "30 1 * * *",
            "30 2 * * *",
            "*/7 * * * *",
            "0 9 1 * *",
            "15 3 * * sun",
            "59 23 * * mon-fri",
            "0 */3 * * *",
        ]
    ),
    zone=st.sampled_from([EASTERN, "Europe/Berlin", "UTC"]),
)
@settings(max_examples=300, deadline=None)
def test_looking_back_finds_what_looking_ahead_found(
    moment: datetime, expression: str, zone: str
) -> None:
    """No time lies between the last and the next, at any moment of two years."""
    schedule = Schedule(expression, zone)
    last, following = schedule.last(moment), schedule.after(moment)
    assert last <= moment < following
    assert schedule.after(last) == following
    assert schedule.last(following - timedelta(microseconds=1)) == last


@pytest.mark.parametrize(
    "expression", ["30 1 * * *", "45 1 * * sun", "30 1-3 * * *", "15 */2 * * *"]
)
@pytest.mark.parametrize("day", [SPRING_DAY, AUTUMN_DAY])
def test_each_minute_of_a_clock_change_agrees(expression: str, day: datetime) -> None:
    """Also inside the repeated hour: none of the times comes twice, or too late."""
    schedule, start = Schedule(expression, EASTERN), day - timedelta(days=8)
    times = schedule.between(start, day + timedelta(days=8))
    for minute in range(0, 25 * 60, 5):
        moment = day + timedelta(minutes=minute)
        assert schedule.after(moment) == min(time for time in times if time > moment)
        assert schedule.last(moment) == max(time for time in times if time <= moment)


def test_a_month_is_thirty_days() -> None:
    """What a job costs is reckoned by it."""
    now = datetime(2026, 6, 1, tzinfo=UTC)
    assert Schedule("0 21 * * *", EASTERN).a_month(now) == 30
    assert Schedule("0 */6 * * *", EASTERN).a_month(now) == 120
    assert Schedule("0 0 29 2 *", EASTERN).a_month(now) == 0
