"""A table as a value, and its two forms: markdown for a page, rich for a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill

from rich.console import JustifyMethod
from rich.table import Table as Printed

#: What stands where a measure never ran, and where one figure among others is missing.
MISSING, DASH = "not measured", "\N{EN DASH}"
#: Characters up to which what a row is about stays in one line.
NAME = 30


@dataclass(frozen=True)
class Table:
    """Rows of finished cells under a title; the note says how to read them."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def markdown(self) -> str:
        """For GitHub: the first column to the left, the figures to the right."""
        rule = ["---", *["--:"] * (len(self.columns) - 1)]
        lines = [_line(row) for row in (self.columns, rule, *self.rows)]
        return "\n".join([*lines, *(["", fill(self.note, 88)] if self.note else [])])

    def printed(self) -> Printed:
        """For a terminal; what was missed is red."""
        found = Printed(title=self.title, caption=self.note, title_justify="left")
        for index, column in enumerate(self.columns):
            side: JustifyMethod = "right" if index else "left"
            names = not index and all(len(row[0]) <= NAME for row in self.rows)
            # A word that is too long goes on in the next line, for `…` tells nothing.
            found.add_column(column, justify=side, overflow="fold", no_wrap=names)
        for row in self.rows:
            found.add_row(*row, style="red" if "MISSED" in row else None)
        return found


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def count(value: float | None) -> str:
    """`142,272`, `4`, `3.05`: decimals only where they say something."""
    if value is None:
        return DASH
    if abs(value) >= 100 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def exact(value: float | None) -> str:
    """Up to three decimals: what is just above its limit must not look like it."""
    return MISSING if value is None else f"{value:,.3f}".rstrip("0").rstrip(".")


def times(value: float | None) -> str:
    """A ratio with two significant digits: `0.097`, `1`, `5.3`, `34,000`."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def ms(value: float | None) -> str:
    """Milliseconds: `3.1 ms`, `108 ms`."""
    if value is None:
        return DASH
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def seconds(value: float | None) -> str:
    """`0.14 s`, `5.7 s`."""
    return DASH if value is None else f"{value:,.2g} s"


def megabytes(size: float | None) -> str:
    """Bytes as `81.7 MB`, of a million bytes."""
    return DASH if size is None else f"{size / 1e6:,.1f} MB"
