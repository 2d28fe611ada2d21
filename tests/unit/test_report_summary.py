"""What the page of a report says in words, and what without jinja2."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from smartworker.review import summary, words
from smartworker.review.report import Gap, JobFigures, Outage, Reason, Start
from tests.report_day import HOUR, TROUBLES, ZONE, busy, calm, report_of

DAY, BEFORE = date(2026, 11, 2), date(2026, 11, 1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 ms"),
        (0.0042, "4 ms"),
        (1, "1 s"),
        (1.234, "1.23 s"),
        (61, "61 s"),
        (600, "10 min"),
        (9000, "2.5 h"),
    ],
)
def test_durations_have_the_unit_that_fits(seconds, text) -> None:
    """From milliseconds to hours, never a number that nobody can read."""
    assert words.took(seconds) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0, "0.0 %"), (0.079, "7.9 %"), (0.0997, "10 %"), (1.5, "150 %")],
)
def test_percents_have_a_decimal_where_it_matters(ratio, text) -> None:
    """Small parts of a budget differ in their decimals."""
    assert words.percent(ratio) == text


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [(3, 3, "same"), (1300, 100, "+1,200"), (1, 4, "\N{MINUS SIGN}3")],
)
def test_a_change_has_a_sign(now, before, text) -> None:
    """More, less, or the same."""
    assert words.change(now, before) == text


def test_numbers_are_compared_with_the_day_before() -> None:
    """Each figure says what it was, by the name of that day."""
    found = {
        figure.name: (figure.value, figure.note)
        for figure in summary.figures_of(report_of(busy(DAY), calm(BEFORE)))
    }
    assert found["runs that went well"] == ("201", "Sun 1")
    assert found["commands"] == ("1,316", "7.9 % of the budget, Sun 434")
    assert found["polls"] == ("402", "of 402 planned")
    assert found["errors"] == ("10", "2 causes, Sun 0")


def test_without_a_day_before_nothing_is_compared() -> None:
    """The first day of the logs stands by itself."""
    notes = [figure.note for figure in summary.figures_of(report_of(calm(DAY)))]
    assert notes == ["", "", "", "2.6 % of the budget", "of 402 planned", ""]


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("failed", "failed"),
        ("missed", "missed"),
        ("budget", "commands"),
        ("polls", "polls"),
        ("dead", "errors"),
    ],
)
def test_red_is_what_the_verdict_speaks_of(kind, bad) -> None:
    """A figure is marked exactly when there is a reason to look at it."""
    report = report_of(calm(DAY), None, Reason(kind, "Look.", 1))
    marked = [figure.name for figure in summary.figures_of(report) if figure.bad]
    assert marked == [bad]


def test_a_reason_leads_to_a_section_that_is_there() -> None:
    """On a day without error lines nothing leads to the errors."""
    calm_ones = summary.reasons_of(report_of(calm(DAY), None, *TROUBLES))
    assert [about for _, about in calm_ones] == ["", "jobs", "worker", ""]
    busy_ones = summary.reasons_of(report_of(busy(DAY), None, *TROUBLES))
    assert [about for _, about in busy_ones] == ["errors", "jobs", "worker", "refused"]


def test_a_job_that_did_nothing_is_still_named() -> None:
    """A job of the day before that was not heard of is in the table, with its loss."""
    was = replace(calm(BEFORE), jobs=(JobFigures("weekly", ok=2),))
    rows = {row.job.job: row.change for row in summary.jobs_of(calm(DAY), was)}
    assert rows == {"schedule-swim-lanes": "+1", "weekly": "\N{MINUS SIGN}2"}


def test_marks_tell_the_worst_first() -> None:
    """Failures and misses before what is only worth knowing; nothing for zero."""
    day = replace(
        calm(DAY), jobs=(JobFigures("a", ok=1, duplicate=3, failed=1, made_up=2),)
    )
    [row] = summary.jobs_of(day, None)
    assert row.marks == (
        ("1 failed", "bad"),
        ("2 made up for", "mild"),
        ("3 called again", "mild"),
    )
    assert row.change == ""


def test_what_did_not_happen_is_one_sentence() -> None:
    """A calm day says what there was none of; a silent one says nothing of the kind."""
    day = calm(DAY)
    assert summary.quiet_of(day) == (
        "No errors, refused calls, silence of the worker or loss of the server."
    )
    assert summary.quiet_of(replace(busy(DAY), outages=())) == "No loss of the server."
    assert summary.quiet_of(busy(DAY)) == ""
    assert summary.quiet_of(replace(day, heard_first=None)) == ""


def test_the_log_of_the_worker_is_in_order() -> None:
    """Starts, windows, silence and outages, each with when it ended, if it did."""
    day = calm(DAY)
    day = replace(
        day,
        gaps=(
            Gap(day.since + 2 * HOUR, day.since + 3 * HOUR, 3600, "one", True),
            Gap(day.since + 23.5 * HOUR, None, 1800, None, False),
        ),
        outages=(Outage(day.since + HOUR, None, 60, "timeout", 1, None),),
        starts=(Start(day.since + 3 * HOUR, "one", "ready"),),
    )
    local = words.Local.of(ZONE, day)
    found = summary.happened_of(day, local)
    assert [(local.time(at), text, mark) for at, text, mark in found] == [
        (
            "01:00",
            "server away (timeout), not back when the logs end, 1 attempt",
            "warn",
        ),
        ("02:00", "no worker was heard for 60 min, as announced, until 03:00", ""),
        ("03:00", "one: ready", ""),
        ("20:00", "window 20:00-23:00: a poll each 30 s", ""),
        ("23:00", "outside of all windows: a poll each 30 min", ""),
        ("23:30", "no worker was heard for 30 min, and that goes on", "bad"),
    ]


def test_an_instant_that_is_missing_is_a_dash() -> None:
    """What never ended has no time."""
    local = words.Local.of(ZONE, calm(DAY))
    assert local.time(None) == "\N{EN DASH}"
    assert local.second(datetime(2026, 11, 2, 12, 0, 5, tzinfo=UTC)) == "07:00:05"
    assert local.full(datetime(2026, 11, 2, 12, tzinfo=UTC)) == "2026-11-02 07:00 EST"


def test_without_jinja_it_says_what_to_install() -> None:
    """One sentence instead of a traceback, where the extra is missing."""
    code = (
        "import sys; sys.modules['jinja2'] = None\n"
        "from datetime import date\n"
        "from smartworker.errors import SettingsError\n"
        "from smartworker.review.html import render\n"
        "from tests.report_day import calm, report_of\n"
        "try: render(report_of(calm(date(2026, 11, 2))))\n"
        "except SettingsError as error: print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "install smartworker[review]" in found.stdout, found.stderr
