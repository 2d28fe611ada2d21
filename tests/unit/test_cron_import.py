"""Celery's beat_schedule as declarations of jobs."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab, schedule, solar

from smartworker.cli.beat import entries_of, timing_of
from smartworker.cron.registry import LONGEST_NAME, Job, Jobs
from smartworker.deploy.declarations import (
    Entry,
    Timing,
    declarations,
    expression_of,
    job_name,
)

NOW = datetime(2027, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=366)


def printed(timing: Timing, zone: str = "Europe/Berlin", **fields: Any) -> str:
    """What is printed for one entry."""
    entry = Entry(**{"name": "report", "task": "shop.report", **fields}, timing=timing)
    return declarations([entry], zone)


def flat(text: str) -> str:
    """The comments of a module in one line."""
    return " ".join(line.strip().lstrip("# ") for line in text.splitlines())


def declared(text: str) -> list[Job]:
    """The jobs that a printed module declares."""
    module = ModuleType("printed")
    exec(compile(text, "printed", "exec"), vars(module))  # noqa: S102 - our own output
    jobs = Jobs()
    module.declare(jobs)
    return list(jobs)


@pytest.mark.parametrize(
    ("fields", "expression"),
    [
        ({"minute": 30, "hour": 21}, "30 21 * * *"),
        ({}, "* * * * *"),
        ({"minute": "*/15", "hour": "8-17", "day_of_week": "mon-fri"}, None),
        ({"minute": "0,30", "hour": "*/3"}, "0,30 */3 * * *"),
        ({"minute": 0, "hour": 5, "day_of_week": "monday"}, "0 5 * * 1"),
        ({"minute": 0, "hour": 5, "day_of_week": "fri-mon"}, "0 5 * * 0,1,5,6"),
        ({"minute": 0, "hour": {8, 20}}, "0 8,20 * * *"),
        ({"minute": 0, "hour": [8, 20]}, "0 8,20 * * *"),
        ({"minute": 0, "hour": "22-2"}, "0 0-2,22,23 * * *"),
        ({"minute": 0, "hour": 0, "day_of_month": 1}, "0 0 1 * *"),
        ({"minute": 0, "hour": 0, "day_of_month": "2-30/7"}, "0 0 2-30/7 * *"),
        ({"minute": 0, "hour": 6, "month_of_year": "*/3"}, "0 6 * */3 *"),
        ({"minute": 0, "hour": 6, "month_of_year": "jan,jul"}, "0 6 * jan,jul *"),
    ],
)
def test_crontabs(fields: dict[str, Any], expression: str | None) -> None:
    """They stay as they were written where that means the same."""
    found = expression_of(timing_of(crontab(**fields)))
    assert not found.reason
    assert found.expression == (expression or "*/15 8-17 * * mon-fri")


@pytest.mark.parametrize(
    "fields",
    [
        {"minute": "*/20", "hour": "8-10"},
        {"minute": 0, "hour": 5, "day_of_week": "fri-mon"},
        {"minute": 0, "hour": "22-2", "month_of_year": "nov-feb"},
        {"minute": 3, "hour": 4, "day_of_month": "1-7", "day_of_week": "mon"},
        {"minute": 3, "hour": 4, "day_of_month": "*/2", "day_of_week": "mon"},
        {"minute": 3, "hour": 4, "day_of_month": "8-14", "day_of_week": "1,2"},
        {"minute": 7, "hour": 1, "day_of_month": "29-31"},
    ],
)
def test_a_year_of_a_crontab(fields: dict[str, Any]) -> None:
    """The job is due at the minutes at which Celery's own sets allow the entry."""
    original = crontab(**fields)
    (job,) = declared(printed(timing_of(original), "UTC"))
    assert job.schedule is not None
    minutes = (NOW + timedelta(minutes=n) for n in range(1, 366 * 24 * 60 + 1))
    wanted = [
        each
        for each in minutes
        if each.minute in original.minute
        and each.hour in original.hour
        and each.day in original.day_of_month
        and each.month in original.month_of_year
        and each.isoweekday() % 7 in original.day_of_week
    ]
    assert job.schedule.between(NOW, NOW + YEAR) == wanted


def test_days_that_five_fields_cannot_say() -> None:
    """Celery means both day fields at once: a comment with the nearest, no job."""
    both = crontab(minute=0, hour=5, day_of_month="13", day_of_week="fri")
    text = printed(timing_of(both))
    assert declared(text) == []
    assert "# report (shop.report) is not declared. It comes on days that fit" in text
    assert '#     schedule="0 5 13 * 5",' in text


@pytest.mark.parametrize(
    ("every", "expression"),
    [
        (60, "* * * * *"),
        (120.0, "*/2 * * * *"),
        (timedelta(minutes=15), "*/15 * * * *"),
        (3600, "0 * * * *"),
        (timedelta(hours=6), "0 */6 * * *"),
        (timedelta(days=1), "0 0 * * *"),
        (timedelta(weeks=1), "0 0 * * 0"),
        (schedule(timedelta(minutes=30)), "*/30 * * * *"),
    ],
)
def test_intervals(every: Any, expression: str) -> None:
    """Those that divide an hour or a day evenly."""
    found = expression_of(timing_of(every))
    assert (found.expression, found.reason) == (expression, "")


