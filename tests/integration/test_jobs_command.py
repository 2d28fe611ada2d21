"""`smartworker jobs`, `trigger`, `pause` and `resume` on a real server."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from smartworker.budget import run_commands
from smartworker.store import jobs as store
from smartworker.store.meter import is_billed
from smartworker.store.runs import RunRecord, add
from smartworker.testing import commandstats
from tests.commands import environment, run_command
from tests.integration.conftest import Counter, StartWorker

HERE = Path(__file__).parent
PROJECT = {"PYTHONPATH": str(HERE), "SMARTWORKER_TASKS": "nightshift"}
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """The operator's client."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as made:
        yield made


def run(url: str, *words: str, status: int = 0, **extra: str) -> str:
    """What a command of the project prints."""
    done = run_command(url, *words, **PROJECT, **extra)
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout or done.stderr


def facts(url: str, *words: str, **more: Any) -> Any:
    """What it prints for programs."""
    return json.loads(run(url, *words, "--json", **more))


def by_name(url: str, *words: str) -> dict[str, Any]:
    """The jobs, by name."""
    return {each["name"]: each for each in facts(url, "jobs", *words)}


# -- jobs ------------------------------------------------------------------------------


def test_jobs_for_programs(redis_url: str) -> None:
    """An array with everything that was declared, times in UTC."""
    jobs = by_name(redis_url)
    assert list(jobs) == ["report", "refresh", "add", "fail"]
    report = jobs["report"]
    due = datetime.fromisoformat(report.pop("next_due"))
    assert due > datetime.now(UTC)
    assert report.pop("month_commands") in (14 * runs for runs in range(20, 24))
    assert report == {
        "name": "report",
        "task": "nightshift.report",
        "description": "Yesterday in numbers.",
        "schedule": "30 21 * * mon-fri",
        "zone": "America/New_York",
        "state": "never ran",
        "paused_since": None,
        "last_run": None,
        "run_commands": 14,
        "only_when_due": True,
        "overlap": "skip",
        "catch_up": "skip",
    }
    assert jobs["refresh"]["month_commands"] == 9 * 4 * 24 * 30
    assert jobs["add"]["month_commands"] is None
    assert jobs["add"]["next_due"] is None


@pytest.mark.parametrize("columns", [80, 100])
def test_jobs_for_people(redis_url: str, client: Any, columns: int) -> None:
    """A row for each job, in as many columns as there are."""
    started = datetime.now(UTC) - timedelta(hours=3)
    add(
        client,
        RunRecord(
            job="fail",
            slot="2026-01-01T00:00:00Z",
            task_id="x",
            trigger="http",
            state="FAILURE",
            started=started.isoformat(),
            seconds=75.5,
            error="ValueError: \x1b[31mfire",
        ),
    )
    text = run(redis_url, "jobs", COLUMNS=str(columns))
    lines = text.splitlines()
    assert max(map(len, lines)) <= columns
    words = ["Job", "State", "Last", "run", "Next", "due", "Commands"]
    assert lines[0].split() == words
    (first, *_) = [line for line in lines if line.startswith("report")]
    assert "never ran" in first
    assert first.rstrip().endswith(" a month")
    assert "30 21 * * mon-fri" in text
    assert "America/New_York" in text
    (fail,) = [line for line in lines if line.startswith("fail ")]
    assert fail.split()[1:4] == ["failed", "3h", "ago"]
    assert "took 1m" in text
    assert "fail: ValueError: \\x1b[31mfire" in text
    assert "\x1b" not in text
    assert lines[-1].startswith("4 jobs, ")


def test_offline() -> None:
    """The declarations alone, without any server."""
    jobs = by_name(NOWHERE, "--offline")
    assert jobs["report"]["state"] is None
    assert jobs["report"]["run_commands"] == 14
    assert "30 21 * * mon-fri" in run(NOWHERE, "jobs", "--offline")


