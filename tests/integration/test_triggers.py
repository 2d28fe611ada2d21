"""Triggers over real HTTP: each slot once, and what that costs."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from typing import Any

import pytest
import redis as redis_py
from redis import Redis

from smartworker.cron.registry import Jobs
from smartworker.store import jobs as job_store
from smartworker.store import keys
from smartworker.store.meter import is_billed
from tests.integration.site import BEARER, TOKEN, Site, problem, spent

NIGHTLY = "/api/cron/nightly"
#: 2026-11-21, nine in the evening, Eastern.
DUE = datetime.fromisoformat("2026-11-22T02:00:00+00:00")


def declared() -> Jobs:
    """A job of each kind."""
    jobs = Jobs()
    jobs.declare("nightly", "tasks.nightly", schedule="0 21 * * *")
    jobs.declare("gated", "tasks.nightly", schedule="0 21 * * *", only_when_due=True)
    jobs.declare("single", "tasks.single", overlap="skip")
    jobs.declare(
        "report",
        "tasks.report",
        schedule="0 21 * * *",
        parameters={"shop": int | None},
    )
    jobs.declare("office", "tasks.office", windows="mon-fri 08:00-18:00")
    jobs.declare(
        "sync",
        "tasks.sync",
        kwargs={"deep": True},
        parameters={"shop": int, "day": date | None},
    )
    return jobs


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """The server, looked at from outside."""
    with redis_py.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def site(redis_url: str) -> Iterator[Site]:
    """A web process five seconds after the slot."""
    with Site(redis_url, declared) as site:
        site.clock.wall = DUE + timedelta(seconds=5)
        yield site


@pytest.fixture
def other(redis_url: str) -> Iterator[Site]:
    """A second web process at the same time."""
    with Site(redis_url, declared) as other:
        other.clock.wall = DUE + timedelta(seconds=6)
        yield other


def message(redis: Redis) -> tuple[dict[str, Any], Any]:
    """The headers and the keyword arguments of the newest message."""
    payload = json.loads(redis.lindex("celery", 0))
    body = json.loads(base64.b64decode(payload["body"]))
    return payload["headers"], body[1]


def warm(site: Site, redis: Redis) -> None:
    """Let the process learn what it knows for good; start counting."""
    site.post("/api/cron/office")
    site.post("/api/cron/single")
    redis.delete(*(set(redis.keys()) - {keys.JOBS}))
    redis.config_resetstat()


def test_a_call_counts_for_its_slot(site: Site, redis: Redis) -> None:
    """The slot is the scheduled time, in UTC, and the message carries it."""
    answer = site.post(NIGHTLY).json()
    assert answer["slot"] == "2026-11-22T02:00:00Z"
    headers, _ = message(redis)
    assert headers["id"] == answer["task_id"]
    assert headers["smartworker_run"]["slot"] == answer["slot"]
    assert headers["smartworker_run"]["scheduled"] is True


@pytest.mark.usefixtures("exact_counts")
def test_the_cost_of_triggers(site: Site, other: Site, redis: Redis) -> None:
    """Three commands, none for a repeat here, two for a repeat in another process."""
    warm(site, redis)
    warm(other, redis)
    first = site.post(NIGHTLY)
    assert spent(redis) == {"eval": 1, "set": 1, "lpush": 1}
    redis.config_resetstat()
    again = site.post(NIGHTLY)
    assert spent(redis) == {}
    elsewhere = other.post(NIGHTLY)
    assert spent(redis) == {"eval": 1, "set": 1}
    assert "idempotent-replayed" not in first.headers
    for repeat in (again, elsewhere):
        assert repeat.status_code == 202
        assert repeat.headers["idempotent-replayed"] == "true"
        for field in ("task_id", "slot", "expected_start_by", "status"):
            assert repeat.json()[field] == first.json()[field]
    assert redis.llen("celery") == 1


@pytest.mark.usefixtures("exact_counts")
def test_the_first_call_learns_who_is_paused(site: Site, redis: Redis) -> None:
    """Once in the life of a process: the subscription, and the hash."""
    with_a_secret = job_store.load(redis)
    assert with_a_secret.paused == {}
    redis.config_resetstat()
    assert site.post(NIGHTLY).status_code == 202
    billed = {name: n for name, n in spent(redis).items() if is_billed(name)}
    assert billed == {
        "subscribe": 1,
        "hgetall": 1,
        "eval": 1,
        "set": 1,
        "lpush": 1,
    }


def test_ten_calls_at_once_are_one_task(site: Site, other: Site, redis: Redis) -> None:
    """From both processes; every answer has the same id."""
    with ThreadPoolExecutor(10) as pool:
        calls = [
            pool.submit(each.post, NIGHTLY) for each in (site, other) for _ in range(5)
        ]
        answers = [call.result() for call in calls]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["task_id"] for answer in answers}) == 1
    replayed = [answer.headers.get("idempotent-replayed") for answer in answers]
    assert replayed.count(None) == 1
    assert redis.llen("celery") == 1


def test_a_new_process_knows_what_was_queued(redis_url: str, redis: Redis) -> None:
    """A restart between two calls of the same slot queues nothing twice."""
    ids = set()
    for _ in range(2):
        with Site(redis_url, declared) as site:
            site.clock.wall = DUE + timedelta(minutes=3)
            ids.add(site.post(NIGHTLY).json()["task_id"])
    assert len(ids) == 1
    assert redis.llen("celery") == 1


def test_a_result_does_not_end_the_memory(
    site: Site, other: Site, redis: Redis
) -> None:
    """The run is over, the cron service calls again: still the same run."""
    task_id = site.post(NIGHTLY).json()["task_id"]
    site.celery_app.backend.store_result(task_id, "done", "SUCCESS")
    assert other.post(NIGHTLY).json()["task_id"] == task_id
    assert redis.llen("celery") == 1


def test_a_result_in_another_format_does_not_end_the_memory(
    site: Site, other: Site, redis: Redis
) -> None:
    """Celery may be told to store results as YAML or as pickles."""
    task_id = site.post(NIGHTLY).json()["task_id"]
    for stored in (b"status: SUCCESS\n", b"\x80\x04}\x94.", b"[]"):
        redis.set(f"celery-task-meta-{task_id}", stored)
        other.clock.monotonic_ahead += 3600.0
        again = other.post(NIGHTLY)
        assert again.status_code == 202
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json()["task_id"] == task_id
    assert redis.llen("celery") == 1


def test_a_call_far_from_the_slot_is_a_run_of_its_own(site: Site, redis: Redis) -> None:
    """Its slot is the minute of the call."""
    site.clock.wall = DUE + timedelta(hours=5, seconds=20)
    answer = site.post(NIGHTLY).json()
    assert answer["slot"] == "2026-11-22T07:00:00Z"
    site.clock.wall += timedelta(minutes=1)
    assert site.post(NIGHTLY).json()["task_id"] != answer["task_id"]
    assert redis.llen("celery") == 2


def test_a_key_that_comes_again_tells_the_slot_of_its_run(
    site: Site, other: Site, redis: Redis
) -> None:
    """A day later, in this process and in another one: the run is still the first."""
    key = {"Idempotency-Key": "once"}
    first = site.post(NIGHTLY, headers=key).json()
    for each in (site, other):
        each.clock.wall = DUE + timedelta(hours=24)
        again = each.post(NIGHTLY, headers=key)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json()["task_id"] == first["task_id"]
        assert again.json()["slot"] == first["slot"]
    assert redis.llen("celery") == 1


def test_a_call_with_parameters_is_not_the_slot_itself(
    site: Site, other: Site, redis: Redis
) -> None:
    """Somebody asks for one shop first: the run of the cron service comes all the same.

    In whatever order they come, and each once.
    """
    warm(site, redis)
    ids = []
    for path in ("/api/cron/report?shop=3", "/api/cron/report"):
        first = site.post(path)
        assert "idempotent-replayed" not in first.headers
        again = other.post(path)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json()["task_id"] == first.json()["task_id"]
        ids.append(first.json()["task_id"])
    assert site.post("/api/cron/report?shop=4").json()["task_id"] not in ids
    assert redis.llen("celery") == 3
    sent = [json.loads(each)["headers"]["id"] for each in redis.lrange("celery", 0, -1)]
    assert len(set(sent)) == 3
    assert set(ids) < set(sent)


def test_a_gated_job_is_skipped_when_it_is_not_due(site: Site, redis: Redis) -> None:
    """With 200: a cron service would switch a failing job off."""
    site.clock.wall = DUE + timedelta(hours=1)
    response = site.post("/api/cron/gated")
    assert response.status_code == 200
    assert response.json() == {
        "status": "skipped",
        "reason": "not due",
        "message": "gated is not due now: this call counts for none of its slots.",
        "job": "gated",
    }
    assert redis.llen("celery") == 0
    site.clock.wall = DUE + timedelta(minutes=1)
    assert site.post("/api/cron/gated").status_code == 202


def test_a_job_is_skipped_outside_of_its_windows(site: Site) -> None:
    """A Saturday evening is no office hour, a Monday noon is."""
    assert site.post("/api/cron/office").json()["reason"] == "outside its windows"
    site.clock.wall = datetime.fromisoformat("2026-11-23T17:00:00+00:00")
    assert site.post("/api/cron/office").status_code == 202


def test_a_running_job_that_must_not_overlap_is_skipped(
    site: Site, redis: Redis
) -> None:
    """Until its lease is free; its own repeat is no overlap."""
    first = site.post("/api/cron/single")
    assert first.status_code == 202
    assert site.post("/api/cron/single").status_code == 202
    site.clock.wall += timedelta(minutes=1)
    skipped = site.post("/api/cron/single")
    assert (skipped.status_code, skipped.json()["reason"]) == (200, "overlapping")
    assert redis.llen("celery") == 1
    redis.delete(keys.running("single"))
    assert site.post("/api/cron/single").status_code == 202


def test_a_slot_that_was_given_up_is_skipped(site: Site, redis: Redis) -> None:
    """A worker was faster by a moment; nobody is told that it is queued."""
    task_id = site.post(NIGHTLY).json()["task_id"]
    redis.delete("celery")
    redis.set(f"celery-task-meta-{task_id}", '{"status": "MISSED"}')
    site.clock.monotonic_ahead = 3600.0
    skipped = site.post(NIGHTLY)
    assert (skipped.status_code, skipped.json()["reason"]) == (200, "missed")


def test_a_key_takes_the_place_of_the_slot(
    site: Site, other: Site, redis: Redis
) -> None:
    """The same key hours later is the same run; another key is another one."""
    key = {"Idempotency-Key": "order-7"}
    first = site.post(NIGHTLY, headers=key)
    other.clock.wall += timedelta(hours=7)
    again = other.post(NIGHTLY, headers=key)
    assert again.json()["task_id"] == first.json()["task_id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert site.post(NIGHTLY, headers={"Idempotency-Key": "b"}).status_code == 202
    assert redis.llen("celery") == 2


def test_a_slot_that_was_called_with_a_key_is_taken(site: Site, redis: Redis) -> None:
    """Nobody thinks that it was missed, and a call without a key is a repeat."""
    keyed = site.post(NIGHTLY, headers={"Idempotency-Key": "a"}).json()
    plain = site.post(NIGHTLY)
    assert plain.json()["task_id"] == keyed["task_id"]
    assert plain.headers["idempotent-replayed"] == "true"
    assert redis.llen("celery") == 1


@pytest.mark.parametrize("finished", [False, True])
def test_a_key_with_other_parameters_is_refused(
    site: Site, other: Site, redis: Redis, finished: bool
) -> None:
    """In the same process and in another one, before and after the run."""
    key = {"Idempotency-Key": "a"}
    task_id = site.post("/api/cron/sync?shop=1", headers=key).json()["task_id"]
    if finished:
        request = _request_of(redis)
        site.celery_app.backend.store_result(task_id, 1, "SUCCESS", request=request)
    for each in (site, other):
        refused = problem(each.post("/api/cron/sync?shop=2", headers=key), 422)
        assert "Idempotency-Key" in refused["detail"]
        assert each.post("/api/cron/sync?shop=1", headers=key).status_code == 202
    assert redis.llen("celery") == 1


def _request_of(redis: Redis) -> Any:
    from celery.app.task import Context

    headers, _ = message(redis)
    return Context(headers, headers=headers)


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9", "a\tb"])
def test_a_key_of_another_form_is_refused(site: Site, redis: Redis, key: str) -> None:
    """One to 255 printable characters."""
    headers = {"Idempotency-Key": key.encode("latin-1")}
    response = site.post(NIGHTLY, headers=headers)
    assert response.status_code in (400, 202)
    if key.strip():
        problem(response, 400)
        assert redis.llen("celery") == 0


def test_parameters_reach_the_task(site: Site, redis: Redis) -> None:
    """From the query or the body, beside what the job declares itself."""
    site.post("/api/cron/sync?shop=1&day=2026-11-22")
    assert message(redis)[1] == {"deep": True, "shop": 1, "day": "2026-11-22"}
    site.post("/api/cron/sync", json={"shop": 2})
    assert message(redis)[1] == {"deep": True, "shop": 2}
    assert redis.llen("celery") == 2


@pytest.mark.parametrize(
    ("query", "field"),
    [("", "shop"), ("shop=one", "shop"), ("shop=1&day=no", "day"), ("shop=1&x=1", "x")],
)
def test_a_wrong_parameter_is_named(
    site: Site, redis: Redis, query: str, field: str
) -> None:
    """422 with the field, and nothing is queued."""
    document = problem(site.post(f"/api/cron/sync?{query}"), 422)
    assert [error["field"] for error in document["errors"]] == [field]
    assert redis.llen("celery") == 0


def test_a_paused_job_is_skipped_in_all_processes(
    site: Site, other: Site, redis: Redis
) -> None:
    """At once, and until it is resumed."""
    for each in (site, other):
        each.post("/api/cron/office")
    paused = site.post("/api/jobs/nightly/pause")
    assert paused.json()["state"] == "paused"
    for each in (site, other):
        skipped = _eventually(each, "skipped")
        assert skipped["reason"] == "paused"
    assert redis.llen("celery") == 0
    other.post("/api/jobs/nightly/resume")
    for each in (site, other):
        _eventually(each, "accepted")
    assert redis.llen("celery") == 1


def _eventually(site: Site, status: str) -> dict[str, Any]:
    """The answer once the news of a pause has arrived: a few milliseconds."""
    for _ in range(200):
        answer: dict[str, Any] = site.post(NIGHTLY).json()
        if answer["status"] == status:
            return answer
    raise AssertionError(f"the job never became {status}")


def test_news_of_a_pause_are_not_lost_with_the_connection(
    site: Site, redis: Redis
) -> None:
    """A subscription that breaks is noticed, and the state is read again."""
    site.post("/api/cron/office")
    redis.client_kill_filter(_type="pubsub")
    job_store.pause(redis, "nightly", "2026-11-22T02:00:00Z")
    assert _eventually(site, "skipped")["reason"] == "paused"


def test_run_now_is_for_whoever_manages(
    site: Site, redis_url: str, redis: Redis
) -> None:
    """A run of its own, although the job is paused; a job's token is not enough."""
    site.post("/api/jobs/gated/pause")
    site.clock.wall = DUE + timedelta(hours=5)
    answer = site.post("/api/jobs/gated/run")
    assert answer.status_code == 202
    assert answer.json()["slot"] == "2026-11-22T07:00:00Z"
    assert message(redis)[0]["smartworker_run"]["trigger"] == "manual"
    with Site(redis_url, declared, admin_token="a" * 40) as strict:
        problem(strict.post("/api/jobs/gated/run"), 403)
        problem(strict.client.post("/api/jobs/gated/run"), 401)
        admin = {"Authorization": "Bearer " + "a" * 40}
        assert strict.client.post("/api/jobs/nightly/pause", headers=admin).is_success
        problem(strict.client.post("/api/jobs/none/pause", headers=admin), 404)


