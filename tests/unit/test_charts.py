"""The charts of a report: well formed, escaped, and with each mark at its place."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from xml.etree import ElementTree as Tree

import pytest

from smartworker.review import charts
from smartworker.review.report import Gap, Hour, Run, Sent, Spread
from smartworker.review.words import Local
from tests.report_day import HOUR, ZONE, busy, calm

USUAL, SHORT, LONG = date(2026, 11, 2), date(2026, 3, 8), date(2026, 11, 1)


def parsed(picture: str) -> Tree.Element:
    """The picture as a tree, which only well-formed XML has."""
    return Tree.fromstring(picture)  # noqa: S314 - we have made it


def strip_of(
    day_of=calm, day: date = USUAL, now: datetime | None = None, **changes
) -> Tree.Element:
    """The strip of a day, parsed."""
    found = replace(day_of(day), **changes)
    return parsed(charts.strip(found, Local.of(ZONE, found), now or found.until))


def boxes(drawing: Tree.Element, kind: str) -> list[tuple[float, float]]:
    """Left and width in percent of all rectangles of a kind."""
    return [
        (float(box.get("x")[:-1]), float(box.get("width")[:-1]))
        for box in drawing.iter("rect")
        if kind in box.get("class").split()
    ]


def words_of(drawing: Tree.Element, kind: str) -> list[str]:
    """The texts of a kind."""
    return [each.text for each in drawing.iter("text") if each.get("class") == kind]


@pytest.mark.parametrize(
    ("day", "hours", "labels"),
    [
        (USUAL, 24, ["00", "03", "06", "09", "12", "15", "18", "21"]),
        (SHORT, 23, ["00", "03", "06", "09", "12", "15", "18", "21"]),
        (LONG, 25, ["00", "01b", "03", "06", "09", "12", "15", "18", "21"]),
    ],
)
def test_the_strip_has_the_hours_of_its_day(day, hours, labels) -> None:
    """A day of 23 or 25 hours has as many, with the labels of local clocks."""
    drawing = strip_of(day=day)
    assert sum("hour" in line.get("class") for line in drawing.iter("line")) == hours
    assert words_of(drawing, "axis") == labels


@pytest.mark.parametrize(
    ("day", "hours", "start"), [(USUAL, 24, 20), (SHORT, 23, 19), (LONG, 25, 21)]
)
def test_the_window_stands_at_its_hours(day, hours, start) -> None:
    """20:00 comes after 19, 20 or 21 hours; the window is three hours wide."""
    [(left, width)] = boxes(strip_of(day=day), "window")
    assert left == pytest.approx(start / hours * 100, abs=0.01)
    assert width == pytest.approx(3 / hours * 100, abs=0.01)


def test_few_polls_are_ticks_and_many_are_a_band() -> None:
    """Polls that cannot be told apart share one mark from the first to the last."""
    since = calm(USUAL).since
    sent = (
        Sent(since, since + 12 * HOUR, 24, 1800),
        Sent(since, since + HOUR, 120, 30),
    )
    found = boxes(strip_of(sent=sent), "poll")
    assert len(found) == 24 + 1
    assert found[-1] == (0, pytest.approx(100 / 24, abs=0.01))
    assert found[0][0] == pytest.approx(50 / 48 - charts.THINNEST / 2, abs=0.01)


def test_a_report_without_polls_leaves_no_mark() -> None:
    """A worker that reports nothing sent is no poll."""
    since = calm(USUAL).since
    drawing = strip_of(sent=(Sent(since, since + HOUR, 0, None),))
    assert boxes(drawing, "poll") == []


def test_runs_stand_where_they_began_and_are_as_long_as_they_took() -> None:
    """A run at noon of two hours begins in the middle and covers a twelfth."""
    run = Run(calm(USUAL).since + 12 * HOUR, 7200, "a.task", None, "failed")
    drawing = strip_of(runs=(run,))
    assert boxes(drawing, "failed") == [
        (pytest.approx(50), pytest.approx(100 / 12, abs=0.01))
    ]
    assert boxes(drawing, "ok") == []


def test_a_run_over_midnight_ends_with_the_picture() -> None:
    """What begins at 23:59 and takes hours is visible, and not beyond the edge."""
    run = Run(calm(USUAL).until - timedelta(seconds=1), 7200, "a", None, "ok")
    [(left, width)] = boxes(strip_of(runs=(run,)), "ok")
    assert left + width == pytest.approx(100)
    assert width == charts.THINNEST


def test_runs_of_a_moment_share_a_mark() -> None:
    """Two thousand runs are no two thousand rectangles; the mark says how many."""
    noon = calm(USUAL).since + 12 * HOUR
    runs = tuple(
        Run(noon + timedelta(seconds=n / 100), 0.1, f"task-{n % 5}", None, "ok")
        for n in range(2000)
    )
    drawing = strip_of(runs=runs)
    assert len(boxes(drawing, "ok")) == 1
    tips = [each.text for box in drawing.iter("rect") for each in box.iter("title")]
    assert any("2000 runs ok: task-0, task-1, task-2 and more" in tip for tip in tips)


def test_a_gap_without_an_end_reaches_the_end_of_the_day() -> None:
    """A worker that is still silent is silent up to the right edge."""
    since = calm(USUAL).since + 18 * HOUR
    drawing = strip_of(gaps=(Gap(since, None, 6 * 3600, None, False),))
    assert boxes(drawing, "gap") == [(pytest.approx(75), pytest.approx(25))]


def test_a_day_that_is_not_over_ends_now() -> None:
    """Today so far: a line marks now, and a silence that goes on ends there."""
    since = calm(USUAL).since
    gap = Gap(since + 6 * HOUR, None, 6 * 3600, None, False)
    drawing = strip_of(now=since + 12 * HOUR, gaps=(gap,))
    assert boxes(drawing, "gap") == [(pytest.approx(25), pytest.approx(25))]
    [line] = [each for each in drawing.iter("line") if each.get("class") == "now"]
    assert line.get("x1") == "50%"
    assert "now" in words_of(drawing, "value")
    assert "now" not in words_of(strip_of(), "value")


def test_a_busy_day_stays_inside_the_picture() -> None:
    """No mark of any kind begins before midnight or ends after it."""
    drawing = strip_of(busy)
    for box in drawing.iter("rect"):
        left, width = (float(box.get(name)[:-1]) for name in ("x", "width"))
        assert left >= 0
        assert left + width <= 100.01, Tree.tostring(box)


def test_the_strip_says_what_it_shows() -> None:
    """Somebody who cannot see the picture hears of windows, runs, gaps and outages."""
    told = strip_of(busy).find("desc").text
    assert "window 20:00-23:00 from 20:00 to 23:00" in told
    assert "no worker heard from 06:00 to 07:30" in told
    assert "server away from 16:00 to 16:24" in told


def test_a_doubtful_time_names_its_zone() -> None:
    """On the day that has 01:30 twice, times say which."""
    day = calm(LONG)
    local = Local.of(ZONE, day)
    assert local.time(day.since + 1.5 * HOUR) == "01:30 EDT"
    assert local.time(day.since + 2.5 * HOUR) == "01:30 EST"


@pytest.mark.parametrize("evil", ["<script>x</script>", "a\"&'<b", "\x00\x1b\ud800"])
def test_names_from_logs_are_text(evil) -> None:
    """Whatever a task is called, the picture stays well formed and has no such tag."""
    since = calm(USUAL).since
    drawing = strip_of(runs=(Run(since, 1, evil, evil, "ok"),))
    assert {each.tag for each in drawing.iter()} == {
        "svg",
        "title",
        "desc",
        "rect",
        "line",
        "text",
    }


def bars(found: tuple[Hour, ...], budget: int = 0) -> Tree.Element:
    """The chart of hours, parsed."""
    return parsed(charts.hours(found, budget))


def heights(drawing: Tree.Element, kind: str) -> list[float]:
    """Heights in pixels of all rectangles of a kind."""
    return [
        float(box.get("height"))
        for box in drawing.iter("rect")
        if box.get("class") == kind
    ]


def test_bars_are_as_high_as_their_commands() -> None:
    """The busiest hour fills the chart, half as many commands are half as high."""
    start = calm(USUAL).since
    drawing = bars(
        tuple(
            Hour(start + n * HOUR, f"{n:02}", commands, commands // 4, 0, 0, 2)
            for n, commands in enumerate((100, 50, 0))
        )
    )
    full = charts.BARS_FOOT - charts.BARS_TOP
    assert heights(drawing, "sent") == [full, full / 2]
    assert heights(drawing, "poll") == [full / 4, pytest.approx(full * 12 / 100)]
    assert words_of(drawing, "value") == ["100"]


@pytest.mark.parametrize(("budget", "shown"), [(0, 0), (2400, 1), (24_000, 0)])
def test_the_budget_is_a_line_where_it_can_be_seen(budget, shown) -> None:
    """No budget, no line; one that is far above would flatten the bars to nothing."""
    hours = tuple(replace(hour, commands=60) for hour in calm(USUAL).hours)
    lines = [
        line
        for line in bars(hours, budget).iter("line")
        if line.get("class") == "limit"
    ]
    assert len(lines) == shown


def test_an_empty_day_has_a_chart() -> None:
    """No hour with commands is no division by zero."""
    assert heights(bars(()), "sent") == []
    hours = tuple(replace(hour, commands=0) for hour in calm(USUAL).hours)
    assert heights(bars(hours), "sent") == []


def test_durations_are_counted_by_their_upper_end() -> None:
    """Bars have their counts above them and their seconds below."""
    drawing = parsed(charts.durations(((0.1, 2), (60, 8), (float("inf"), 0))))
    full = charts.BARS_FOOT - charts.BARS_TOP
    assert heights(drawing, "took") == [full / 4, full]
    assert words_of(drawing, "value") == ["2", "8"]
    assert words_of(drawing, "axis") == ["100 ms", "60 s", "more"]


def test_a_spread_runs_from_the_median_to_the_longest() -> None:
    """On one scale for all rows: ten times as long is one step to the right."""
    found = Spread(9, 1, 10, 100)
    drawing = parsed(charts.spread("a", found, 0.1, 100))
    [(median, _)], [(tail, _)] = boxes(drawing, "median"), boxes(drawing, "tail")
    [(usual, width)] = boxes(drawing, "usual")
    assert (median, tail) == (pytest.approx(3 + 94 / 3 - 0.6, abs=0.01), 96.4)
    assert width == pytest.approx(94 / 3, abs=0.01)
    assert usual == pytest.approx(3 + 94 / 3, abs=0.01)


def test_a_spread_of_equal_durations_is_drawn() -> None:
    """One run has no range: its marks lie on each other."""
    drawing = parsed(charts.spread("a", Spread(1, 0, 0, 0), 0, 0))
    assert len(boxes(drawing, "median")) == 1


@pytest.mark.parametrize(
    ("value", "most", "width"),
    [(5, 10, [50]), (20, 10, [100]), (0, 10, []), (1, 0, [])],
)
def test_a_bar_is_a_part_of_its_track(value, most, width) -> None:
    """As long as its part, never longer than the track, and nothing for nothing."""
    drawing = parsed(charts.bar("a", value, most, "told"))
    assert [each[1] for each in boxes(drawing, "sent")] == width
