"""Building blocks of inline SVG: escaped and well formed by construction.

Widths are in percent of the drawing and heights in pixels, so a chart fits a phone and
a desk while its letters keep their size. Colours are classes of the page's style sheet.
"""

from collections.abc import Iterable
from xml.etree import ElementTree as Tree

#: What XML 1.0 cannot hold, not even escaped.
_UNPRINTABLE = {
    code: "\N{REPLACEMENT CHARACTER}"
    for code in (*range(32), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF)
    if code not in (0x09, 0x0A, 0x0D)
}


class Drawing:
    """A picture that says what it shows, to people who cannot see it as well."""

    def __init__(self, name: str, height: float, title: str, told: str) -> None:
        """`name` is unique in the page; `told` is what a viewer would read off it."""
        self.root = Tree.Element(
            "svg",
            {
                "role": "img",
                "width": "100%",
                "height": _number(height),
                "aria-labelledby": f"{name}-title {name}-desc",
            },
        )
        for tag, text in (("title", title), ("desc", told)):
            Tree.SubElement(self.root, tag, {"id": f"{name}-{tag}"}).text = plain(text)

    def box(
        self,
        kind: str,
        x: float,
        y: float,
        width: float,
        height: float,
        tip: str = "",
        round_by: float = 0,
    ) -> None:
        """A rectangle: x and width in percent, y and height in pixels."""
        found = Tree.SubElement(
            self.root,
            "rect",
            {
                "class": kind,
                "x": f"{_number(x)}%",
                "y": _number(y),
                "width": f"{_number(width)}%",
                "height": _number(height),
            },
        )
        if round_by:
            found.set("rx", _number(round_by))
        if tip:
            Tree.SubElement(found, "title").text = plain(tip)

    def line(self, kind: str, ends: Iterable[float]) -> None:
        """A line: x1 and x2 in percent, y1 and y2 in pixels."""
        x1, y1, x2, y2 = ends
        Tree.SubElement(
            self.root,
            "line",
            {
                "class": kind,
                "x1": f"{_number(x1)}%",
                "y1": _number(y1),
                "x2": f"{_number(x2)}%",
                "y2": _number(y2),
            },
        )

    def text(self, kind: str, x: float, y: float, text: str, anchor: str = "") -> None:
        """Words with their foot at y; `anchor` is start, middle or end."""
        found = Tree.SubElement(
            self.root, "text", {"class": kind, "x": f"{_number(x)}%", "y": _number(y)}
        )
        if anchor:
            found.set("text-anchor", anchor)
        found.text = plain(text)

    def __str__(self) -> str:
        return Tree.tostring(self.root, encoding="unicode")


def plain(text: str) -> str:
    """Text without the characters that no XML document may hold."""
    return text.translate(_UNPRINTABLE)


def _number(value: float) -> str:
    """At most three decimals, which is less than a pixel, and no needless zeros."""
    return f"{value:.3f}".rstrip("0").rstrip(".")
