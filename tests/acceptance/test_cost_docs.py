"""docs/costs.md: its commands are run, its figures hold."""

import re
import shlex
from datetime import date, timedelta
from pathlib import Path

import pytest

from smartworker.budget import simulate
from smartworker.durations import format_duration
from smartworker.events import EVENTS
from smartworker.policy import Policy
from smartworker.row_cost import MOST_FRESH
from smartworker.settings import LONGEST_QUIET_POLL, Settings
from smartworker.store.processes import MOST_GONE
from smartworker.variables import VARIABLES
from smartworker.worker.allowance import LEVELS
from smartworker.worker.clerk import LOOK_PAUSE
from tests.commands import run_command

PAGE = (Path(__file__).parents[2] / "docs" / "costs.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ smartworker (.+)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command(redis_url: str, command: str) -> None:
    """Each of them prints something and ends with exit status 0."""
    done = run_command(redis_url, *shlex.split(command))
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert done.stdout
    assert done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 80 or "--json" in command


def test_its_figures() -> None:
    """Those of the code."""
    assert len(COMMANDS) == 7
    assert f"| {MOST_FRESH} billed commands are not recorded yet |" in PAGE
    assert f"at most each {LOOK_PAUSE:g} s" in PAGE
    assert f"more than {MOST_GONE} processes are gone" in PAGE
    assert "At {} and at {} %".format(*LEVELS) in PAGE
    assert format_duration(LONGEST_QUIET_POLL) == "2h"
    assert "(2 hours)" in PAGE


@pytest.mark.parametrize(
    ("day", "running", "polls", "commands"),
    [
        ("2026-11-21", False, 402, 412),
        ("2026-11-21", True, 402, 410),
        ("2026-03-08", False, 400, 410),
        ("2026-11-01", False, 404, 414),
    ],
)
def test_its_idle_day(day: str, running: bool, polls: int, commands: int) -> None:
    """The plan's, which a worker's day on a real server is held against elsewhere."""
    policy = Policy(Settings().windows, Settings().quiet_poll)
    begin = date.fromisoformat(day)
    plan = simulate(
        policy,
        policy.windows.midnight(begin),
        policy.windows.midnight(begin + timedelta(days=1)),
        running=running,
    )
    assert (plan.polls, plan.commands) == (polls, commands)
    assert "412 commands. 402 are polls" in PAGE
    assert "10 are the row: 3 HGETALL and 7 HSET" in PAGE
    assert "runs already has 2 less" in PAGE
    assert "it is 410 and 414" in " ".join(PAGE.split())


def test_its_names() -> None:
    """Events and settings are those that there are."""
    words = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PAGE))
    assert words
    assert words <= EVENTS.keys()
    settings = set(re.findall(r"`(SMARTWORKER_[A-Z_]+)`", PAGE))
    assert settings <= {variable.name for variable in VARIABLES}
