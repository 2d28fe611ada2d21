"""Raw numbers in; tables on the terminal and in two pages, and a picture, out."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console

from benchmarks.lab.facts import Facts
from benchmarks.lab.results import RESULTS
from benchmarks.report import bill, commands, goals, growth, speed, summary
from benchmarks.report.tables import Table

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"
DETAILS = ROOT / "benchmarks" / "README.md"
PICTURE = ROOT / "docs" / "pictures" / "cost.svg"
#: Characters of a line in a log, where nobody says how many there are.
WIDTH = 120
#: In the order of `python -m benchmarks`.
FIGURES = (
    commands.idle,
    commands.tasks,
    growth.tables,
    commands.day,
    bill.tables,
    speed.footprint,
    speed.pickup,
    speed.throughput,
)


def write(folder: Path) -> None:
    """Show what the files of a folder say; the repository's own also go to its pages.

    Rough numbers are only shown.
    """
    facts = Facts.of(folder)
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    for table in tables(facts):
        console.print(table.printed(), "")
    if folder.resolve() == RESULTS.resolve() and not facts.quick:
        for path, text in pages(facts).items():
            path.write_text(text, encoding="utf-8")


def tables(facts: Facts) -> Iterator[Table]:
    """All of them, the goals last."""
    for group in FIGURES:
        yield from group(facts)
    yield from summary.tables(facts)
    yield goals.table(facts)


def pages(facts: Facts) -> Mapping[Path, str]:
    """What the pages and the picture are to hold, whole."""
    costs, ratios = (table.markdown() for table in summary.tables(facts))
    details = filled(DETAILS.read_text(encoding="utf-8"), "goals", _goals(facts))
    details = filled(details, "ratios", ratios)
    return {
        DETAILS: filled(details, "figures", _figures(facts)),
        README: filled(README.read_text(encoding="utf-8"), "costs", costs),
        PICTURE: summary.picture(facts),
    }


def filled(page: str, name: str, text: str) -> str:
    """The page with `text` between `<!-- name -->` and `<!-- /name -->`.

    Raises ValueError where the page has not both of them.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    before, opened, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (opened and closed):
        raise ValueError(f"the page has no {begin.strip()} with its end")
    return f"{before}{begin}\n{text.strip()}\n\n{end}{after}"


def _goals(facts: Facts) -> str:
    return goals.table(facts).markdown()


def _figures(facts: Facts) -> str:
    found = (table for group in FIGURES for table in group(facts))
    parts = [f"### {table.title}\n\n{table.markdown()}" for table in found]
    return "\n\n".join([*parts, _measured_on(facts)])


def _measured_on(facts: Facts) -> str:
    found = facts.machine
    if not found:
        return ""
    said = ", ".join(f"{name} {value}" for name, value in found.items())
    return f"Measured on: {said}."
