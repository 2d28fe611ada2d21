"""The forecast of a month: what was spent, the plan for the rest, the rate so far."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smartworker.forecast import Timetable, forecast
from smartworker.policy import Policy
from smartworker.rows import Row
from smartworker.windows import Windows

#: One poll an hour, so that the plan is easy to count.
PLAN = Policy(Windows(()), timedelta(hours=1))
MIDDLE = datetime(2026, 11, 16, tzinfo=UTC)
#: In 15 days an idle worker reads all rows and writes its own after each but the last.
ROW = 28


def row(**changes: Any) -> Row:
    """A worker since the beginning of November."""
    facts = {
        "id": "a",
        "kind": "worker",
        "name": "celery@a",
        "started": "2026-11-01T00:00:00+00:00",
        "written": "2026-11-15T23:59:00+00:00",
        "month": "2026-11",
    }
    return Row(**(facts | changes))


def days_of_noon(start: datetime, end: datetime) -> int:
    """The runs of a job that comes each day at noon, from a midnight on."""
    return (end - start + timedelta(hours=12)).days


def outlook(*rows: Row, now: datetime = MIDDLE, **changes: Any) -> Any:
    """The forecast of this plan."""
    options: dict[str, Any] = {"policy": PLAN, "jobs": (), "budget": 10_000}
    return forecast(rows, now, **(options | changes))


def test_an_idle_month_is_its_polls() -> None:
    """Half a month of one poll an hour is to come, and each day the row."""
    found = outlook(row(commands={"poll": 360, "row": 30}))
    assert (found.spent, found.polls, found.row, found.other) == (390, 360, ROW, 0)
    assert found.total == 390 + 360 + ROW
    three = outlook(workers=3)
    assert (three.polls, three.row) == (3 * 360, 3 * ROW)


def test_more_work_is_recorded_more_often() -> None:
    """Once for 89 commands of polls, jobs and other work; each fourth time it reads."""
    daily = Timetable("daily", 10, days_of_noon)
    found = outlook(row(commands={"take": 8_390}), jobs=[daily])
    assert (found.other, sum(found.jobs.values())) == (8_390, 150)
    # 8,900 in 15 days: 3.6 hours apart, and what was read is old after 12.
    assert found.row == 100 + 25


def test_a_job_with_a_schedule_comes_by_its_schedule() -> None:
    """What its runs have cost is no other work; what is to come is counted."""
    daily = Timetable("daily", 10, days_of_noon)
    done = row(commands={"take": 150}, runs={"daily": {"succeeded": 14, "retried": 1}})
    found = outlook(done, jobs=[daily])
    assert found.jobs == {"daily": 150}
    assert found.other == 0
    assert found.total == 150 + 150 + 360 + found.row


def test_the_midnight_at_the_months_end_is_of_the_next_month() -> None:
    """A job at 0:00 UTC comes on 14 more days of a November on the 16th."""
    nightly = Timetable("nightly", 10, lambda start, end: (end - start).days)
    assert outlook(jobs=[nightly]).jobs == {"nightly": 140}


def test_other_work_goes_on_as_it_went() -> None:
    """Half a month gone, as much again to come; jobs that are called are such work."""
    called = Timetable("called", 10)
    done = row(commands={"take": 500}, runs={"called": {"succeeded": 20}})
    found = outlook(done, jobs=[called])
    assert found.jobs == {}
    assert found.other == 500


def test_a_young_process_says_little_about_a_month() -> None:
    """15 commands in its first minute are 15 a day, not 20,000."""
    young = row(
        started=(MIDDLE - timedelta(minutes=1)).isoformat(), commands={"boot": 15}
    )
    assert outlook(young).other == 15 * 15


def test_what_strangers_publish_is_an_estimate() -> None:
    """Messages that were done here and that nobody of ours published."""
    found = outlook(row(messages={"done": 90, "published": 30}))
    assert (found.foreign, found.other) == (60, 60)
    assert found.total == 60 + 60 + 360 + ROW
    assert outlook(row(messages={"done": 3, "published": 30})).foreign == 0


def test_other_months_are_not_counted() -> None:
    """The row of a process that ended in October."""
    assert outlook(row(month="2026-10", commands={"poll": 9_999})).spent == 0


@pytest.mark.parametrize(
    ("budget", "over", "used_up"),
    [
        (720 + ROW, False, None),
        (719 + ROW, True, MIDDLE + timedelta(days=15) * (1 - 1 / (360 + ROW))),
        (540 + ROW // 2, True, MIDDLE + timedelta(days=7.5)),
        (360, True, MIDDLE),
        (100, True, MIDDLE),
    ],
)
def test_the_day_on_which_the_budget_is_used_up(
    budget: int, over: bool, used_up: datetime | None
) -> None:
    """At an even rate until the month ends; at once if it is."""
    found = outlook(row(commands={"poll": 360}), budget=budget)
    assert (found.is_over, found.used_up) == (over, used_up)


def test_for_programs() -> None:
    """All of it, with shares and times."""
    budget = 540 + ROW // 2
    found = outlook(row(commands={"poll": 360}), budget=budget).as_json()
    assert found["used_up"] == "2026-11-23T12:00:00+00:00"
    assert found["forecast_share"] == pytest.approx((720 + ROW) / budget, abs=1e-6)
    assert found["to_come"] == {"polls": 360, "row": ROW, "jobs": {}, "other": 0}
