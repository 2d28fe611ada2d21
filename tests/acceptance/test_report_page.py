"""The page of a report in a real browser: offline, readable for everybody, calm."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from smartworker.review.html import render
from smartworker.review.report import ErrorGroup, JobFigures, Reason, Refusal, Report
from tests.browser import DESK, PHONE, SMALL_PHONE, OpenPage, overflow, problems
from tests.log_lines import day_of, ready, run
from tests.report_day import HOUR, TROUBLES, WINDOWS, busy, calm, report_of

EVIL = "<script>document.title='taken'</script><img src=x onerror=alert(1)>\x00"
SMARTWORKER = str(Path(sys.executable).with_name("smartworker"))
LONG_NAME = "nightly_sum_of_everything_" * 8


def busy_report() -> Report:
    """A day with troubles, compared with a calm one."""
    return report_of(busy(date(2026, 11, 2)), calm(date(2026, 11, 1)), *TROUBLES)


def evil_report() -> Report:
    """Everything that comes from logs tries to be a tag, or is far too long."""
    day = busy(date(2026, 11, 2))
    first, last = day.since, day.until
    reading = replace(
        report_of(day).reading,
        broken=1,
        foreign=1,
        sources=(EVIL,),
        broken_samples=(EVIL,),
        foreign_samples=(LONG_NAME * 5,),
    )
    group = ErrorGroup(EVIL, EVIL, 2, first, last, EVIL, EVIL, EVIL)
    day = replace(
        day,
        jobs=(JobFigures(EVIL, ok=1), JobFigures(LONG_NAME, failed=2)),
        tasks=tuple(replace(task, task=EVIL) for task in day.tasks),
        errors=(group, replace(group, cause=LONG_NAME, sample="x" * 500)),
        refusals=(Refusal(EVIL, 2, {EVIL: 2}, first, last),),
        changes=tuple(replace(each, reason=EVIL, window=EVIL) for each in day.changes),
        spans=tuple(replace(each, window=EVIL) for each in day.spans),
        gaps=tuple(replace(each, worker=EVIL) for each in day.gaps),
        outages=tuple(replace(each, kind=EVIL) for each in day.outages),
        starts=tuple(replace(each, worker=EVIL, how=EVIL) for each in day.starts),
        commands=replace(day.commands, by_cause={EVIL: 3, LONG_NAME: 1}),
        runs=tuple(replace(each, task=EVIL, job=EVIL) for each in day.runs),
    )
    report = report_of(day, None, Reason("failed", EVIL, 1), Reason(EVIL, LONG_NAME, 1))
    return replace(report, reading=reading)


def empty_report() -> Report:
    """Nothing was logged on this day."""
    day = calm(date(2026, 11, 2))
    return report_of(
        replace(
            day,
            heard_first=None,
            heard_last=None,
            jobs=(),
            tasks=(),
            changes=(),
            runs=(),
            sent=(),
            durations=(),
            polls=replace(day.polls, made=None),
            commands=replace(day.commands, total=None, by_cause={}, ratio=None),
            hours=tuple(
                replace(hour, commands=0, polls=0, runs=0) for hour in day.hours
            ),
        ),
        None,
        Reason("gap", "No worker was heard of.", 1),
    )


REPORTS = {
    "busy": busy_report,
    "calm": lambda: report_of(calm(date(2026, 11, 1))),
    "evil": evil_report,
    "empty": empty_report,
}


@pytest.fixture(params=REPORTS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the page of each kind of report lies."""
    return written(REPORTS[request.param](), tmp_path)


