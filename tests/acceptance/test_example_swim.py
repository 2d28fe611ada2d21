"""The swim lanes as a person starts them: members, an evening, and what it costs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from smartworker.clock import system_clock
from smartworker.cron.registry import Jobs
from smartworker.examples.swim import __main__ as command
from smartworker.examples.swim.jobs import declare
from smartworker.examples.swim.release import next_day
from smartworker.store.server import free_port
from tests.examples import BEARER, WATCHING, Cost, Example, running, slot_records
from tests.processes import wait_until
from tests.swim import bookings_after, facility, requests

TRIGGER = "/api/cron_schedule_swim_lanes"
WORKER = "cli.main worker"
#: What holding messages costs, however many there are; polls; what the test asks.
OTHERS = {"zadd", "zrem", "time", *WATCHING}
PORT = free_port()
WANTS = [
    {"pool": "Main", "time": "06:00", "lane": 2, "weekday": None},
    {"pool": "Main", "time": "18:00", "lane": None, "weekday": None},
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def swim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """The example; the facility comes with each test."""
    directory = tmp_path_factory.mktemp("swim")
    url = f"http://127.0.0.1:{PORT}"
    with running("swim", directory, SWIM_FACILITY_URL=url) as example:
        example.client.headers.update(BEARER)
        yield example


def day_after(days: int) -> date:
    """A date of its own for each test, for a member has one booking a date."""
    return next_day(system_clock.now()) + timedelta(days=days)


def put_member(swim: Example, name: str) -> None:
    profile = {"password": "fast", "preferences": WANTS}
    answer = swim.client.put(f"/api/members/{name}", json=profile)
    assert answer.status_code in (200, 201), answer.text


def booked(swim: Example, day: date) -> dict[str, str]:
    """Member to slot, as the example tells it."""
    answer = swim.client.get("/api/bookings", params={"date": day.isoformat()})
    return {each["member"]: each["slot"] for each in answer.json()["bookings"]}


def trigger(swim: Example, day: date, key: str | None = None) -> str:
    """The task id of a triggered run."""
    headers = {"Idempotency-Key": key} if key else {}
    query = {"day": day.isoformat()}
    answer = swim.client.post(TRIGGER, params=query, headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == "accepted"
    return str(answer.json()["task_id"])


def test_a_call_ahead_of_the_release_books_at_its_second(swim: Example) -> None:
    """From the call to the lanes, over HTTP: progress, 50 ms, results, bookings."""
    for number in range(6):
        put_member(swim, f"swimmer-{number}")
    day = day_after(0)
    release = system_clock.now() + timedelta(seconds=3)
    with facility(release, "--capacity", "8", port=PORT) as address:
        task_id = trigger(swim, day)
        status: dict[str, Any] = {}

        def waits() -> bool:
            nonlocal status
            status = swim.client.get(f"/api/task-status/{task_id}").json()
            return status["state"] == "PROGRESS"

        wait_until(waits, what="the progress")
        assert status["progress"]["message"].startswith("Waiting for the release at")
        assert swim.final(task_id)["state"] == "SUCCESS"
        sent = bookings_after(requests(address), release)
    assert [code for _, code in sent] == [201] * 8
    assert 0 <= min(sent)[0] <= max(sent)[0] < 0.05, sent
    result = swim.client.get(f"/api/task-status/{task_id}").json()["result"]
    assert result["status"] == "SUCCESS"
    assert result["summary"] == {"total_processed": 8, "successful": 8, "failed": 0}
    assert {r["member"]: r["slot"] for r in result["results"]} == booked(swim, day)
    assert booked(swim, day)["swimmer-0"] == "main-2-06:00"


def test_two_runs_at_once_book_once(swim: Example) -> None:
    """Ten calls for one slot are one run; another one beside it books nothing twice."""
    day = day_after(1)
    release = system_clock.now() + timedelta(seconds=1.5)
    with facility(release, port=PORT) as address:
        with ThreadPoolExecutor(10) as pool:
            ids = set(pool.map(lambda _: trigger(swim, day), range(10)))
        other = trigger(swim, day, key="a second run")
        assert len(ids) == 1
        assert other not in ids
        first, second = (swim.final(each)["result"] for each in (*ids, other))
        journal = requests(address)
    assert first["summary"]["failed"] == 0
    for run in (first, second):
        assert {r["member"]: r["slot"] for r in run["results"]} == booked(swim, day)
    # Both runs were at work: that is what the keys are for.
    assert len(bookings_after(journal, release)) > len(booked(swim, day))


def test_members_and_their_preferences(swim: Example) -> None:
    """Listed, added, changed; the password is never told."""
    assert swim.client.put(
        "/api/members/cleo", json={"password": "x", "preferences": []}
    ).status_code in (200, 201)
    put_member(swim, "cleo")
    cleo = {"name": "cleo", "preferences": WANTS}
    assert swim.client.get("/api/members/cleo").json() == cleo
    ranked = list(reversed(WANTS))
    answer = swim.client.put("/api/members/cleo/preferences", json=ranked)
    assert answer.json() == {"name": "cleo", "preferences": ranked}
    listed = swim.client.get("/api/members").json()["members"]
    assert {"name": "cleo", "preferences": ranked} in listed
    assert {"alice", "ben"} < {member["name"] for member in listed}
    assert all(set(member) == {"name", "preferences"} for member in listed)


def test_one_member_is_booked_by_hand(swim: Example) -> None:
    """The desk books for one member and one date; the others have nothing."""
    put_member(swim, "dora")
    day = day_after(2)
    with facility(None, port=PORT):
        for _ in range(2):
            answer = swim.client.post(
                "/api/members/dora/bookings", json={"date": day.isoformat()}
            )
            assert answer.status_code == 202, answer.text
            result = swim.final(answer.json()["task_id"])["result"]
            assert result["summary"]["successful"] == 1
    assert booked(swim, day) == {"dora": "main-2-06:00"}
    mine = swim.client.get("/api/members/dora/bookings").json()["bookings"]
    assert [each["slot"] for each in mine] == ["main-2-06:00"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/members/nobody", None, 404),
        ("GET", "/api/members/no%20body", None, 422),
        ("PUT", "/api/members/nobody/preferences", [], 404),
        ("POST", "/api/members/nobody/bookings", {"date": "2026-11-22"}, 404),
        ("POST", "/api/members/alice/bookings", {"date": "tomorrow"}, 422),
        ("PUT", "/api/members/eve", {"preferences": []}, 422),
        ("PUT", "/api/members/eve", {"password": "x", "wishes": []}, 422),
        ("PUT", "/api/members/alice/preferences", [{"pool": "Main"}], 422),
        ("PUT", "/api/members/alice/preferences", [{**WANTS[0], "time": "6"}], 422),
        ("PUT", "/api/members/alice/preferences", [{**WANTS[0], "weekday": 7}], 422),
        ("PUT", "/api/members/alice/preferences", WANTS * 11, 422),
        ("GET", "/api/bookings?date=soon", None, 422),
    ],
)
def test_what_cannot_be_is_a_problem(
    swim: Example, method: str, path: str, body: Any, status: int
) -> None:
    """A problem document with a sentence."""
    answer = swim.client.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].endswith((".", ":"))


@pytest.mark.parametrize("path", ["/api/members", "/api/bookings", "/api/members/ben"])
def test_strangers_see_nothing(swim: Example, path: str) -> None:
    """Without a token, or with a wrong one."""
    for headers in ({}, {"Authorization": f"Bearer {'x' * 40}"}):
        url = f"{swim.client.base_url}{path}"
        answer = httpx.get(url, headers=headers, trust_env=False)
        assert answer.status_code == 401


def cost(swim: Example) -> Cost:
    """The row of the table: measured, and planned for the idle day."""
    jobs = Jobs()
    declare(jobs)
    put_member(swim, "erik")
    with facility(None, port=PORT), swim.stopped(WORKER):
        swim.billed()
        trigger(swim, day_after(3), key="cost")
        triggered = swim.billed()
    triggered["set"] -= slot_records(jobs, "schedule-swim-lanes")
    assert triggered == {"eval": 1, "set": 1, "lpush": 1}
    with facility(None, port=PORT):
        settle(swim, day_after(3))
        swim.billed()
        wanted = {"date": day_after(4).isoformat()}
        assert swim.client.post("/api/members/erik/bookings", json=wanted).is_success
        settle(swim, day_after(4))
        task = swim.billed()
    task = {name: count for name, count in task.items() if name not in OTHERS}
    return Cost.planned(
        "swim", jobs, trigger=sum(triggered.values()), task=sum(task.values())
    )


def settle(swim: Example, day: date) -> None:
    """Wait until there are bookings on this date, and the worker has let go."""
    wait_until(lambda: booked(swim, day), what="the bookings")
    swim.settle()


def test_what_it_costs(swim: Example) -> None:
    """A trigger, a task, an idle day, and the job of a month."""
    row = cost(swim)
    assert row == Cost("swim", 412, 3, 4, 300)
    assert row.is_in_the_readme()


def test_a_wait_costs_one_command_more(swim: Example) -> None:
    """However long it is: its one report. The members cost none."""
    day = day_after(5)
    with facility(system_clock.now() + timedelta(seconds=2.5), port=PORT):
        swim.billed()
        trigger(swim, day, key="waits")
        settle(swim, day)
        found = swim.billed()
    assert {name: found[name] for name in found if name not in OTHERS} == {
        "eval": 1,
        "lpush": 1,
        "lmove": 1,
        "set": 3,  # the record, the report, the result
        "lrem": 1,
    }


def test_the_command_brings_a_facility(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless SWIM_FACILITY_URL names one; SWIM_RELEASE says when it opens."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(command, "run", lambda _name, **what: asked.append(what))
    monkeypatch.delenv("SWIM_FACILITY_URL", raising=False)
    monkeypatch.setenv("SWIM_RELEASE", "21:00")
    command.main()
    monkeypatch.setenv("SWIM_FACILITY_URL", "http://pool.example")
    command.main()
    (part,), url = asked[0]["parts"], asked[0]["environment"]["SWIM_FACILITY_URL"]
    assert url.endswith(part.command[part.command.index("--port") + 1])
    assert part.command[part.command.index("--release") + 1] == "21:00"
    assert asked[1]["parts"] == []
    assert asked[1]["environment"] == {}