def test_no_server() -> None:
    """Each of the commands says so in a sentence, with exit status 69."""
    for words in (["jobs"], ["trigger", "fail"], ["pause", "fail"], ["resume", "fail"]):
        text = run(NOWHERE, *words, status=69)
        assert "cannot be reached" in text


def test_no_jobs(redis_url: str) -> None:
    """An app without jobs is told where they are declared."""
    empty = {**PROJECT, "SMARTWORKER_TASKS": "stock"}
    done = run_command(redis_url, "jobs", "-A", "project:app", **empty)
    assert done.returncode == 0
    assert done.stdout.startswith("No job is declared")
    assert run_command(
        redis_url, "jobs", "-A", "project:app", "--json", **empty
    ).stdout.split() == ["[]"]


def test_what_jobs_costs(redis_url: str, client: Any) -> None:
    """2 commands and 1 for each job, as the help says."""
    store.load(client)
    client.config_resetstat()
    run(redis_url, "jobs")
    counts = {k: v for k, v in commandstats(client).items() if is_billed(k)}
    assert counts == {"hgetall": 1, "mget": 1, "xrevrange": 4}


def test_more_workers_look(redis_url: str) -> None:
    """A worker that has not run a slot asks once for it."""
    alone, three = by_name(redis_url), by_name(redis_url, "--workers", "3")
    assert three["refresh"]["run_commands"] == alone["refresh"]["run_commands"] + 2
    assert three["add"]["run_commands"] == alone["add"]["run_commands"]


# -- trigger ---------------------------------------------------------------------------


def test_trigger(redis_url: str, client: Any) -> None:
    """The task is queued with the record of its run, and the answer says how to see."""
    text = run(redis_url, "trigger", "report")
    assert text.startswith("report is queued as task ")
    task_id = text.split()[5].rstrip(".")
    record = json.loads(client.get(f"celery-task-meta-{task_id}"))
    assert record["status"] == "QUEUED"
    assert record["run"]["trigger"] == "command"
    assert f"GET /api/tasks/{task_id}" in text
    assert client.llen("celery") == 1
    assert by_name(redis_url)["report"]["state"] == "running"


def test_trigger_with_a_key(redis_url: str, client: Any) -> None:
    """Once for each key; the same key with other parameters is refused."""
    words = ["trigger", "add", "--key", "release-7", "--param", "x=1", "--param"]
    first = facts(redis_url, *words, "y=2")
    again = facts(redis_url, *words, "y=2")
    assert first["task_id"] == again["task_id"]
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert client.llen("celery") == 1
    text = run(redis_url, *words, "y=3", status=1)
    assert "This key was used before with other parameters" in text
    assert "was queued before" in run(redis_url, *words, "y=2")


def test_trigger_while_another_runs(redis_url: str, client: Any) -> None:
    """A job that must not overlap is not queued twice; that is no error."""
    client.set("smartworker:running:report", "another")
    assert facts(redis_url, "trigger", "report")["reason"] == "overlapping"
    text = run(redis_url, "trigger", "report", "--wait", "1")
    assert text == "Another run of report is not done, so nothing was queued.\n"
    assert client.llen("celery") == 0


def test_trigger_while_paused(redis_url: str, client: Any) -> None:
    """A person asked, so it runs; but it is said."""
    run(redis_url, "pause", "fail")
    text = run(redis_url, "trigger", "fail")
    assert "It is paused since " in text
    assert client.llen("celery") == 1


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["reprt"], 1, "No job is called 'reprt': did you mean 'report'?"),
        (["add", "--param", "x=1"], 2, "y is missing"),
        (["add", "--param", "x=one", "--param", "y=2"], 2, "x must be"),
        (["add", "--param", "x"], 2, "is not written as NAME=VALUE"),
        (["add", "--param", "x=[1", "--param", "y=2"], 2, "is no JSON"),
        (["fail", "--param", "z=1"], 2, "z is no parameter of fail"),
        (["fail", "--wait", "0"], 2, "0"),
        (["fail", "--key", ""], 2, "a key has 1 to 255 printable ASCII characters."),
        (["fail", "--key", "k" * 256], 2, "a key has 1 to 255"),
        (["fail", "--key", "\x1b"], 2, "a key has 1 to 255"),
        (["zebra"], 1, "No job is called 'zebra'. `smartworker jobs` lists those"),
    ],
)
def test_wrong_triggers(
    redis_url: str, client: Any, words: list[str], status: int, sentence: str
) -> None:
    """One sentence, and nothing is queued."""
    text = " ".join(run(redis_url, "trigger", *words, status=status).split())
    assert sentence in text
    assert client.keys("celery*") == []


