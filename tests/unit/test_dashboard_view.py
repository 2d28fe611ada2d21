"""What the dashboard says of what it knows: the verdict, times, and who is silent."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smartworker.cron.registry import Jobs
from smartworker.forecast import Outlook
from smartworker.rows import Row
from smartworker.settings import Settings
from smartworker.store.runs import RunRecord
from smartworker.web.dashboard.facts import Details, Facts, living
from smartworker.web.dashboard.snapshot import STRANGERS, Allowance
from smartworker.web.dashboard.verdict import verdict
from smartworker.web.dashboard.view import Words, cut, duration, view
from smartworker.worker.overview import Row as JobRow
from smartworker.worker.overview import declared

#: 21:30 in New York, in the window.
NOW = datetime(2026, 11, 26, 2, 30, tzinfo=UTC)
SETTINGS = Settings()
WORDS = Words(SETTINGS, NOW)
ROW = Row(
    id="1",
    kind="worker",
    name="celery@one",
    started=(NOW - timedelta(days=3)).isoformat(),
    written=NOW.isoformat(),
    next_poll=(NOW + timedelta(seconds=20)).isoformat(),
    month="2026-11",
    commands={"poll": 1000},
)
OUTLOOK = Outlook(
    month="2026-11",
    now=NOW,
    budget=500_000,
    by_cause={},
    polls=900,
    jobs={},
    other=0,
    foreign=0,
)


def job(**known: Any) -> JobRow:
    """The nightly job, with what Redis knows of it."""
    jobs = Jobs()
    jobs.declare("nightly", "tasks.nightly", schedule="0 22 * * *")
    (row,) = declared(jobs, SETTINGS, NOW)
    return replace(row, **{"state": "ok", **known})


def shown(*jobs: JobRow, rows: tuple[Row, ...] = (ROW,), **known: Any) -> Any:
    """The view of these facts, with its verdict."""
    outlook = known.pop("outlook", OUTLOOK)
    details = Details(at=NOW, jobs=jobs, queues={}, letters=(), outlook=outlook)
    facts = Facts(**{"at": NOW, "rows": rows, "details": details, **known})
    made = view(facts, [], WORDS)
    return made | {"verdict": verdict(made)}


def findings(made: Any) -> list[str]:
    """What needs attention."""
    return [each["text"] for each in made["verdict"]["findings"]]


def test_all_well() -> None:
    """Nothing needs attention, and the next job is named."""
    made = shown(job())
    assert findings(made) == []
    assert made["verdict"]["summary"] == "nightly is next, at 22:00."
    now = made["now"]
    assert (now["window"], now["until"].text, now["then"]) == (
        "20:00-23:00",
        "23:00",
        "30 min",
    )
    assert now["next_poll"].text == "21:30:20"


@pytest.mark.parametrize("state", ["failed", "late", "missed"])
def test_jobs_that_need_attention(state: str) -> None:
    """Each state that is bad is a finding, and one that is meant is a note."""
    assert findings(shown(job(state=state))) == [f"{state.capitalize()}: nightly"]
    paused = shown(job(state="paused", paused_since=NOW.isoformat()))
    assert findings(paused) == []
    assert [each["text"] for each in paused["verdict"]["notes"]] == ["Paused: nightly"]
    assert paused["verdict"]["summary"] == ""


@pytest.mark.parametrize(
    ("spent", "to_come", "finding"),
    [
        (1000, 900, None),
        (430_000, 10_000, "86% of the budget is used"),
        (300_000, 300_000, "The budget will not last the month"),
        (500_000, 0, "The budget of the month is used up"),
    ],
)
def test_budget(spent: int, to_come: int, finding: str | None) -> None:
    """What is used, and what is to come."""
    row = replace(ROW, commands={"poll": spent})
    outlook = replace(OUTLOOK, by_cause={"poll": spent}, polls=to_come)
    assert findings(shown(rows=(row,), outlook=outlook)) == [finding][: bool(finding)]


def test_workers() -> None:
    """None, one that is silent, one whose Redis is away, one that was started again."""
    assert findings(shown(rows=())) == ["No worker is running"]
    silent = replace(ROW, written=(NOW - timedelta(minutes=5)).isoformat())
    assert findings(shown(rows=(silent,))) == []
    assert findings(shown(rows=(silent,), asked=NOW)) == ["No answer from celery@one"]
    away = replace(ROW, broker="quota")
    assert findings(shown(rows=(away,))) == ["Redis is away for celery@one"]
    again = replace(ROW, id="2", started=NOW.isoformat())
    assert [row.id for row in living((ROW, again), NOW)] == ["2"]
    stopped = replace(ROW, stopped=True)
    web = replace(ROW, id="3", kind="web", name="web@one")
    assert living((stopped, web), NOW) == []


def test_redis_away() -> None:
    """The time of what is shown, or that nothing is known."""
    known = findings(shown(job(), error="ConnectionError: no"))
    assert known == ["Redis does not answer; what stands here is from 21:30:00"]
    made = view(Facts(error="no"), [job(state=None)], WORDS)
    assert [each["text"] for each in verdict(made)["findings"]] == [
        "Redis does not answer; nothing is known yet"
    ]
    assert made["queues"] is None
    assert made["jobs"][0]["name"] == "nightly"


def test_times_that_are_none() -> None:
    """A row of another release may say anything."""
    odd = replace(ROW, next_poll="soon", last_poll="2026-11-26T02:30:00")
    worker = shown(rows=(odd,))["workers"][0]
    assert (worker["next_poll"], worker["last_poll"]) == (None, None)
    strange: dict[str, Any] = {"doorbell": [1], "poll_seconds": "x", "held": None}
    strange |= {"next_poll": 5, "window": {}}
    assert shown(rows=(replace(ROW, **strange), replace(ROW, id="2", doorbell="off")))
    active = replace(ROW, active=[{"task": 5, "since": 7}])
    assert shown(rows=(active,))["active"][0]["task"] == "5"


def test_runs_of_all_jobs_are_in_order() -> None:
    """The newest first, whichever job it was."""
    early, late = (
        RunRecord(name, "", f"{number}", "http", "MISSED", f"2026-11-2{number}T00:00Z")
        for number, name in ((3, "early"), (5, "late"))
    )
    made = shown(job(runs=(early,)), job(runs=(late,)))
    assert [run["job"] for run in made["runs"]] == ["late", "early"]
    assert {run["state"] for run in made["runs"]} == {"missed"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, None),
        (0, "0 s"),
        (0.31, "0.3 s"),
        (5, "5 s"),
        (119, "119 s"),
        (1800, "30 min"),
        (7200, "2 h"),
        (9000, "2 h 30 min"),
    ],
)
def test_lengths(seconds: float | None, text: str | None) -> None:
    """As people say them."""
    assert duration(seconds) == text


def test_days_have_names() -> None:
    """Today needs none; others are named, in the local zone."""
    for days, text in ((0, "21:30"), (1, "tomorrow 21:30"), (-1, "yesterday 21:30")):
        assert WORDS.when(NOW + timedelta(days=days)).text == text
    assert WORDS.when(NOW + timedelta(days=3)).text == "Sat 28 Nov 21:30"
    assert cut("x" * 100) == "x" * 79 + "…"
    assert cut("half \ud800 a pair") == "half ? a pair"


def test_readings_for_strangers_come_back_slowly() -> None:
    """120 at once, and then four an hour, never more than 120."""
    allowance = Allowance(STRANGERS, 0.0)
    assert [allowance.take(0.0) for _ in range(121)] == [True] * 120 + [False]
    assert [allowance.take(3600.0) for _ in range(5)] == [True] * 4 + [False]
    assert sum(allowance.take(1e9) for _ in range(500)) == 120
