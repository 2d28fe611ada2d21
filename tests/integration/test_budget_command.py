"""`smartworker budget`: what a month costs, for people and for programs."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from smartworker.cli import budget as budget_command
from smartworker.cli.main import main
from smartworker.rows import Row
from smartworker.store import processes
from smartworker.store.meter import is_billed
from smartworker.testing import ManualClock, commandstats
from tests.commands import environment

LESSONS = "smartworker.examples.lessons.app"
#: Runs in 30 days, and what one costs with the history in Redis. Those that come
#: no more than once an hour ask for the time, too.
PLAN = {
    "clean-up-sessions": (720, 10),
    "remind-of-bookings": (1_440, 9),
    "daily-analytics": (30, 10),
    "clean-up-notifications": (30, 10),
    "check-no-shows": (2_880, 9),
    "warm-availability": (8_640, 9),
    "check-health": (43_200, 9),
}
IDLE = 402 * 30
#: What recording it costs, at most one for 85 commands and no less than one for 89.
ROWS = 6_032
MID_NOVEMBER = datetime(2026, 11, 16, tzinfo=UTC)


def ask(
    *words: str, cwd: Path | None = None, **extra: str
) -> subprocess.CompletedProcess[str]:
    """The command without any server."""
    clean = environment("", **extra)
    clean.pop("REDIS_URL")
    clean.pop("DATABASE_URL", None)
    return subprocess.run(
        [sys.executable, "-m", "smartworker.cli.main", "budget", *words],
        env={**clean, **extra},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def facts(*words: str, **extra: Any) -> dict[str, Any]:
    """What it says to programs."""
    done = ask(*words, "--json", **extra)
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["over"] is bool(done.returncode)
    return found


def items(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The items by name."""
    return {item["name"]: item for item in found["items"]}


def test_the_seven_jobs_of_the_marketplace() -> None:
    """What each costs a month; together they are over the budget of a free plan."""
    found = facts("-A", LESSONS)
    each = items(found)
    assert each.pop("idle polls")["commands"] == IDLE
    assert each.pop("rows of the processes")["commands"] == ROWS
    assert {name: (row["runs"], row["each"]) for name, row in each.items()} == PLAN
    work = IDLE + sum(runs * cost for runs, cost in PLAN.values())
    assert work / 89 < ROWS < work / 85
    assert found["commands"] == work + ROWS == 531_332
    assert found["monthly_budget"] == 500_000
    assert found["over"] is True
    assert found["budget_share"] == pytest.approx(1.062664)
    shares = [row["budget_share"] for row in found["items"]]
    assert sum(shares) == pytest.approx(1.062664, abs=1e-5)


def test_the_history_in_a_database_is_a_command_less(tmp_path: Path) -> None:
    """For each run, which here is the difference between over and within.

    And less is recorded.
    """
    url = f"sqlite:///{tmp_path / 'lessons.sqlite3'}"
    found = facts("-A", LESSONS, DATABASE_URL=url)
    runs = sum(runs for runs, _ in PLAN.values())
    rows = items(found)["rows of the processes"]["commands"]
    assert rows == pytest.approx(ROWS - runs / 89, rel=0.01)
    assert found["commands"] == 531_332 - ROWS - runs + rows
    assert found["over"] is False


def test_a_person_sees_a_table() -> None:
    """In 80 columns: each item, the total, and what it means."""
    done = ask("-A", LESSONS)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    (health,) = (line for line in lines if line.startswith("check-health"))
    assert health.split("  ")[-1].strip() == "77.8 %"
    assert "388,800" in health
    assert lines[-3:] == [
        "That is 31,332 more than",
        "the budget of 500,000 commands (SMARTWORKER_MONTHLY_BUDGET).",
        "The most goes to check-health: 77.8 % of the budget.",
    ]


def test_within_the_budget_is_exit_status_0() -> None:
    """The budget is the setting."""
    done = ask("-A", LESSONS, SMARTWORKER_MONTHLY_BUDGET="1000000")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == [
        "That is 53.1 % of",
        "the budget of 1,000,000 commands (SMARTWORKER_MONTHLY_BUDGET).",
    ]


def test_the_ready_made_app_and_other_tasks() -> None:
    """Workers poll each by themselves; tasks cost four and their leases."""
    alone = facts()
    assert items(alone)["idle polls"]["commands"] == IDLE
    two = facts("--workers", "2", "--tasks", "100")
    assert items(two)["idle polls"]["commands"] == 2 * IDLE
    tasks = items(two)["tasks"]
    assert tasks["runs"] == 3_000
    assert 12_000 < tasks["commands"] < 22_000


SHOP = """
from celery import Celery
import smartworker

jobs = smartworker.Jobs()
jobs.declare("plain", "shop.plain", schedule="0 0 * * *")
jobs.declare("tracked", "shop.tracked", schedule="0 0 * * *")
jobs.declare("silent", "shop.silent", schedule="0 0 * * *")
jobs.declare("called", "shop.plain")
app = smartworker.setup(Celery("shop", include=["deeds"]), jobs=jobs)
"""
DEEDS = """
import smartworker
from shop import app


@app.task(name="shop.plain")
def plain(): ...


@app.task(name="shop.tracked", base=smartworker.Task)
def tracked(): ...


@app.task(name="shop.silent", ignore_result=True)
def silent(): ...
"""


def test_a_run_costs_what_its_task_stores(tmp_path: Path) -> None:
    """STARTED is one more, no result one less; a job without schedule has no month."""
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "deeds.py").write_text(DEEDS)
    done = ask("-A", "shop", "--json", cwd=tmp_path)
    each = items(json.loads(done.stdout))
    costs = {name: row["each"] for name, row in each.items()}
    assert costs == {
        "idle polls": 1,
        "rows of the processes": None,
        "plain": 10,
        "tracked": 11,
        "silent": 9,
        "called": 10,
    }
    assert each["called"]["commands"] is None
    assert "when called" in ask("-A", "shop", cwd=tmp_path).stdout


