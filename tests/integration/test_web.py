"""The web half on a real Redis, asked over real HTTP."""

import json
import logging
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from redis import Redis

from smartworker.errors import SettingsError
from smartworker.settings import Settings
from smartworker.store.server import EmbeddedServer
from smartworker.web.app import create_app
from smartworker.web.blocking import Blocking
from smartworker.web.serve import listen
from tests.integration.site import (
    NOON,
    OWN,
    SWIM,
    TOKEN,
    Site,
    commands,
    problem,
    swim_jobs,
)


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    """A real server in memory."""
    with EmbeddedServer() as server:
        client = Redis(port=server.port, decode_responses=True)
        yield client
        client.close()


@pytest.fixture(scope="module")
def url(redis: Redis) -> str:
    """Where that server is."""
    port = redis.connection_pool.connection_kwargs["port"]
    return f"redis://127.0.0.1:{port}/0"


@pytest.fixture
def site(url: str) -> Iterator[Site]:
    """The web half on that server."""
    with Site(url) as site:
        yield site


@pytest.fixture(autouse=True)
def _clean(redis: Redis) -> None:
    redis.flushall()


def test_a_trigger_queues_one_task(site: Site, redis: Redis) -> None:
    """The answer says what was queued and until when it starts."""
    response = site.post(SWIM)
    assert response.status_code == 202
    answer = response.json()
    task_id = answer["task_id"]
    assert answer == {
        "status": "accepted",
        "message": "schedule-swim-lanes is queued.",
        "task_id": task_id,
        "job": "schedule-swim-lanes",
        "slot": "2026-11-21T17:00:00Z",
        "expected_start_by": "2026-11-21T17:30:47Z",
    }
    assert response.headers["location"] == f"/api/tasks/{task_id}"
    assert response.headers["retry-after"] == "2"
    assert "server" not in response.headers
    assert redis.llen("celery") == 1


def test_the_message_carries_the_trigger(site: Site, redis: Redis) -> None:
    """A worker reads job and trigger id from the headers of the message."""
    task_id = site.post(SWIM).json()["task_id"]
    headers = json.loads(redis.lindex("celery", 0))["headers"]
    assert headers["id"] == task_id
    assert headers["task"] == "swim.auto_book"
    assert headers["job"] == "schedule-swim-lanes"
    assert len(headers["trigger_id"]) == 32


def test_the_former_address_is_the_same_job(site: Site, redis: Redis) -> None:
    """`/api/cron_schedule_swim_lanes` needs the token, too."""
    assert site.post("/api/cron_schedule_swim_lanes").status_code == 202
    assert redis.llen("celery") == 1
    problem(site.client.post("/api/cron_schedule_swim_lanes"), 401)


def test_without_a_doorbell_the_caller_is_told_to_wait(url: str) -> None:
    """Nothing can have happened before the next poll."""
    with Site(url, doorbell="off", quiet_poll=timedelta(minutes=10)) as site:
        assert site.post(SWIM).headers["retry-after"] == "605"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        "Basic " + TOKEN,
        f"Bearer {TOKEN}x",
        "Bearer tökën".encode(),
        b"Bearer \xff\xfe",
        f"Bearer {OWN}",
    ],
)
def test_a_wrong_token_costs_no_command(
    site: Site, redis: Redis, header: str | bytes | None
) -> None:
    """Refused before anything reaches Redis; a known job or not makes no odds."""
    before = commands(redis)
    headers = {} if header is None else {"Authorization": header}
    for path in (SWIM, "/api/cron/unknown", "/api/cron_schedule_swim_lanes"):
        response = site.client.post(path, headers=headers)
        problem(response, 401)
        assert response.headers["www-authenticate"].startswith("Bearer")
    assert commands(redis) == before


def test_a_token_of_one_job_opens_that_job(site: Site) -> None:
    """`clean-up:token` is good for clean-up."""
    headers = {"Authorization": f"Bearer {OWN}"}
    assert site.client.post("/api/cron/clean-up", headers=headers).status_code == 202


def test_a_token_in_the_address_is_refused(site: Site, redis: Redis) -> None:
    """Even the right one, under whatever name, and even beside the header."""
    before = commands(redis)
    for query in (f"token={TOKEN}", "access_token=x", f"anything={TOKEN}"):
        text = site.post(f"{SWIM}?{query}").text
        assert TOKEN not in text
        problem(site.post(f"{SWIM}?{query}"), 400)
    assert commands(redis) == before


def test_without_a_configured_token_nothing_is_accepted(url: str) -> None:
    """The sentence names the variable to set."""
    with Site(url, cron_tokens=()) as site:
        document = problem(site.post(SWIM), 503)
    assert "SMARTWORKER_CRON_TOKENS" in document["detail"]


def test_a_token_for_a_job_that_nobody_declared_stops_the_start(
    url: str,
) -> None:
    """A misspelled job is found at the start; no part of the entry is shown."""
    settings = Settings(redis_url=url, cron_tokens=(f"cleanup:{OWN}",))
    with pytest.raises(SettingsError, match="SMARTWORKER_CRON_TOKENS") as caught:
        create_app(Celery("web", set_as_current=False), settings, swim_jobs())
    assert "cleanup" not in str(caught.value)
    assert OWN not in str(caught.value)


