"""The report: every figure comes from the raw numbers, and every page holds them."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Tree

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.lab import readings
from benchmarks.lab.facts import Facts
from benchmarks.lab.peers import PEERS
from benchmarks.lab.results import RESULTS
from benchmarks.report import bill, commands, filled, goals, growth, speed, summary
from benchmarks.report.goals import GOALS, Verdict
from benchmarks.report.picture import Chart
from benchmarks.report.tables import MISSING, Table, times
from tests.benchmarks import made_up
from tests.browser import OpenPage, browser, open_page  # noqa: F401 - fixtures

Numbers = dict[str, Any]
Group = Callable[[Facts], Iterator[Table]]
SVG = "{http://www.w3.org/2000/svg}"


def facts(found: Numbers) -> Facts:
    """As they are read from files."""
    files = {
        name: {"quick": False, "machine": made_up.MACHINE, "numbers": values}
        for name, values in found.items()
    }
    return Facts(files)


@pytest.fixture
def numbers() -> Numbers:
    """All measures, of all peers; every goal is met."""
    return deepcopy(made_up.numbers())


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of the repository's results, and copies of its pages."""
    for name in ("README", "DETAILS"):
        copy = tmp_path / f"{name}.md"
        copy.write_text(getattr(report, name).read_text(encoding="utf-8"), "utf-8")
        monkeypatch.setattr(report, name, copy)
    monkeypatch.setattr(report, "PICTURE", tmp_path / "cost.svg")
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    return tmp_path


# -- the repository ------------------------------------------------------------------


def test_the_pages_hold_what_was_measured() -> None:
    """Both pages and the picture are as `python -m benchmarks report` makes them."""
    for path, text in report.pages(Facts.of(RESULTS)).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is out of date"


def test_all_was_measured_on_one_machine() -> None:
    """With one set of versions, and nothing of it was a rough look."""
    found = Facts.of(RESULTS)
    assert not found.quick
    assert all(file["machine"] == found.machine for file in found.files.values())


def test_what_people_wrote_agrees_with_what_was_measured() -> None:
    """The sentences of the README quote figures; they must be those."""
    found = Facts.of(RESULTS)
    said = " ".join(report.README.read_text(encoding="utf-8").split())
    for figure, words in (
        (readings.idle_day(found, "celery"), "{:,.0f},000 commands a day"),
        (readings.dearest_idle_day(found), "**{:.0f}**"),
        (readings.task(found, "smartworker"), "costs {:.0f} commands"),
        (readings.task(found, "celery"), "instead of {:.0f}"),
    ):
        if figure is not None:
            figure = figure / 1000 if ",000" in words else figure
            assert words.format(figure) in said
    for ratio, words in (
        (readings.pickup(found, "smartworker"), "in {} times the time"),
        (readings.throughput(found, "smartworker"), "does {} times as many a second"),
        (
            readings.throughput_through_link(found, "smartworker"),
            "{} times as many where the server is 20 ms away",
        ),
    ):
        assert words.format(times(ratio)) in said
    for day in readings.idle_days(found):
        assert f"({day:.0f})" in said


# -- goals ---------------------------------------------------------------------------


def test_goals_that_are_met(numbers: Numbers) -> None:
    """Figures on the right side of their limits."""
    assert {goal.verdict(facts(numbers)) for goal in GOALS} == {Verdict.MET}


#: For each goal in turn, where its figure stands, and one that misses it.
MISSES: tuple[tuple[str, float], ...] = (
    ("day smartworker autumn server", 451),
    ("tasks smartworker results burst per_task", 4.11),
    ("growth smartworker workers 10 single per_task", 4.21),
    ("tasks smartworker results group per_task", 3.11),
    ("pickup smartworker local ratio", 1.001),
    ("pickup smartworker both_link ratio", 0.51),
    ("throughput smartworker early tasks_per_second", 1599),
    ("throughput smartworker link tasks_per_second", 3999),
    ("footprint smartworker idle_bytes", 101e6),
    ("footprint smartworker idle_cpu_seconds_per_hour", 0.61),
    ("day smartworker autumn unexplained", 1),
)


@pytest.mark.parametrize(
    ("goal", "path", "value"),
    [(goal, *miss) for goal, miss in zip(GOALS, MISSES, strict=True)],
    ids=[goal.what for goal in GOALS],
)
def test_goals_that_are_missed(
    goal: goals.Goal, path: str, value: float, numbers: Numbers
) -> None:
    """One figure on the wrong side misses its own goal, and no other."""
    *above, last = path.split()
    place = numbers
    for key in above:
        place = place[key]
    assert last in place
    place[last] = value
    found = facts(numbers)
    missed = [each for each in GOALS if each.verdict(found) is Verdict.MISSED]
    assert missed == [goal]
    (row,) = [row for row in goals.table(found).rows if "MISSED" in row]
    assert row[0] == goal.what