@pytest.mark.slow
def test_trigger_and_wait(redis_url: str, start_worker: StartWorker) -> None:
    """The result, or exit status 1 with the error; the history has both."""
    worker = start_worker(
        "-P", "solo", app="smartworker.app", SMARTWORKER_TASKS="nightshift"
    )
    worker.wait_for("worker_ready")
    words = ["add", "--param", "x=1", "--param", "y=2"]
    assert "It is done: 3" in run(redis_url, "trigger", *words, "--wait", "20")
    failed = facts(redis_url, "trigger", "fail", "--wait", "20", status=1)
    assert failed["state"] == "FAILURE"
    assert failed["error"] == "ValueError: the printer is on fire"
    jobs = by_name(redis_url)
    assert (jobs["add"]["state"], jobs["fail"]["state"]) == ("ok", "failed")
    last = jobs["fail"]["last_run"]
    assert (last["state"], last["trigger"]) == ("FAILURE", "command")
    assert last["error"].startswith("ValueError: the printer is on fire")
    assert last["task_id"] == failed["task_id"]


def test_trigger_and_wait_in_vain(redis_url: str) -> None:
    """Without a worker time is up, and it says where the task is."""
    done = run_command(redis_url, "trigger", "fail", "--wait", "0.2", **PROJECT)
    assert done.returncode == 1
    assert "It is not done yet (its state is QUEUED)" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("name", "overlap"), [("fail", False), ("report", True)])
def test_what_a_run_costs(
    redis_url: str,
    start_worker: StartWorker,
    counter: Counter,
    name: str,
    overlap: bool,
) -> None:
    """The server counts what the table of the budget says."""
    worker = start_worker(
        "-P", "solo", app="smartworker.app", SMARTWORKER_TASKS="nightshift"
    )
    worker.wait_for("worker_ready")
    run(redis_url, "jobs")
    counter.all()
    run(redis_url, "trigger", name)
    worker.wait_for("task_failed" if name == "fail" else "task_finished")
    assert worker.stop() == 0
    counts = counter.billed()
    # Of the command itself: who is paused, and the secret of the ids.
    assert counts.pop("hgetall") == 1
    # The worker's last row, and its own work beside the run.
    assert counts.pop("hset") == 1
    for other in ("exists", "zrange"):
        counts.pop(other, None)
    table = run_commands(overlap=overlap).values()
    flat = [command.lower() for commands in table for command in commands]
    assert counts == {command: flat.count(command) for command in flat}


# -- where the modules are -------------------------------------------------------------


