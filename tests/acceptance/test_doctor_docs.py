"""docs/doctor.md: its table of findings, and its commands."""

import ast
import re
from pathlib import Path

import pytest

import smartworker
from smartworker.store.bill import bill_cost
from tests.commands import run_command

PAGE = (Path(__file__).parents[2] / "docs/doctor.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ smartworker (.+)$", PAGE, re.MULTILINE)
TABLE = PAGE.partition("## ")[0]
LISTED = re.findall(
    r"`([^`]+)`", "".join(re.findall(r"^\|(.+?)\|", TABLE, re.MULTILINE))
)
#: The subjects that an endpoint names.
ENDPOINTS = {"broker", "result backend"}


def subjects() -> set[str]:
    """The second argument of each finding in the code."""
    found = set()
    for path in (Path(smartworker.__file__).parent / "doctor").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding":
                subject = node.args[1]
                if isinstance(subject, ast.Constant):
                    found.add(str(subject.value))
    return found


def test_the_table_has_each_finding() -> None:
    """No more and no less, each once."""
    assert sorted(LISTED) == sorted(subjects() | ENDPOINTS)


def test_the_page_is_short() -> None:
    """It is read when something is wrong."""
    assert len(PAGE.splitlines()) <= 76


def test_the_cost_of_the_bill_is_right() -> None:
    """As the command would name it."""
    assert "`--bill 1000`" in PAGE
    assert f"{bill_cost(1000):,} for 1,000." in PAGE


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_answer(line: str, redis_url: str) -> None:
    """On a server that writes nothing to its disk, which is critical."""
    done = run_command(redis_url, *line.split())
    assert done.returncode == (0 if "--probe" in line else 3), done.stderr
    assert done.stdout.strip()
