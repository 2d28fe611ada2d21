"""`CONTRIBUTING.md`: what it names is there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import smartworker
from smartworker.cli import connection
from smartworker.cli.main import COMMANDS
from smartworker.cron import registry
from smartworker.events import EVENTS
from tests.programs import program
from tests.wheels import PROJECT

PAGE = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\$ (.+)$", PAGE, re.MULTILINE)
NAMED = sorted(set(re.findall(r"`([\w.-]*/[\w./-]+|[\w]+\.(?:md|txt|toml))`", PAGE)))


@pytest.mark.parametrize("path", NAMED)
def test_every_file_that_is_named_exists(path: str) -> None:
    """Here, in the package that is installed, or made by `make`."""
    inside = Path(smartworker.__file__).parent / path.removeprefix("smartworker/")
    assert (PROJECT / path).exists() or inside.exists() or path.startswith("build/")


def test_every_folder_of_tests_is_explained() -> None:
    """The levels are those that there are."""
    there = {
        f"tests/{found.parent.name}"
        for found in PROJECT.glob("tests/*/*.py")
        if found.parent.name != "__pycache__"
    }
    assert set(re.findall(r"^\| `(tests/\w+)` \|", PAGE, re.MULTILINE)) == there


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("make ")])
def test_make_has_the_target(line: str) -> None:
    """It says what it would do."""
    program("make")
    words = [*shlex.split(line), "--dry-run"]
    done = subprocess.run(
        words, cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_one_file_of_tests_runs() -> None:
    """The short way, with the interpreter that runs this test."""
    (line,) = [line for line in LINES if line.startswith(".venv/bin/pytest")]
    command = [sys.executable, "-m", *shlex.split(line.removeprefix(".venv/bin/"))]
    done = subprocess.run(
        [*command, "-q"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_examples_exist() -> None:
    """The command, the event and the names that the steps point at."""
    assert "rescue" in COMMANDS
    assert "worker_ready" in EVENTS
    assert {"app_option", "opened"} <= vars(connection).keys()
    assert {"Options", "Job", "_read"} <= vars(registry).keys()