def test_goals_without_numbers() -> None:
    """Nobody says met of what nobody measured."""
    assert {goal.verdict(facts({})) for goal in GOALS} == {Verdict.UNKNOWN}


# -- tables --------------------------------------------------------------------------


def test_a_missing_measure_is_said(numbers: Numbers) -> None:
    """Each measure has its tables whether it ran or not."""
    for name in numbers:
        rest = {other: values for other, values in numbers.items() if other != name}
        rows = [row for table in report.tables(facts(rest)) for row in table.rows]
        assert any(MISSING in row for row in rows), name


def test_every_peer_stands_in_both_tables_that_matter(numbers: Numbers) -> None:
    """Nobody is left out, and nothing of them is missing."""
    titles = [peer.title for peer in PEERS.values()]
    for table in summary.tables(facts(numbers)):
        assert [row[0] for row in table.rows] == titles


@pytest.mark.parametrize(
    ("measure", "group"),
    [
        ("idle", commands.idle),
        ("tasks", commands.tasks),
        ("footprint", speed.footprint),
        ("pickup", speed.pickup),
        ("throughput", speed.throughput),
    ],
)
def test_a_peer_that_could_not_run_says_why(
    measure: str, group: Group, numbers: Numbers
) -> None:
    """The reason stands where its figures would, in the first table of the measure."""
    why = "RQ needs python9.9, which is not here"
    numbers[measure]["rq"] = {"unavailable": why}
    first = next(group(facts(numbers)))
    assert (PEERS["rq"].title, why) in [tuple(row[:2]) for row in first.rows]


@pytest.mark.parametrize(
    ("measure", "tables"), [("growth", growth.tables), ("bill", bill.tables)]
)
@pytest.mark.parametrize("all_of_it", [False, True])
def test_a_column_that_is_missing_has_its_reason_below(
    measure: str, tables: Group, all_of_it: bool, numbers: Numbers
) -> None:
    """Where peers stand side by side, be it one that could not run or all."""
    lost = ("smartworker", "celery") if all_of_it else ("celery",)
    for peer in lost:
        numbers[measure][peer] = {"unavailable": f"no {peer}, for a reason"}
    first = next(tables(facts(numbers)))
    for peer in lost:
        shown = " ".join(first.markdown().split())
        assert f"no {peer}, for a reason" in shown


