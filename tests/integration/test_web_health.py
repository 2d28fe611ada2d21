"""`/livez`, `/readyz` and `/healthz` of the web process, at no command."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from redis import Redis

from smartworker.store import server as module
from smartworker.store.server import EmbeddedServer
from tests.integration.site import SWIM, Site, commands, problem

PATHS = ("/livez", "/readyz", "/healthz")


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedServer]:
    """A server that a test may stop, and start again at its old port."""
    with EmbeddedServer() as made:
        monkeypatch.setattr(module, "free_port", lambda: made.port)
        yield made


def test_health_asks_nobody(redis_url: str) -> None:
    """Whoever asks, and however often; no copy of the answer is kept."""
    with Site(redis_url) as site, Redis.from_url(redis_url) as redis:
        before = commands(redis)
        for path in PATHS * 10:
            answer = site.get(path)
            assert (answer.status_code, answer.json()["status"]) == (200, "ok")
            assert answer.headers["cache-control"] == "no-store"
            assert site.client.head(path).status_code == 200
            assert site.client.head(path).content == b""
        assert commands(redis) == before
        described = site.get("/openapi.json").json()["paths"]
        assert set(PATHS) <= set(described)
        assert "503" in described["/readyz"]["get"]["responses"]


def test_ready_follows_the_last_call(away: EmbeddedServer) -> None:
    """Not ready after a failed one, alive all the time, ready after a good one."""
    with Site(away.url) as site:
        assert site.post(SWIM).status_code == 202
        assert site.get("/readyz").status_code == 200
        away.stop()
        problem(site.post(SWIM), 503)
        found = problem(site.get("/readyz"), 503)
        assert found["detail"].startswith("A call to Redis failed 0 s ago (")
        assert site.client.head("/readyz").status_code == 503
        assert site.get("/livez").status_code == 200
        told = site.get("/healthz")
        assert told.status_code == 200
        assert told.json() == {
            "status": "not ready",
            "alive": True,
            "ready": False,
            "reason": found["detail"],
        }
        away.start()
        assert site.post("/api/cron/clean-up").status_code == 202
        assert site.get("/readyz").status_code == 200


def test_a_record_that_cannot_be_read_is_no_outage(redis_url: str) -> None:
    """The server has answered."""
    with Site(redis_url) as site, Redis.from_url(redis_url) as redis:
        task_id = str(uuid4())
        redis.set(f"celery-task-meta-{task_id}", "{broken")
        problem(site.get(f"/api/tasks/{task_id}"), 503)
        assert site.get("/readyz").status_code == 200


def test_a_failure_grows_old(away: EmbeddedServer) -> None:
    """Nobody sends calls to a process that is not ready, so that must end by itself."""
    with Site(away.url) as site:
        away.stop()
        problem(site.post(SWIM), 503)
        site.clock.monotonic_ahead += 25
        problem(site.get("/readyz"), 503)
        site.clock.monotonic_ahead += 5
        assert site.get("/readyz").status_code == 200
        assert site.get("/healthz").json()["ready"] is True