@pytest.mark.parametrize(
    ("every", "reason", "nearest"),
    [
        (30.0, "every 30 seconds, and a job is due once a minute at most", "* * * * *"),
        (0.5, "every 0.5 seconds", "* * * * *"),
        (timedelta(minutes=7), "every 7m, and that divides neither", "*/6 * * * *"),
        (90, "every 1m30s", "* * * * *"),
        (timedelta(hours=5), "every 5h", "0 */4 * * *"),
        (timedelta(days=3), "every 3d", "0 0 * * *"),
    ],
)
def test_intervals_that_have_no_counterpart(
    every: Any, reason: str, nearest: str
) -> None:
    """The reason and the nearest that works stand in a comment, and no job."""
    text = printed(timing_of(every))
    assert declared(text) == []
    assert reason in flat(text)
    assert "The nearest that works is" in flat(text)
    assert f'#     schedule="{nearest}",' in text


def test_the_sun() -> None:
    """Solar schedules are refused with a sentence."""
    text = printed(timing_of(solar.__new__(solar)))
    assert declared(text) == []
    assert "It follows the sun, which five fields cannot" in flat(text)


def test_a_kind_of_ones_own() -> None:
    """So is a class that nobody here knows."""

    class Lunar(schedule):
        """Follows the moon."""

    text = printed(timing_of(Lunar(60)))
    assert declared(text) == []
    assert "Its schedule is a Lunar, which cron cannot say" in flat(text)


def test_what_an_entry_carries() -> None:
    """Task, arguments and zone are kept; what a job cannot carry is told."""
    text = printed(
        timing_of(crontab(minute=0, hour=6)),
        name="Tägliche Rechnung!",
        args=(1, "x"),
        kwargs={"deep": [1, {"a": None}]},
        options={"queue": "slow", "expires": 60},
    )
    (job,) = declared(text)
    assert (job.name, job.task, job.zone) == (
        "tagliche-rechnung",
        "shop.report",
        "Europe/Berlin",
    )
    assert (job.args, dict(job.kwargs)) == ((1, "x"), {"deep": [1, {"a": None}]})
    assert "# Beat called it 'Tägliche Rechnung!'." in text
    assert "Its options are not carried: queue='slow', expires=60." in text


def test_arguments_that_are_no_literals() -> None:
    """They are told, and nothing is declared: the task would do another thing."""
    text = printed(timing_of(60), args=(object(),))
    assert declared(text) == []
    assert "for its args cannot be written as Python: [<object object at" in flat(text)
    assert '#     "report",' in text


@pytest.mark.parametrize(
    "nasty", ['x"); evil(', "x\n    evil()", "x\\", "'''", "\x1b["]
)
def test_names_cannot_break_out(nasty: str) -> None:
    """Names of anybody become texts and comments, never code."""
    text = printed(timing_of(60), name=nasty, task=nasty, kwargs={nasty: nasty})
    (job,) = declared(text)
    assert (job.task, dict(job.kwargs)) == (nasty, {nasty: nasty})
    commented = printed(timing_of(7.0), name=nasty, task=nasty, options={nasty: nasty})
    assert declared(commented) == []


def test_names() -> None:
    """Each is valid, short enough, and given once."""
    assert job_name("Send E-Mails", set()) == "send-e-mails"
    assert job_name("***", set()) == "job"
    assert job_name("Größe é", set()) == "gro-e-e"
    assert job_name("a b", {"a-b", "a-b-2"}) == "a-b-3"
    long = job_name("x" * 99, {"x" * LONGEST_NAME})
    assert (len(long), long[-3:]) == (LONGEST_NAME, "x-2")


def test_a_zone_without_rules() -> None:
    """An offset is no zone: UTC stands in its place, and it is said."""
    text = printed(timing_of(crontab(minute=0, hour=6)), "<LocalTimezone: UTC+01>")
    (job,) = declared(text)
    assert job.zone == "UTC"
    assert "UTC stands in its place" in text


def test_nothing_to_import() -> None:
    """An empty schedule is a module that declares nothing."""
    text = declarations([], "UTC")
    assert declared(text) == []
    assert "The beat_schedule of the app is empty." in text


@pytest.fixture
def app() -> Iterator[Any]:
    """An app that knows nothing of us."""
    made = Celery("shop", set_as_current=False)
    yield made
    made.close()


def test_an_app(app: Any) -> None:
    """Its entries, those that are added when it is ready too."""

    @app.on_after_finalize.connect
    def add(sender: Any, **_: Any) -> None:
        sender.add_periodic_task(3600, sender.tasks["shop.tick"].s(1), name="late one")

    @app.task(name="shop.tick")
    def tick(x: int) -> None:
        """Never run."""

    app.conf.timezone = "Asia/Tokyo"
    app.conf.beat_schedule = {"early one": {"task": "shop.tick", "schedule": 60}}
    jobs = declared(declarations(entries_of(app), str(app.timezone)))
    assert [job.name for job in jobs] == ["early-one", "late-one"]
    assert {job.zone for job in jobs} == {"Asia/Tokyo"}
    assert jobs[1].args == (1,)
    assert "printed" not in sys.modules