def installed(url: str, home: Path, *words: str, **extra: str) -> Any:
    """The installed command as a person calls it, in a directory with modules."""
    env = environment(url, **{"SMARTWORKER_TASKS": "mine", **extra})
    env.pop("PYTHONPATH", None)
    command = Path(sys.executable).with_name("smartworker")
    done = subprocess.run(
        [command, *words],
        env=env,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_modules_of_the_current_directory(redis_url: str, tmp_path: Path) -> None:
    """Unlike `python -m`, the installed command does not have it in its path."""
    (tmp_path / "mine.py").write_text("")
    declaring = "jobs.declare('tea', 'mine.tea', schedule='0 16 * * *')"
    (tmp_path / "jobs.py").write_text(f"def declare(jobs):\n    {declaring}\n")
    for words in (["jobs"], ["trigger", "tea"], ["pause", "tea"], ["cron", "crontab"]):
        done = installed(redis_url, tmp_path, *words)
        assert done.returncode == 0, done.stderr
        assert "tea" in done.stdout


@pytest.mark.parametrize("command", ["jobs", "web"])
@pytest.mark.parametrize("module", ["nowhere", "nowhere.tasks"])
def test_a_module_that_is_not_there(
    redis_url: str, tmp_path: Path, command: str, module: str
) -> None:
    """One sentence, exit status 78."""
    done = installed(redis_url, tmp_path, command, SMARTWORKER_TASKS=module)
    assert done.returncode == 78
    assert done.stderr == (
        f"smartworker: SMARTWORKER_TASKS names {module!r}, and there is no 'nowhere'.\n"
    )


# -- pause and resume ------------------------------------------------------------------


def test_pause_and_resume(redis_url: str, client: Any) -> None:
    """Both tell what happened, and a second time change nothing."""
    news = client.pubsub(ignore_subscribe_messages=True)
    news.subscribe("smartworker:news")
    news.get_message(timeout=1)
    assert run(redis_url, "resume", "refresh") == "refresh was not paused.\n"
    assert run(redis_url, "pause", "refresh").startswith("refresh is paused:")
    since = client.hget("smartworker:jobs", "paused:refresh")
    again = run(redis_url, "pause", "refresh")
    assert again == f"refresh is paused already, since {since}.\n"
    assert by_name(redis_url)["refresh"]["state"] == "paused"
    told = facts(redis_url, "pause", "refresh")
    assert told == {
        "job": "refresh",
        "state": "paused",
        "since": since,
        "changed": False,
    }
    assert run(redis_url, "resume", "refresh").startswith("refresh runs again")
    assert not client.hexists("smartworker:jobs", "paused:refresh")
    told = facts(redis_url, "resume", "refresh")
    assert told == {"job": "refresh", "state": "active", "changed": False}
    heard = []
    while message := news.get_message(timeout=1):
        heard.append(json.loads(message["data"]))
    news.close()
    assert [each["paused"] for each in heard] == [since, None]


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_an_unknown_job(redis_url: str, command: str) -> None:
    """The nearest name is suggested; without one, where to look."""
    text = run(redis_url, command, "zebra", "-A", "smartworker.app", status=1)
    assert "`smartworker jobs -A smartworker.app` lists those" in text
    assert "did you mean 'refresh'?" in run(redis_url, command, "refrsh", status=1)


def test_the_command_that_ends_a_pause(redis_url: str) -> None:
    """It is printed as it must be typed, with -A for an app of one's own."""
    text = run(redis_url, "pause", "fail", "-A", "smartworker.app")
    assert "`smartworker resume fail -A smartworker.app` ends it" in text


def test_the_help_names_exit_statuses() -> None:
    """Each command says what its exit status means."""
    for command in ("jobs", "trigger", "pause", "resume", "web", "dev"):
        assert "Exit statuses" in run_command(NOWHERE, command, "--help").stdout
    listed = run_command(NOWHERE, "--help").stdout
    for command in ("jobs", "trigger", "pause", "resume", "cron", "web"):
        (line,) = [x for x in listed.splitlines() if x.startswith(f"  {command} ")]
        assert line.endswith(".")
        assert not line.endswith("...")


def test_a_history_in_a_database(redis_url: str, tmp_path: Path) -> None:
    """It is asked instead of Redis; one that is away is a sentence."""
    away = run(redis_url, "jobs", status=69, DATABASE_URL="sqlite:////nowhere/x.db")
    assert away.startswith("smartworker: The history of the jobs cannot be read: ")
    url = f"sqlite:///{tmp_path / 'runs.sqlite3'}"
    jobs = json.loads(run(redis_url, "jobs", "--json", DATABASE_URL=url))
    assert jobs[0]["run_commands"] == 13
