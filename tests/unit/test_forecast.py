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
    """Half a month of one poll an hour is to come, for each worker."""
    found = outlook(row(commands={"poll": 360}))
    assert (found.spent, found.polls, found.other) == (360, 360, 0)
    assert found.total == 720
    assert outlook(workers=3).polls == 3 * 360


def test_a_job_with_a_schedule_comes_by_its_schedule() -> None:
    """What its runs have cost is no other work; what is to come is counted."""
    daily = Timetable("daily", 10, days_of_noon)
    done = row(commands={"take": 150}, runs={"daily": {"succeeded": 14, "retried": 1}})
    found = outlook(done, jobs=[daily])
    assert found.jobs == {"daily": 150}
    assert found.other == 0
    assert found.total == 150 + 150 + 360


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
    assert found.total == 60 + 60 + 360
    assert outlook(row(messages={"done": 3, "published": 30})).foreign == 0


def test_other_months_are_not_counted() -> None:
    """The row of a process that ended in October."""
    assert outlook(row(month="2026-10", commands={"poll": 9_999})).spent == 0


@pytest.mark.parametrize(
    ("budget", "over", "used_up"),
    [
        (720, False, None),
        (719, True, MIDDLE + timedelta(days=15) * (359 / 360)),
        (540, True, MIDDLE + timedelta(days=7.5)),
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
    found = outlook(row(commands={"poll": 360}), budget=540).as_json()
    assert found["used_up"] == "2026-11-23T12:00:00+00:00"
    assert found["forecast_share"] == pytest.approx(720 / 540, abs=1e-6)
    assert found["to_come"] == {"polls": 360, "jobs": {}, "other": 0}
