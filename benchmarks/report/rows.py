"""Tables with a row for each peer."""

from collections.abc import Callable, Mapping

from benchmarks.lab.facts import Facts
from benchmarks.report.tables import MISSING, Table

Cell = Callable[[str], str]


def by_peer(
    facts: Facts,
    measure: str,
    title: str,
    cells: Mapping[str, Cell],
    note: str = "",
    having: str | None = None,
) -> Table:
    """A row for each peer of a measure, a cell for each head.

    Whoever could not be measured has the reason instead; a measure that never ran has
    one row that says so. `having` leaves out those of whom this part is missing, so a
    measure's first table does without it.
    """
    rows = []
    for name, shown in facts.peers(measure):
        why = facts.why_not(measure, name)
        if having is not None and facts.at(measure, name, having) is None:
            continue
        if why is not None:
            rows.append((shown, why, *[""] * (len(cells) - 1)))
        else:
            rows.append((shown, *(cell(name) for cell in cells.values())))
    blank = (MISSING, *[""] * len(cells))
    return Table(title, ("", *cells), rows or [blank], note)


def excuses(facts: Facts, measure: str) -> str:
    """Why peers could not be measured: a note for tables that have no row for each."""
    found = (
        (shown, facts.why_not(measure, name)) for name, shown in facts.peers(measure)
    )
    return " ".join(f"{shown}: {why}." for shown, why in found if why is not None)
