"""The tables of the bill: a row for each user, a column for each program."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.lab.facts import Facts
from benchmarks.report.rows import excuses
from benchmarks.report.tables import DASH, MISSING, Table, count

Month = Mapping[str, Any]


def tables(facts: Facts) -> Iterator[Table]:
    """A month's commands with their price, and how many tasks are free."""
    yield _users(
        facts,
        "A month of five users: commands, and dollars at Upstash",
        lambda month: f"{count(month['commands'])} ({_price(month)})",
    )
    yield _users(
        facts,
        "Tasks a month up to which these users pay nothing",
        lambda month: count(month["free_until"]),
    )


def _users(facts: Facts, title: str, cell: Callable[[Month], str]) -> Table:
    peers = list(facts.peers("bill"))
    users = dict.fromkeys(
        user for name, _ in peers for user in facts.at("bill", name, "users") or ()
    )
    names = [name for name, _ in peers]
    rows = [
        (user, *(_cell(facts, name, user, cell) for name in names)) for user in users
    ]
    blank = (MISSING, *[""] * len(peers))
    columns = ("", *(shown for _, shown in peers))
    return Table(title, columns, rows or [blank], excuses(facts, "bill"))


def _cell(facts: Facts, peer: str, user: str, cell: Callable[[Month], str]) -> str:
    month = facts.at("bill", peer, "users", user)
    return DASH if month is None else cell(month)


def _price(month: Month) -> str:
    return "free" if not month["dollars"] else f"${month['dollars']:.2f}"