def test_an_unknown_job_is_answered_with_the_nearest(site: Site, redis: Redis) -> None:
    """Only after the token was right, and without a command."""
    before = commands(redis)
    document = problem(site.post("/api/cron/schedule-swim-lane"), 404)
    assert "schedule-swim-lanes" in document["detail"]
    assert commands(redis) == before


@pytest.mark.parametrize(
    "name",
    ["%0d%0aSet-Cookie:%20a=b", "%C3%A9", "%ff%fe", "%00", "x" * 10_240, "%1b[31m"],
)
def test_no_job_name_is_a_problem(site: Site, name: str) -> None:
    """Whatever stands in the address, the answer is a document and nothing echoes."""
    response = site.post(f"/api/cron/{name}")
    assert len(problem(response, 404)["detail"]) < 300
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize("path", ["/api/cron", "/api/cron/", "/api/cron/a/b", "/x"])
def test_an_unknown_address_is_a_problem_document(site: Site, path: str) -> None:
    """Not Starlette's plain text."""
    problem(site.post(path), 404)


def test_a_wrong_method_is_told_the_right_one(site: Site) -> None:
    """405 with Allow."""
    response = site.client.get(SWIM)
    problem(response, 405)
    assert response.headers["allow"] == "POST"
    response = site.client.delete(f"/api/tasks/{uuid4()}")
    problem(response, 405)
    assert response.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 202),
        (b"", "application/x-www-form-urlencoded", 202),
        (b"{}", "application/json; charset=utf-8", 202),
        (b"{broken", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"[" * 60_000, "application/json", 400),
        (b"\xff\x00", "text/plain", 415),
        (b"a=b", "nonsense", 415),
        (b'{"a": 1}', "application/json", 422),
    ],
)
def test_a_body_is_json_or_nothing(
    site: Site, redis: Redis, body: bytes, kind: str, status: int
) -> None:
    """Cron services send nothing, under whatever type; all else must be read."""
    response = site.post(SWIM, content=body, headers={"Content-Type": kind})
    if status != 202:
        problem(response, status)
    assert response.status_code == status
    assert redis.llen("celery") == (status == 202)


def test_a_large_body_is_refused(site: Site, redis: Redis) -> None:
    """With its length announced or in chunks; nothing is queued."""
    kind = {"Content-Type": "application/json"}
    problem(site.post(SWIM, content=b"x" * 65_537, headers=kind), 413)
    chunks = iter([b"x" * 40_000] * 3)
    problem(site.post(SWIM, content=chunks, headers=kind), 413)
    spaces = b"{" + b" " * 65_534 + b"}"
    assert site.post(SWIM, content=spaces, headers=kind).status_code == 202
    assert redis.llen("celery") == 1


@pytest.mark.parametrize(
    "task_id",
    [
        "celery",
        "1",
        "%06%16",
        "x" * 10_240,
        "..%2f..%2fcelery",
        "00000000-0000-4000-8000-00000000000A",
        "00000000000040008000000000000000",
        "00000000-0000-4000-8000-000000000000%0a",
        "%C3%A9",
    ],
)
def test_a_task_id_of_another_form_costs_no_command(
    site: Site, redis: Redis, task_id: str
) -> None:
    """No key is built from anything but a UUID."""
    before = commands(redis)
    problem(site.get(f"/api/tasks/{task_id}"), 404)
    problem(site.get(f"/api/task-status/{task_id}"), 404)
    assert commands(redis) == before


@pytest.mark.parametrize(
    ("state", "result", "expected"),
    [
        ("SUCCESS", {"status": "SUCCESS"}, {"result": {"status": "SUCCESS"}}),
        ("SUCCESS", None, {"result": None}),
        ("SUCCESS", float("nan"), {"result": None}),
        ("SUCCESS", NOON, {"result": str(NOON)}),
        ("SUCCESS", "\ud800", {"result": "\ud800"}),
        (
            "PROGRESS",
            {"current": 1, "total": 2},
            {"progress": {"current": 1, "total": 2}},
        ),
        ("STARTED", {"pid": 1, "hostname": "h"}, {}),
        ("FAILURE", ValueError("no lane"), {"error": "ValueError: no lane"}),
        (
            "FAILURE",
            OSError("redis://u:secret@h/"),
            {"error": "OSError: redis://u:***@h/"},
        ),
        ("RETRY", TimeoutError("slow"), {"error": "TimeoutError: slow"}),
    ],
)
def test_the_state_of_a_task(
    site: Site,
    state: str,
    result: Any,
    expected: dict[str, Any],
) -> None:
    """Each state comes with its result, error or progress, and no traceback."""
    task_id = str(uuid4())
    site.celery_app.backend.store_result(
        task_id, result, state, traceback="Traceback (secret)"
    )
    for path in ("/api/tasks/", "/api/task-status/"):
        response = site.get(path + task_id)
        assert response.status_code == 200
        assert response.json() == {"task_id": task_id, "state": state} | expected
        assert response.headers["cache-control"] == "no-store"


