"""The sync example as its users meet it: one command, then HTTP."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from smartworker.cron.registry import Jobs
from smartworker.examples.sync.jobs import declare
from tests.examples import BEARER, WATCHING, Cost, Example, running, slot_records
from tests.processes import wait_until

START = "2026-11-21T09:30"
WORKER = "smartworker.cli.main worker"
#: What belongs to a stretch of work, not to a task.
LEASE = {"zadd", "zrem", "time"}
#: Sent by the test itself.
OURS = {"llen"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


@pytest.fixture(scope="module")
def sync(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """The example, ready, with a roster service in a good mood."""
    directory = tmp_path_factory.mktemp("sync")
    with running("sync", directory, SYNC_FIRST_RETRY_SECONDS="0.1") as example:
        good = {"mood": "good"}
        mood = httpx.put(f"{roster(example)}/mood", json=good, trust_env=False)
        assert mood.status_code == 200
        yield example


def roster(sync: Example) -> str:
    """The address of the roster service, as the greeting has it."""
    found = re.search(r"(http://\S+)/mood", sync.text())
    assert found
    return found[1]


def heard(sync: Example, number: int) -> list[dict[str, Any]]:
    """What the roster service was told of a schedule."""
    log = httpx.get(f"{roster(sync)}/log", trust_env=False).json()
    return [
        event
        for event in log["events"]
        if event["key"].startswith(f"schedule-{number}-")
    ]


def save(sync: Example, event: str, employee: str = "ann") -> int:
    """A new schedule; its number."""
    body = {"event_id": event, "employee_id": employee, "start": START}
    answer = sync.client.post("/save_schedule", json=body)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["schedule"]["schedule_id"])


def final(sync: Example, change: dict[str, str]) -> dict[str, Any]:
    """What became of a change, as smartworker's own endpoint tells it."""
    wait_until(
        lambda: sync.client.get(change["status"]).json().get("state") == "SUCCESS",
        what=change["action"],
    )
    found: dict[str, Any] = sync.client.get(change["status"]).json()["result"]
    return found


def test_the_lines_of_the_greeting(sync: Example) -> None:
    """Each is typed as it stands there, and works."""
    lines = re.findall(r"^ +(curl .+)$", sync.text(), re.MULTILINE)
    assert len(lines) == 6
    for line in lines:
        words = shlex.split(line.replace('"down"', '"good"'))
        words[1:1] = ["-sS", "--fail", "--noproxy", "*"]
        words = [word.replace("<token>", BEARER["Authorization"][7:]) for word in words]
        done = subprocess.run(words, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, (line, done.stderr, done.stdout)
        assert isinstance(json.loads(done.stdout), dict)


def test_save_and_reschedule(sync: Example) -> None:
    """Each answer has the schedule as it is now and says where to ask for the rest."""
    body = {"event_id": "E-10", "employee_id": "bo", "employee_name": "Bo Berg"}
    saved = sync.client.post("/save_schedule", json={**body, "start": START})
    assert saved.status_code == 201
    number = saved.json()["schedule"]["schedule_id"]
    assert saved.json()["schedule"] == {
        "schedule_id": number,
        "event_id": "E-10",
        "employee_id": "bo",
        "start": "2026-11-21T09:30:00-05:00",
    }
    assert [each["action"] for each in saved.json()["sync"]] == ["employee", "create"]
    assert final(sync, saved.json()["sync"][1]) == {"state": "done", "error": None}

    moved = sync.client.post(
        "/api/reschedule", json={"schedule_id": number, "start": "2026-11-22T08:00"}
    )
    again = sync.client.post(
        "/api/reschedule_event",
        json={
            "event_id": "E-10",
            "start": "2026-11-23T08:00Z",
            "employee_id": "cy",
            "employee_name": "Cy",
        },
    )
    assert moved.status_code == again.status_code == 200
    assert again.json()["schedule"]["employee_id"] == "cy"
    for each in again.json()["sync"]:
        final(sync, each)
    assert [event["fields"] for event in heard(sync, number)[1:]] == [
        {"starts_at": "2026-11-22T08:00:00-05:00"},
        {"starts_at": "2026-11-23T08:00:00+00:00", "employee": "cy"},
    ]


def test_trade_and_change_employee(sync: Example) -> None:
    """Two schedules exchange their people; one gets somebody else."""
    first, second = save(sync, "E-20", "ann"), save(sync, "E-21", "bo")
    traded = sync.client.post(
        "/api/trade_events", json={"schedule_id": first, "other_schedule_id": second}
    )
    assert traded.status_code == 200
    employees = [each["employee_id"] for each in traded.json()["schedules"]]
    assert employees == ["bo", "ann"]
    changed = sync.client.post(
        "/api/change_employee", json={"schedule_id": first, "employee_id": "cy"}
    )
    assert changed.status_code == 200
    final(sync, traded.json()["sync"][1])
    final(sync, changed.json()["sync"][-1])
    told = [
        [event["fields"]["employee"] for event in heard(sync, number)]
        for number in (first, second)
    ]
    assert told == [["ann", "bo", "cy"], ["bo", "ann"]]


def test_unschedule(sync: Example) -> None:
    """Deleted here at once, there afterwards; the event is free again."""
    number = save(sync, "E-30")
    deleted = sync.client.delete(f"/api/unschedule/{number}")
    assert deleted.status_code == 200
    final(sync, deleted.json()["sync"][0])
    kinds = [event["action"] for event in heard(sync, number)]
    assert kinds in ([], ["create", "delete"])  # it may have been faster than both
    for unknown in (number, 10**22):
        assert sync.client.post(f"/api/unschedule/{unknown}").status_code == 404
    assert save(sync, "E-30") != number


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/save_schedule", {}, 422, "event_id"),
        ("/save_schedule", {"event_id": "E", "start": START}, 422, "employee_id"),
        (
            "/save_schedule",
            {"event_id": "E", "employee_id": "a", "start": "soon"},
            422,
            "start",
        ),
        (
            "/save_schedule",
            {"event_id": "E", "employee_id": "a", "start": "2026-11-01T01:30"},
            422,
            "start",
        ),
        ("/save_schedule", [1], 422, "body"),
        ("/api/reschedule", {"schedule_id": 1}, 422, "start"),
        ("/api/reschedule", {"schedule_id": 999, "start": START}, 404, None),
        ("/api/reschedule_event", {"start": START}, 422, "event_id"),
        ("/api/reschedule_event", {"event_id": "no", "start": START}, 404, None),
        ("/api/trade_events", {"schedule_id": 1}, 422, "other_schedule_id"),
        (
            "/api/trade_events",
            {"schedule_id": 1, "other_schedule_id": 1},
            422,
            "other_schedule_id",
        ),
        (
            "/api/trade_events",
            {"schedule_id": 998, "other_schedule_id": 999},
            404,
            None,
        ),
        ("/api/change_employee", {"schedule_id": True}, 422, "schedule_id"),
        (
            "/api/change_employee",
            {"schedule_id": 999, "employee_id": "a"},
            404,
            None,
        ),
    ],
)
def test_wrong_bodies(
    sync: Example, path: str, body: Any, status: int, field: str | None
) -> None:
    """The answer names the field, and nothing is saved."""
    answer = sync.client.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == "error"
    assert answer.json()["message"].endswith(".")
    if field is not None:
        assert field in answer.json()["errors"]


