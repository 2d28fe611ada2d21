"""The picture of the README: bars of all peers, two charts side by side, as SVG.

The file has its own ground and both sets of colours, so it is legible on any page,
light or dark.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from xml.etree import ElementTree as Tree

from benchmarks.report.tables import MISSING, count
from smartworker.review.svg import Drawing

WIDTH = 880.0
ROW, BAR = 24.0, 14.0
TOP, FOOT = 84.0, 52.0
MARGIN = 16.0
#: From where to where the scale of each chart goes; figures stand to the right of it.
CHARTS = ((240.0, 490.0), (585.0, 795.0))
TENS = "each line is ten times the one before"
#: The most lines of an even scale beside its zero.
LINES = 5
STYLE = """
svg { --ground: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #d1d9e0;
  --ours: #1a7f37; --theirs: #8c959f; --limit: #cf222e;
  font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
@media (prefers-color-scheme: dark) {
  svg { --ground: #0d1117; --ink: #f0f6fc; --soft: #9198a1; --line: #3d444d;
    --ours: #3fb950; --theirs: #6e7681; --limit: #ff7b72; }
}
text { fill: var(--ink); paint-order: stroke; stroke: var(--ground); stroke-width: 4px;
  stroke-linejoin: round; }
.ground { fill: var(--ground); stroke: var(--line); }
.head { font-size: 15px; font-weight: 600; }
.ours-text { font-weight: 700; }
.soft { fill: var(--soft); font-size: 11px; }
.grid { stroke: var(--line); }
.ours { fill: var(--ours); }
.theirs { fill: var(--theirs); }
.limit { stroke: var(--limit); stroke-width: 1.5; stroke-dasharray: 5 3; }
.told { fill: var(--limit); font-size: 11px; }
"""


@dataclass(frozen=True)
class Bars:
    """A row: the name as shown, and a figure for each chart, None if unknown."""

    title: str
    values: tuple[float | None, float | None]
    ours: bool = False


@dataclass(frozen=True)
class Chart:
    """What its figures are; and a limit among them with its name, if there is one.

    `tens`: each line of the scale is ten times the one before, from 1 on; else the
    lines are evenly spaced, from 0 on.
    """

    head: str
    limit: float | None = None
    told: str = ""
    tens: bool = False

    def scale(self, most: float) -> list[int]:
        """What its lines stand for, the last at least `most`."""
        if self.tens:
            return [10**power for power in range(ceil(log10(max(most, 10))) + 1)]
        step = _round_step(most / LINES)
        return [step * line for line in range(max(ceil(most / step), 1) + 1)]

    def share(self, value: float, last: int) -> float:
        """Where a figure is on the way from the first line to the last, 0 to 1."""
        return log10(max(value, 1)) / log10(last) if self.tens else value / last


def drawn(title: str, charts: tuple[Chart, Chart], bars: Sequence[Bars]) -> str:
    """The whole file; `bars` in the order of the rows."""
    height = TOP + ROW * len(bars) + FOOT
    drawing = Drawing("cost", height, title, " ".join(_said(charts, bars)))
    _dress(drawing.root, height)
    drawing.box("ground", _x(0.5), 0.5, _x(WIDTH - 1), height - 1, round_by=6)
    drawing.text("head", _x(MARGIN), 30, title)
    for row, each in enumerate(bars):
        kind = "ours-text" if each.ours else "theirs-text"
        drawing.text(kind, _x(MARGIN), _foot(row), each.title)
    for index, chart in enumerate(charts):
        _chart(drawing, chart, index, bars)
    return f"{drawing}\n"


def _chart(drawing: Drawing, chart: Chart, index: int, bars: Sequence[Bars]) -> None:
    left, right = CHARTS[index]
    values = [each.values[index] for each in bars]
    scale = chart.scale(max([chart.limit or 0, *(value or 0 for value in values)]))

    def place(value: float) -> float:
        return left + chart.share(value, scale[-1]) * (right - left)

    drawing.text("soft", _x(left), 56, chart.head)
    foot = TOP + ROW * len(bars)
    for line in scale:
        x = _x(place(line))
        drawing.line("grid", (x, TOP - 8, x, foot))
        drawing.text("soft", x, foot + 16, _short(line), "middle")
    if chart.tens:
        drawing.text("soft", _x(left), foot + 36, TENS)
    for row, value in enumerate(values):
        if value is not None:
            kind = "ours" if bars[row].ours else "theirs"
            width = max(place(value) - left, 2)
            drawing.box(kind, _x(left), TOP + ROW * row, _x(width), BAR, round_by=2)
    if chart.limit is not None:
        x = _x(place(chart.limit))
        drawing.line("limit", (x, TOP - 8, x, foot))
        drawing.text("told", x, TOP - 12, chart.told, "middle")
    for row, value in enumerate(values):
        x = left if value is None else max(place(value), left + 2)
        kind = "ours-text" if bars[row].ours else "theirs-text"
        kind = "soft" if value is None else kind
        drawing.text(kind, _x(x + 6), _foot(row), _figure(value))


def _round_step(least: float) -> int:
    """The first of 1, 2, 5, 10, 20, 50... that is not less."""
    power: int = 10 ** floor(log10(max(least, 1)))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= least)


def _dress(root: Tree.Element, height: float) -> None:
    """A file of its own, not a part of a page: name space, size, style sheet."""
    root.set("xmlns", "http://www.w3.org/2000/svg")
    root.set("width", f"{WIDTH:g}")
    root.set("viewBox", f"0 0 {WIDTH:g} {height:g}")
    style = Tree.Element("style")
    style.text = STYLE
    root.insert(2, style)


def _said(charts: Sequence[Chart], bars: Sequence[Bars]) -> Iterator[str]:
    """The picture in words, for people who cannot see it."""
    for index, chart in enumerate(charts):
        limit = f" ({chart.told}: {count(chart.limit)})" if chart.limit else ""
        figures = (f"{bar.title} {_figure(bar.values[index])}" for bar in bars)
        yield f"{chart.head}{limit}: {', '.join(figures)}."


def _figure(value: float | None) -> str:
    return MISSING if value is None else count(round(value))


def _short(number: int) -> str:
    """`1`, `100`, `1.5K`, `10K`, `1M`."""
    for size, letter in ((1_000_000, "M"), (1000, "K")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return str(number)


def _x(pixels: float) -> float:
    """Drawings are measured in percent from left to right."""
    return pixels / WIDTH * 100


def _foot(row: int) -> float:
    """Where the letters of a row stand."""
    return TOP + ROW * row + BAR - 2.5