def test_a_lost_secret_is_put_back(site: Site, redis: Redis) -> None:
    """A server that forgot everything: the ids of a running process stay the same."""
    before = site.post(NIGHTLY).json()["task_id"]
    redis.flushall()
    redis.client_kill_filter(_type="pubsub")
    site.clock.wall += timedelta(minutes=11)  # beyond what the process remembers
    for _ in range(200):
        if redis.hexists(keys.JOBS, "secret"):
            break
        assert site.post("/api/cron/office").status_code == 200
    assert site.post(NIGHTLY).json()["task_id"] == before


def test_no_token_is_in_the_queue(site: Site, redis: Redis) -> None:
    """Neither is it in the record."""
    site.post(NIGHTLY)
    for key in redis.scan_iter():
        if redis.type(key) == "list":
            assert TOKEN not in redis.lindex(key, 0)
        elif redis.type(key) == "string":
            assert TOKEN not in redis.get(key)
    assert BEARER["Authorization"] not in str(redis.hgetall(keys.JOBS))


def test_a_thousand_calls_of_one_slot(site: Site, other: Site, redis: Redis) -> None:
    """From 50 connections to two processes: one task, and one id in all answers."""

    def call(number: int) -> tuple[int, str]:
        answer = (site, other)[number % 2].post(NIGHTLY)
        return answer.status_code, answer.json()["task_id"]

    with ThreadPoolExecutor(50) as pool:
        answers = set(pool.map(call, range(1000)))
    assert len(answers) == 1
    assert answers.pop()[0] == 202
    assert redis.llen("celery") == 1
