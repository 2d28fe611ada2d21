"""The league example as its users meet it: one command, then HTTP."""

import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from celery import Celery

import smartworker
from smartworker.cron.registry import Jobs
from smartworker.examples.league import tables
from smartworker.examples.league.app import app
from smartworker.examples.league.book import Book
from smartworker.examples.league.jobs import declare
from smartworker.examples.league.web import Desk, Wish
from smartworker.store.server import free_port
from smartworker.web.problems import Problem
from tests.examples import BEARER, TOKEN, WATCHING, Cost, Example, curl, running

ASYNC = "/api/schedule/async"
STATUS = "/api/schedule/status/{}"
CRON = "/api/cron/weekly-schedule"
WORKER = "smartworker.cli.main worker"

#: The lease of a stretch of work is not a task's own.
LEASE = ("zadd", "zrem", "time")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


@pytest.fixture(scope="module")
def league(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """The example, ready, with 200 teams; it polishes half as long as usual."""
    directory = tmp_path_factory.mktemp("league")
    with running("league", directory, LEAGUE_MOVES="150000") as example:
        yield example


def ask(league: Example, *, force: bool = True) -> str:
    """Ask for a schedule; the id."""
    answer = league.client.post(ASYNC, json={"force_regenerate": force})
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert set(told) == {"task_id", "status", "message"}
    assert told["status"] == "PENDING"
    assert told["message"]
    return str(told["task_id"])


def status(league: Example, task_id: str) -> dict[str, Any]:
    """What the example's own address says of it."""
    answer = league.client.get(STATUS.format(task_id))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["task_id"] == task_id
    return found


def states(league: Example, task_id: str) -> Iterator[dict[str, Any]]:
    """Each state until the last; the stream says when there is a new one."""
    with league.client.stream("GET", f"/api/tasks/{task_id}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                yield status(league, task_id)


def under_way(league: Example, task_id: str) -> dict[str, Any]:
    """The first state with progress."""
    return next(s for s in states(league, task_id) if s["state"] == "PROGRESS")


def test_the_printed_lines(league: Example) -> None:
    """Each works as it is printed, with the id of the first answer."""
    lines = [line.strip() for line in league.greeting if line.startswith("  curl")]
    assert len(lines) == 4
    asked = curl(lines[0])
    assert asked["status"] == "PENDING"
    looked, cancelled = (
        curl(line.replace("<task_id>", asked["task_id"])) for line in lines[1:3]
    )
    assert looked["state"] in ("PENDING", "PROGRESS")
    assert cancelled["state"] == "REVOKED"
    assert league.final(asked["task_id"])["state"] == "REVOKED"
    triggered = curl(lines[3].replace("<token>", TOKEN))
    assert triggered["status"] == "accepted"
    assert curl(lines[2].replace("<task_id>", triggered["task_id"]))


def test_a_schedule_of_200_teams(league: Example) -> None:
    """Progress with sentences and per cent, then more than 600 games, all valid."""
    seen = list(states(league, task_id := ask(league)))
    assert seen[0]["state"] in ("PENDING", "PROGRESS")
    moving = [each for each in seen if each["state"] == "PROGRESS"]
    assert moving[0]["message"] == "Generating schedule for 200 teams..."
    percents = [each["percent"] for each in moving]
    assert percents == sorted(percents)
    assert 0 <= percents[0] <= percents[-1] <= 100
    made = status(league, task_id)
    assert made == seen[-1]
    assert made["state"] == "SUCCESS"
    assert made["success"] is True
    assert made["total_games"] == len(made["games"]) > 600
    assert made["validation"]["valid"] is True
    assert made["validation"]["teams"] == 200
    assert 0 < made["generation_time"] < 60
    on_one_day = {(g["home_team"], g["date"]) for g in made["games"]}
    on_one_day |= {(g["away_team"], g["date"]) for g in made["games"]}
    assert len(on_one_day) == 2 * made["total_games"]
    assert date.fromisoformat(made["games"][0]["date"]) <= date.fromisoformat(
        made["games"][-1]["date"]
    )


def test_the_stored_schedule_comes_back(league: Example) -> None:
    """Without force_regenerate, or without a body; a later force makes another."""
    made = status_of(league, ask(league))
    plain = str(league.client.post(ASYNC).json()["task_id"])
    for task_id in (ask(league, force=False), plain):
        again = status_of(league, task_id)
        assert again == made
    assert status_of(league, ask(league))["games"] != made["games"]


def status_of(league: Example, task_id: str) -> dict[str, Any]:
    """The last state, without the id."""
    league.final(task_id)
    found = status(league, task_id)
    assert found["state"] == "SUCCESS"
    assert found.pop("task_id") == task_id
    return found


def test_cancel(league: Example) -> None:
    """The running one ends soon, the waiting one never begins; both are REVOKED."""
    running_id, waiting_id = ask(league), ask(league)
    under_way(league, running_id)
    answers = [
        league.client.post(STATUS.format(waiting_id) + "/cancel"),
        league.client.delete(STATUS.format(running_id)),
    ]
    for answer, task_id in zip(answers, (waiting_id, running_id), strict=True):
        assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == "REVOKED"
        told = status(league, task_id)
        assert told["state"] == "REVOKED"
        assert told["success"] is False
    for task_id in (running_id, waiting_id):
        assert league.final(task_id)["state"] == "REVOKED"
    # The worker goes on with the next one.
    assert status_of(league, ask(league, force=False))["success"] is True
    over = league.client.delete(STATUS.format(running_id))
    assert over.json()["state"] == "REVOKED"


def test_a_finished_run_cannot_be_cancelled(league: Example) -> None:
    """409, and its schedule stays; an id that nobody knows is 404."""
    task_id = ask(league, force=False)
    status_of(league, task_id)
    assert league.client.delete(STATUS.format(task_id)).status_code == 409
    assert status(league, task_id)["state"] == "SUCCESS"
    for unknown in (str(uuid4()), "nonsense"):
        address = STATUS.format(unknown)
        for answer in (league.client.get(address), league.client.delete(address)):
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"


def test_an_id_in_capitals_is_the_same_run(league: Example) -> None:
    """For its status, and where there is nothing to cancel any more."""
    task_id = ask(league, force=False)
    assert status_of(league, task_id)["success"] is True
    loud = STATUS.format(task_id.upper())
    assert league.client.get(loud).json()["task_id"] == task_id
    assert league.client.delete(loud).status_code == 409


def test_wrong_bodies(league: Example) -> None:
    """What cannot be understood queues nothing."""
    for body in (b"{broken", b'{"force_regenerate": "perhaps"}', b"[1]"):
        answer = league.client.post(
            ASYNC, content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422


def trigger(league: Example) -> str:
    """Call as the weekly cron service does, for a run of its own; the id."""
    headers = {**BEARER, "Idempotency-Key": str(uuid4())}
    answer = league.client.post(CRON, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["task_id"])


def test_the_weekly_job(league: Example) -> None:
    """Its run has the same status; cancelled, it leaves room for the next one."""
    task_id = trigger(league)
    under_way(league, task_id)
    overlapping = league.client.post(CRON, headers={**BEARER, "Idempotency-Key": "x"})
    assert overlapping.json()["reason"] == "overlapping"
    assert league.client.delete(STATUS.format(task_id)).status_code == 200
    assert league.final(task_id)["state"] == "REVOKED"
    # The worker does one thing after the other: with this the run is done with.
    status_of(league, ask(league, force=False))
    assert last_run(league) == "REVOKED"
    made = status_of(league, trigger(league))
    assert made["validation"]["valid"] is True
    status_of(league, ask(league, force=False))
    assert last_run(league) == "SUCCESS"


def last_run(league: Example) -> str:
    """How the last run of the job has ended, as its history says."""
    (job,) = league.client.get("/api/jobs", headers=BEARER).json()["jobs"]
    assert job["name"] == "weekly-schedule"
    return str(job["last_run"]["state"])


def test_a_job_that_waits_is_cancelled(league: Example) -> None:
    """Its run is known before any worker has seen it."""
    with league.stopped(WORKER):
        task_id = trigger(league)
        assert status(league, task_id)["state"] == "PENDING"
        answer = league.client.delete(STATUS.format(task_id))
        assert answer.status_code == 200, answer.text
        assert status(league, task_id)["state"] == "REVOKED"
    assert league.final(task_id)["state"] == "REVOKED"
    status_of(league, ask(league, force=False))


def cost(league: Example) -> Cost:
    """The row of the README's table: measured, and planned for the idle day."""
    league.billed()
    found = league.final(ask(league, force=False))
    assert found["state"] == "SUCCESS"
    league.settle()
    around = {*WATCHING, *LEASE}
    task = sum(n for name, n in league.billed().items() if name not in around)
    with league.stopped(WORKER):
        league.billed()
        task_id = trigger(league)
        triggered = sum(league.billed().values())
        league.client.delete(STATUS.format(task_id))
    assert league.final(task_id)["state"] == "REVOKED"
    jobs = Jobs()
    declare(jobs)
    return Cost.planned("league", jobs, trigger=triggered, task=task)


def test_what_it_costs(league: Example) -> None:
    """A trigger of a job that must not overlap, a task, an idle day, and its jobs."""
    row = cost(league)
    assert row == Cost("league", 412, 4, 4, 56)
    assert row.is_in_the_readme()


def test_looking_at_what_is_over_is_free(league: Example) -> None:
    """The games come from the database; a run that is open costs one command."""
    task_id = ask(league, force=False)
    status_of(league, task_id)
    league.settle()
    league.billed()
    for _ in range(3):
        status(league, task_id)
    assert not league.billed().keys() - {"exists", *LEASE}
    with league.stopped(WORKER):
        task_id = ask(league, force=False)
        league.billed()
        assert status(league, task_id)["state"] == "PENDING"
        assert league.billed() == {"get": 1}


def test_the_limit_is_declared() -> None:
    """600 seconds, also for what smartworker derives from it."""
    assert app.conf.task_time_limit == 600


def test_a_dead_broker_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with Retry-After, and no run is left behind."""
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    app = smartworker.setup(Celery("dead", set_as_current=False))
    engine = tables.connect(f"sqlite:///{tmp_path}/dead.sqlite3")
    with pytest.raises(Problem) as refused:
        Desk(app, Book(engine)).ask(Wish())
    assert refused.value.status == 503
    assert refused.value.headers == {"Retry-After": "5"}
    with engine.connect() as connection:
        assert connection.execute(sa.select(tables.runs)).all() == []


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    """The sentence of the generator stays readable after the result has expired."""
    book = Book(tables.connect(f"sqlite:///{tmp_path}/failed.sqlite3"))
    book.open(task_id := str(uuid4()))
    book.fail(task_id, "No schedule was found.")
    assert Desk(app, book).status(task_id) == {
        "task_id": task_id,
        "state": "FAILURE",
        "success": False,
        "message": "No schedule was found.",
    }