def test_a_revoked_task(site: Site) -> None:
    """Revoking is an end of its own."""
    task_id = str(uuid4())
    site.celery_app.backend.mark_as_revoked(task_id, "revoked")
    answer = site.get(f"/api/tasks/{task_id}").json()
    assert answer["state"] == "REVOKED"
    assert "revoked" in answer["error"]


def test_a_pending_task_costs_one_command(site: Site, redis: Redis) -> None:
    """One GET for each question."""
    task_id = str(uuid4())
    site.get(f"/api/tasks/{task_id}")
    before = commands(redis)
    answer = site.get(f"/api/tasks/{task_id}").json()
    assert (answer["task_id"], answer["state"]) == (task_id, "PENDING")
    assert commands(redis) == before + 1


def test_a_record_that_cannot_be_read_is_no_crash(site: Site, redis: Redis) -> None:
    """Somebody else's bytes under the key."""
    task_id = str(uuid4())
    redis.set(f"celery-task-meta-{task_id}", "{broken")
    problem(site.get(f"/api/tasks/{task_id}"), 503)


def test_health_costs_no_command(site: Site, redis: Redis) -> None:
    """`/livez` looks at the process alone."""
    before = commands(redis)
    for _ in range(20):
        assert site.get("/livez").json() == {"status": "ok"}
    assert site.client.head("/livez").status_code == 200
    assert commands(redis) == before


def test_the_description_of_the_api_is_there(site: Site) -> None:
    """OpenAPI, made without a warning."""
    paths = site.get("/openapi.json").json()["paths"]
    assert {"/api/cron/{job}", "/api/tasks/{task_id}", "/livez"} <= set(paths)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(site: Site, request_bytes: bytes) -> None:
    """Also TLS on the plain port: 400, and the server lives."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as raw:
        raw.sendall(request_bytes)
        assert raw.recv(1024).startswith(b"HTTP/1.1 400 ")
    assert site.get("/livez").status_code == 200


def test_a_client_that_goes_away_is_no_trouble(site: Site, redis: Redis) -> None:
    """Half a body queues nothing."""
    head = (
        f"POST {SWIM} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n"
        f"Authorization: Bearer {TOKEN}\r\n\r\nhalf"
    )
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as raw:
        raw.sendall(head.encode())
        raw.shutdown(socket.SHUT_WR)
        raw.recv(1024)
    assert site.get("/livez").status_code == 200
    assert redis.llen("celery") == 0


def test_a_broker_that_is_away_is_a_quick_503() -> None:
    """For many callers at once, while health checks go on."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"redis://127.0.0.1:{closed.getsockname()[1]}/0"
    with Site(url) as site, ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(site.post, SWIM) for _ in range(20)]
        assert site.get("/livez").elapsed < timedelta(seconds=1)
        for answer in answers:
            response = answer.result()
            problem(response, 503)
            assert response.headers["retry-after"]
            assert response.elapsed < timedelta(seconds=5)


def test_a_broker_that_is_silent_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the connection and says nothing holds nobody up."""
    impatient = partial(Blocking, deadline_seconds=0.3)
    monkeypatch.setattr("smartworker.web.app.Blocking", impatient)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        with Site(url) as site:
            for response in (site.post(SWIM), site.get(f"/api/tasks/{uuid4()}")):
                problem(response, 503)
                assert response.elapsed < timedelta(seconds=2)


def test_a_fault_of_our_own_tells_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 with a sentence; the details are for the log."""

    def fail(*_: object) -> None:
        raise RuntimeError("inner secret")

    monkeypatch.setattr("smartworker.web.triggers.slot_of", fail)
    # uvicorn hangs up after a fault: do not leave that connection to the next test.
    response = site.post(SWIM, headers={"Connection": "close"})
    assert "inner secret" not in str(problem(response, 500))


def test_a_taken_port_is_a_sentence(site: Site) -> None:
    """It names the variable and the number."""
    with pytest.raises(SettingsError, match=f"PORT is {site.port}"):
        listen("127.0.0.1", site.port)


def test_each_call_is_one_log_line(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Accepted or refused, with what is needed to find it again; no token."""
    with caplog.at_level(logging.INFO, "smartworker.web"):
        answer = site.post(SWIM).json()
        site.client.post(SWIM, headers={"Authorization": "Bearer wrong-token"})
    lines: list[Any] = [
        record.msg
        for record in caplog.records
        if record.name.startswith("smartworker.web")
    ]
    accepted, refused = lines
    assert accepted["event"] == "trigger_accepted"
    assert accepted["task_id"] == answer["task_id"]
    assert accepted["slot"] == answer["slot"]
    assert accepted["address"] == "127.0.0.1"
    assert refused["event"] == "trigger_refused"
    assert refused["status"] == 401
    assert "wrong-token" not in str(lines)