def test_other_refusals(sync: Example) -> None:
    """Broken JSON, a second schedule for an event, the wrong method, a wrong path."""
    save(sync, "E-40")
    twice = sync.client.post(
        "/save_schedule",
        json={"event_id": "E-40", "employee_id": "new", "start": START},
    )
    answers = {
        400: sync.client.post("/save_schedule", content=b"{broken"),
        404: sync.client.delete("/api/unschedule/none"),
        405: sync.client.get("/save_schedule"),
        409: twice,
        413: sync.client.post("/save_schedule", content=b" " * 20_000),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.json()["status"] == "error"
    assert sync.client.delete("/api/unschedule/999").status_code == 404


def test_the_refresh(sync: Example) -> None:
    """The hourly job runs through smartworker's endpoint, and finds nothing to do."""
    accepted = sync.client.post("/worker/api/cron/refresh", headers=BEARER)
    assert accepted.status_code == 202
    assert sync.client.post("/worker/api/cron/refresh").status_code == 401
    location = accepted.headers["location"]
    wait_until(lambda: sync.client.get(location).json()["state"] == "SUCCESS")
    result = sync.client.get(location).json()["result"]
    assert result["repaired"] == 0
    assert result["changes"]["refused"] == 0
    jobs = sync.client.get("/worker/api/jobs", headers=BEARER).json()["jobs"]
    assert [job["name"] for job in jobs] == ["refresh"]


def wait_until_done(sync: Example, number: int, changes: int) -> None:
    """So many changes of a schedule have arrived, and no message is left of them."""
    wait_until(lambda: len(heard(sync, number)) == changes)
    wait_until(
        lambda: (
            not sync.redis.llen("celery")
            and not sync.redis.keys("smartworker:inflight:*")
        )
    )


def cost(sync: Example) -> Cost:
    """The row of the README's table: measured, and planned for the idle day."""
    jobs = Jobs()
    declare(jobs)
    number = save(sync, "E-50")
    wait_until_done(sync, number, 1)
    sync.billed()
    body = {"schedule_id": number, "start": "2026-11-22T10:00"}
    sync.client.post("/api/reschedule", json=body)
    wait_until_done(sync, number, 2)
    billed = sync.billed()
    task = sum(n for name, n in billed.items() if name not in WATCHING | LEASE | OURS)
    with sync.stopped(WORKER):
        sync.billed()
        headers = {**BEARER, "Idempotency-Key": "cost"}
        sync.client.post("/worker/api/cron/refresh", headers=headers)
        triggered = sum(sync.billed().values()) - slot_records(jobs, "refresh")
    return Cost.planned("sync", jobs, trigger=triggered, task=task)


def test_what_it_costs(sync: Example) -> None:
    """A trigger, a change from its publication to its result, an idle day, the job."""
    row = cost(sync)
    assert row == Cost("sync", 412, 4, 6, 10_080)
    assert row.is_in_the_readme()
