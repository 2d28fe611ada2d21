"""`SECURITY.md`: the tests that it names exist, and its figures are right."""

import ast
import re
from pathlib import Path

import pytest

import smartworker
from smartworker.credentials import SHORTEST_TOKEN
from smartworker.settings import Settings
from smartworker.web import bodies, limits, serve
from smartworker.web.dashboard.session import LASTS

ROOT = Path(__file__).parents[2]
# Where what is tested is installed: not in this folder when it is the wheel.
HOMES = {"tests": ROOT, "smartworker": Path(smartworker.__file__).parents[1]}
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`((?:tests|smartworker)/[\w/]+\.py)(?:::(\w+))?`", PAGE)
LINKS = re.findall(r"\]\(([\w/.]+\.md)\)", PAGE)


@pytest.mark.parametrize(("path", "test"), NAMED)
def test_what_holds_a_claim_exists(path: str, test: str) -> None:
    """A test that was renamed must not leave a claim without one."""
    home = HOMES[path.partition("/")[0]]
    tree = ast.parse((home / path).read_text(encoding="utf-8"))
    functions = {x.name for x in ast.walk(tree) if isinstance(x, ast.FunctionDef)}
    assert not test or test in functions


def test_every_defence_names_what_holds_it() -> None:
    """Each row of the table, and each link."""
    table = PAGE.partition("## What defends what")[2].partition("## What is not")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 15
    assert [row for row in rows if "`tests/" not in row.split("|")[3]] == []
    assert [link for link in LINKS if not (ROOT / link).is_file()] == []


def test_the_figures_are_those_of_the_code() -> None:
    """Limits, and what they let through in a day."""
    for figure in (
        f"{SHORTEST_TOKEN} characters or more",
        f"{limits.FAILURES_OF_ONE} failures a minute for an address",
        f"{limits.FAILURES_OF_ALL} for all",
        f"may ask for {limits.UNKNOWN_IDS_OF_ONE} unknown ids a minute",
        f"{limits.UNKNOWN_IDS_OF_ONE * 24 * 60:,} commands a day",
        f"may cause {Settings().trigger_limit:,} triggers a",
        f"{bodies.LARGEST_BODY // 1024} KiB, {bodies.DEADLINE_SECONDS:.0f} s",
        f"{bodies.DEEPEST} levels",
        f"{serve.MOST_CONNECTIONS:,} connections",
    ):
        assert figure in " ".join(PAGE.split()), figure
    assert LASTS == 30 * 24 * 3600
