"""Writes the table of docs/configuration.md: run it after a change of the settings."""

from collections.abc import Iterator
from pathlib import Path

from smartworker.environment import Variable
from smartworker.variables import VARIABLES

PAGE = Path(__file__).parent / "configuration.md"
BEGIN, END = "<!-- settings -->\n", "<!-- /settings -->\n"


def table() -> str:
    """The table, as it stands in the page."""
    return "\n".join([*_rows(), ""])


def renewed(page: str) -> str:
    """The page with the table as it is now. Raises ValueError without the marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name} has no {BEGIN.strip()} with its end.")
    return before + BEGIN + "\n" + table() + "\n" + END + after


def _rows() -> Iterator[str]:
    yield "| variable | default | meaning |"
    yield "| --- | --- | --- |"
    for variable in VARIABLES:
        yield f"| {_name(variable)} | {_default(variable)} | {variable.meaning} |"


def _name(variable: Variable) -> str:
    formerly = [f"formerly `{name}`" for name in variable.former]
    notes = ", ".join([*(["secret"] if variable.secret else []), *formerly])
    return f"`{variable.name}`" + (f" ({notes})" if notes else "")


def _default(variable: Variable) -> str:
    return f"`{variable.default}`" if variable.default else variable.unset


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