def written(report: Report, folder: Path) -> str:
    """A file with the page of a report; its address."""
    path = folder / "report.html"
    path.write_text(render(report), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize(
    ("scheme", "viewport"), [("light", DESK), ("dark", PHONE)], ids=["day", "night"]
)
def test_axe_finds_nothing_serious(address, open_page: OpenPage, scheme, viewport):
    """Contrast, names and roles suffice at a desk by day, on a phone by night."""
    page = open_page(address, color_scheme=scheme, viewport=viewport)
    page.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
    assert problems(page) == []


def test_the_page_asks_nobody(address, browser: Browser):
    """Opened offline it is complete: not one request but that for the file itself."""
    context = browser.new_context(offline=True)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.goto(address)
    page.wait_for_load_state("networkidle")
    context.close()
    assert asked == [address]


@pytest.mark.parametrize(
    ("tag", "what"),
    [("img", "{src: 'http://x.example/'}"), ("script", "{text: 'window.taken = 1'}")],
)
def test_the_policy_stops_what_would_ask(tag, what, open_page: OpenPage, tmp_path):
    """Should a tag of a log ever get into the page, it loads and runs nothing."""
    page = open_page(written(evil_report(), tmp_path))
    assert page.complaints == []
    with page.expect_console_message() as said:
        page.evaluate(
            f"document.body.append(Object.assign(document.createElement('{tag}'), "
            f"{what}))"
        )
    assert "Content Security Policy" in said.value.text
    assert page.evaluate("window.taken") is None
    page.complaints.clear()


def test_a_small_phone_scrolls_in_one_direction(address, open_page: OpenPage):
    """At 360 pixels nothing is cut off and nothing lies beside the screen."""
    page = open_page(address, viewport=SMALL_PHONE)
    page.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
    assert overflow(page) == 0
    outside = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(each => !each.closest("
        "'.scroll') && each.getBoundingClientRect().right > innerWidth + 1)"
        ".map(each => each.outerHTML.slice(0, 200))"
    )
    assert outside == []


def test_what_logs_say_is_text(open_page: OpenPage, tmp_path):
    """A job called <script> is shown as that; no tag of it is in the page."""
    page = open_page(written(evil_report(), tmp_path))
    assert page.locator("script, img, iframe").count() == 0
    assert page.title() != "taken"
    shown = page.locator("#jobs tbody th").first.text_content()
    assert shown == EVIL.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def test_the_verdict_comes_first(open_page: OpenPage, tmp_path):
    """What needs attention stands above all figures, and leads to its section."""
    page = open_page(written(busy_report(), tmp_path), viewport=PHONE)
    assert page.locator("main > :first-child h2").text_content() == (
        "4 things need attention"
    )
    assert page.locator(".verdict li").all_text_contents() == [
        reason.text for reason in TROUBLES
    ]
    for link in page.locator(".verdict a").all():
        assert page.locator(link.get_attribute("href")).count() == 1
    assert "4 reasons" in page.title()


def test_a_calm_day_says_so(open_page: OpenPage, tmp_path):
    """No reason to look: one green sentence, and the title of the tab says it."""
    page = open_page(written(REPORTS["calm"](), tmp_path), viewport=PHONE)
    assert page.locator("#verdict-title").text_content() == "Nothing needs attention"
    assert "all well" in page.title()
    assert "a day of 25 hours" in page.locator("header").text_content()


def test_paper_shows_everything(open_page: OpenPage, tmp_path):
    """Printed, also in the dark, the page is black on white and nothing is folded."""
    page = open_page(written(busy_report(), tmp_path), color_scheme="dark")
    folded = page.locator("details table")
    assert not folded.is_visible()
    page.emulate_media(media="print")
    assert folded.is_visible()
    colours = "getComputedStyle(document.body)"
    assert page.evaluate(f"{colours}.backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(f"{colours}.color") == "rgb(0, 0, 0)"


@pytest.mark.parametrize(
    ("day", "hours"),
    [(date(2026, 11, 1), 25), (date(2026, 3, 8), 23), (date(2026, 11, 2), 24)],
)
def test_each_hour_of_the_day_is_there(day, hours, open_page: OpenPage, tmp_path):
    """A day of 23 or 25 hours has as many in the picture and in the table."""
    page = open_page(written(report_of(calm(day)), tmp_path))
    assert page.locator("#day line.hour").count() == hours
    assert page.locator("details tbody tr").count() == hours
    assert page.locator("#day svg").get_attribute("role") == "img"


def test_windows_are_where_the_clock_shows_them(open_page: OpenPage, tmp_path):
    """The rectangle of the window begins below the middle of its label's hour line."""
    day = date(2026, 11, 1)
    page = open_page(written(report_of(calm(day)), tmp_path))
    window = page.locator("#day rect.window").bounding_box()
    strip = page.locator("#day svg").bounding_box()
    opened = WINDOWS.midnight(day).timestamp() + 21 * 3600
    assert WINDOWS.at(calm(day).spans[0].since) is not None
    assert calm(day).spans[0].since.timestamp() == opened
    assert window["x"] - strip["x"] == pytest.approx(strip["width"] * 21 / 25, abs=1)


def test_a_reader_without_sight_gets_each_picture(address, open_page: OpenPage):
    """Every picture has a name and a description, each with an id of its own."""
    page = open_page(address)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(ids) == len(set(ids))
    for picture in page.locator("svg").all():
        for name in picture.get_attribute("aria-labelledby").split():
            assert page.locator(f"#{name}").text_content()


@pytest.mark.parametrize(("day", "hours"), [("2026-11-01", 25), ("2026-03-08", 23)])
def test_the_command_makes_the_page(day, hours, open_page: OpenPage, tmp_path):
    """From log lines of a day with a clock change to a page that shows all of it."""
    midnight = WINDOWS.midnight(date.fromisoformat(day))
    log, page_file = tmp_path / "worker.log", tmp_path / "day.html"
    lines = [
        ready(midnight + HOUR / 10),
        *run(midnight + 1.5 * HOUR, "a", job="nightly", seconds=60),
        *run(midnight + 2.5 * HOUR, "b", job="nightly", error=f"ValueError: {EVIL}"),
        *day_of(midnight, hours),
    ]
    log.write_bytes(b"\n".join(lines))
    made = subprocess.run(
        [SMARTWORKER, "review", "--day", day, "--html", page_file, log],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert made.returncode == 1, made.stderr
    page = open_page(page_file.as_uri())
    assert page.locator("#day line.hour").count() == hours
    assert page.locator("#day rect.ok").count() == 1
    assert page.locator("#day rect.failed").count() == 1
    left = page.locator("#day rect.ok").get_attribute("x")
    assert float(left[:-1]) == pytest.approx(150 / hours, abs=0.01)
    assert "1 run failed" in page.locator(".verdict li").first.text_content()