def test_a_table_is_whole_in_a_log(
    elsewhere: Path, numbers: Numbers, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `make bench` prints into a file has the names of all peers in one piece."""
    made_up.write(elsewhere / "results", numbers)
    report.write(elsewhere / "results")
    printed = capsys.readouterr().out
    assert "\N{HORIZONTAL ELLIPSIS}" not in printed
    rows = [row[0] for table in report.tables(facts(numbers)) for row in table.rows]
    for peer in PEERS.values():
        assert printed.count(f"\n\N{BOX DRAWINGS LIGHT VERTICAL} {peer.title} ") == (
            rows.count(peer.title)
        )


def test_few_commands_in_two_minutes_are_not_scaled_to_a_day(numbers: Numbers) -> None:
    """What happens each half hour would be missed, or counted 15 times too often."""
    window = numbers["idle"]["smartworker-window"]
    assert readings.idle_day(facts(numbers), "smartworker-window") == 432
    del window["hours"]
    assert readings.idle_day(facts(numbers), "smartworker-window") is None
    assert readings.idle_day(facts(numbers), "celery") == 144_000


def test_tables_are_whole(numbers: Numbers) -> None:
    """Each row of a table has a cell for each of its heads."""
    for found in (facts(numbers), facts({})):
        for table in report.tables(found):
            assert {len(row) for row in table.rows} == {len(table.columns)}, table.title


# -- what is written -----------------------------------------------------------------


def test_the_results_of_the_repository_go_to_its_pages(
    elsewhere: Path, numbers: Numbers
) -> None:
    """The tables stand between their marks, and a second time changes nothing."""
    made_up.write(elsewhere / "results", numbers)
    report.write(elsewhere / "results")
    written = {path: path.read_text(encoding="utf-8") for path in elsewhere.glob("*.*")}
    assert len(written) == 3
    assert "412" in written[elsewhere / "README.md"]
    assert "MISSED" not in written[elsewhere / "DETAILS.md"]
    assert report.pages(Facts.of(elsewhere / "results")) == written


@pytest.mark.parametrize(("folder", "quick"), [("results", True), ("other", False)])
def test_rough_numbers_and_those_of_elsewhere_are_only_shown(
    elsewhere: Path,
    numbers: Numbers,
    folder: str,
    quick: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`make bench-quick` changes no page."""
    before = report.README.read_text(encoding="utf-8")
    (elsewhere / folder).mkdir(exist_ok=True)
    made_up.write(elsewhere / folder, numbers, quick=quick)
    report.write(elsewhere / folder)
    assert "Goals" in capsys.readouterr().out
    assert report.README.read_text(encoding="utf-8") == before
    assert not report.PICTURE.exists()


def test_a_page_without_its_marks_is_refused() -> None:
    """Better than tables that go nowhere."""
    page = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n"
    assert filled(page, "x", "new") == "a\n<!-- x -->\n\nnew\n\n<!-- /x -->\nb\n"
    for broken in ("a\n", "<!-- x -->\nold\n"):
        with pytest.raises(ValueError, match="x"):
            filled(broken, "x", "new")


def test_a_few_peers_do_not_replace_the_figures_of_all(tmp_path: Path) -> None:
    """`--peers` alone is refused; with a folder of its own it is not."""
    words = ["report", "--peers", "rq"]
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 2
    assert "add --into FOLDER, or --quick" in " ".join(refused.output.split())
    assert CliRunner().invoke(main, [*words, "--into", str(tmp_path)]).exit_code == 0


# -- the picture ---------------------------------------------------------------------


@given(st.floats(0, 1e9), st.booleans())
def test_scales_reach_what_they_show(most: float, tens: bool) -> None:
    """Few lines, the last not below the longest bar, nor far above it."""
    chart = Chart("", tens=tens)
    lines = chart.scale(most)
    assert lines == sorted(set(lines))
    assert 2 <= len(lines) <= (11 if tens else 6)
    assert lines[-1] >= most
    assert lines[-2] <= max(most, 1)
    assert [chart.share(line, lines[-1]) for line in (lines[0], lines[-1])] == [0, 1]


def test_an_even_scale() -> None:
    """Steps are 1, 2 or 5 of a power of ten."""
    assert Chart("").scale(67_000) == [0, 20_000, 40_000, 60_000, 80_000]
    assert Chart("", tens=True).scale(778_000)[-2:] == [100_000, 1_000_000]


@pytest.fixture(params=["measured", "nothing measured"])
def picture(request: pytest.FixtureRequest, numbers: Numbers) -> str:
    """The SVG of all figures, and of none."""
    return summary.picture(facts(numbers if request.param == "measured" else {}))


def test_the_picture_is_for_everybody(picture: str) -> None:
    """Well formed, without scripts, told in words, and with every peer's name."""
    root = Tree.fromstring(picture)  # noqa: S314 - our own
    assert (root.tag, root.get("role")) == (f"{SVG}svg", "img")
    title, desc = (root.findtext(f"{SVG}{tag}") for tag in ("title", "desc"))
    assert title
    assert desc
    texts = [element.text for element in root.iter(f"{SVG}text")]
    for peer in PEERS.values():
        assert peer.title in texts
        assert peer.title in desc
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags == {"svg", "title", "desc", "style", "rect", "line", "text"}
    assert "prefers-color-scheme: dark" in picture
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_picture_is_legible(
    picture: str,
    scheme: str,
    tmp_path: Path,
    open_page: OpenPage,  # noqa: F811
) -> None:
    """In a browser no words overlap, and none leave the picture."""
    path = tmp_path / "cost.svg"
    path.write_text(picture, encoding="utf-8")
    page = open_page(path.as_uri(), color_scheme=scheme)
    boxes = page.evaluate(
        """() => [...document.querySelectorAll('svg > text')].map(each => {
             const {left, top, right, bottom} = each.getBoundingClientRect();
             return [each.textContent, left, top, right, bottom] })"""
    )
    width, height = page.evaluate(
        "() => [document.documentElement.width.baseVal.value,"
        " document.documentElement.height.baseVal.value]"
    )
    assert len(boxes) > 2 * len(PEERS)
    for index, (words, left, top, right, bottom) in enumerate(boxes):
        assert 0 <= left < right <= width, words
        assert 0 <= top < bottom <= height, words
        for other, *box in boxes[:index]:
            apart = (
                box[0] >= right or box[2] <= left or box[1] >= bottom or box[3] <= top
            )
            assert apart, f"{words!r} over {other!r}"
