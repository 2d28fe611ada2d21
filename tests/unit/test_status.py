"""What `smartworker status` prints."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from smartworker.cli.main import main

ANSWER = {
    "worker": "celery@box",
    "queues": ["celery"],
    "reason": "a window is open",
    "held": 0,
    "billed": 35,
    "window": "20:00-23:00",
    "poll_seconds": 30,
    "since": "2026-11-21T20:00:00-05:00",
    "until": "2026-11-21T23:00:00-05:00",
    "last_poll": "2026-11-22T01:15:00.250000+00:00",
    "next_poll": None,
    "doorbell": "keyspace",
    "broker": "redis://127.0.0.1:6379/0",
    "commands": {"poll": {"EXISTS": 31}, "task": {"LMOVE": 2, "LREM": 2}},
}


def run(monkeypatch: pytest.MonkeyPatch, answers: list[Any], *options: str) -> Any:
    """The command's result when the workers answer this."""
    told = {
        each["worker"]: {k: v for k, v in each.items() if k != "worker"}
        for each in answers
    }
    monkeypatch.setattr("smartworker.worker.asking.ask", lambda *_: told)
    monkeypatch.setattr("smartworker.worker.program.check_broker", lambda _: None)
    return CliRunner().invoke(main, ["status", *options])


def test_people_see_the_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The panel has the window, the interval, the times and the sum of commands."""
    result = run(monkeypatch, [ANSWER])
    assert result.exit_code == 0
    for words in (
        "celery@box",
        "20:00-23:00",
        "every 30s",
        "20:15:00 EST",
        "billed: 35",
    ):
        assert words in result.output


def test_people_see_the_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many ended how, and how long a run takes; nothing that steers a terminal."""
    row = {"succeeded": 7, "failed": 1, "retried": 2, "seconds": 5.0, "longest": 1.25}
    answer = {**ANSWER, "tasks": {"shop.add\x1b[2J": row}}
    result = run(monkeypatch, [answer])
    (line,) = (line for line in result.output.splitlines() if "shop.add" in line)
    assert "\x1b" not in result.output
    assert line.replace("\u2502", " ").split()[1:] == ["7", "1", "2", "0.5", "1.25"]


def test_programs_get_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--json` prints an array, one object for each worker, and nothing else."""
    result = run(monkeypatch, [ANSWER], "--json")
    assert json.loads(result.output) == [ANSWER]


def test_stock_worker_is_shown_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does not know the question is no crash."""
    result = run(monkeypatch, [{"worker": "celery@old", "error": "KeyError"}])
    assert result.exit_code == 0
    assert "No smartworker" in result.output


def test_no_answer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a worker there is one sentence and exit status 1."""
    result = run(monkeypatch, [], "--timeout", "0.5")
    assert result.exit_code == 1
    assert "No worker answered within 0.5 seconds" in result.output