def test_tasks_that_cannot_be_imported_are_one_sentence(tmp_path: Path) -> None:
    """Exit status 78; nothing is guessed."""
    (tmp_path / "shop.py").write_text(SHOP)
    done = ask("-A", "shop", cwd=tmp_path)
    assert done.returncode == 78
    assert done.stderr == (
        "smartworker: The tasks of 'shop' cannot be imported: ModuleNotFoundError: No "
        "module named 'deeds'.\n"
    )


# -- with a server ---------------------------------------------------------------------


def row(name: str, **changes: Any) -> Row:
    """A worker of November that has run one of the marketplace's jobs."""
    made = Row(
        id=name,
        kind="worker",
        name=f"celery@{name}",
        started="2026-11-01T00:00:00+00:00",
        written="2026-11-15T23:00:00+00:00",
        month="2026-11",
        commands={"poll": 6_000, "take": 1_000, "done": 900, "publish": 500},
        messages={"done": 900, "published": 500},
        runs={"clean-up-sessions": {"succeeded": 300, "failed": 10, "retried": 2}},
        before={"2026-10": 11_000},
    )
    return replace(made, **changes)


@pytest.fixture
def month(redis_url: str) -> Callable[..., Any]:
    """The command in the middle of November, on a server with two rows."""
    with redis.Redis.from_url(redis_url) as client:
        processes.write(client, row("a"))
        web = row("w", kind="web", commands={"publish": 70}, messages={}, runs={})
        processes.write(client, replace(web, before={}))
        client.config_resetstat()
    return partial(_ask_server, redis_url)


def _ask_server(url: str, *words: str, **settings: str) -> Any:
    clean = {"REDIS_URL": url, "COLUMNS": "80", **settings}
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("SMARTWORKER_")]:
            patch.delenv(name)
        for name, value in clean.items():
            patch.setenv(name, value)
        # It read its settings when it was imported.
        patch.delitem(sys.modules, LESSONS, raising=False)
        patch.delattr(LESSONS, raising=False)
        patch.setattr(budget_command, "system_clock", ManualClock(MID_NOVEMBER))
        return CliRunner().invoke(main, ["budget", "-A", LESSONS, *words])


def test_the_month_as_it_was_recorded(month: Any, redis_url: str) -> None:
    """By cause, by job, by kind of process; one command of the server."""
    done = month("--json")
    found = json.loads(done.stdout)
    assert found["by_cause"] == {
        "done": 900,
        "poll": 6_000,
        "publish": 570,
        "take": 1_000,
    }
    assert found["spent"] == 8_470
    assert found["by_process"] == {"web": 70, "worker": 8_400}
    (job,) = found["by_job"]
    assert (job["name"], job["runs"], job["failed"], job["commands"]) == (
        *("clean-up-sessions", 312, 10),
        3_120,
    )
    assert found["foreign_estimate"] == 400
    assert found["month_before"] == 11_000
    assert found["workers"] == 1
    with redis.Redis.from_url(redis_url) as client:
        counts = commandstats(client)
    billed = {name: n for name, n in counts.items() if is_billed(name)}
    billed = {n: c for n, c in billed.items() if not n.startswith("client|")}
    assert billed == {"hgetall": 1}


def test_the_forecast_is_plan_and_measure(month: Any) -> None:
    """Half a month of polls, the jobs' schedules, and other work as before."""
    found = json.loads(month("--json").stdout)
    come = found["to_come"]
    assert come["polls"] == pytest.approx(15 * 402, abs=20)
    assert come["jobs"]["daily-analytics"] == 15 * 10
    # 8,470 without the polls and the job's own 3,120 is nothing: less than nothing is
    # left for other work, beside what strangers published.
    assert come["other"] == 400
    jobs = sum(come["jobs"].values())
    assert come["row"] == pytest.approx((come["polls"] + jobs) / 86, rel=0.05)
    total = 8_470 + 400 + come["polls"] + come["row"] + jobs + 400
    assert found["forecast"] == total
    assert found["over"] is False


def test_over_the_budget_is_exit_status_1(month: Any) -> None:
    """With the day on which it is used up."""
    assert month("--json").exit_code == 0
    over = month(SMARTWORKER_MONTHLY_BUDGET="20000")
    assert over.exit_code == 1
    assert over.stdout.splitlines()[-2:] == [
        "On 16 November this uses up",
        "the budget of 20,000 commands (SMARTWORKER_MONTHLY_BUDGET).",
    ]


def test_a_person_reads_the_month_in_80_columns(month: Any) -> None:
    """What was spent, on what, and how it will end."""
    lines = month().stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "November 2026 in UTC, until 16 Nov 00:00."
    text = "\n".join(lines)
    assert "By kind of process: web 70, worker 8,400." in text
    assert "Other producers published about 400 messages (an estimate)." in text
    assert "The month before: 11,000." in text
    assert lines[-1] == "the budget of 500,000 commands (SMARTWORKER_MONTHLY_BUDGET)."


def test_offline_asks_nobody(month: Any, redis_url: str) -> None:
    """The plan alone, as where no broker is set."""
    done = month("--offline", "--json")
    assert "spent" not in json.loads(done.stdout)
    with redis.Redis.from_url(redis_url) as client:
        assert "hgetall" not in commandstats(client)


def test_measured_tasks_cannot_be_given(month: Any) -> None:
    """--tasks is a question to the plan."""
    done = month("--tasks", "5")
    assert done.exit_code == 2
    assert "--tasks goes with --offline" in done.stderr
