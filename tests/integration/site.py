"""One running web process for the tests, and how to ask it."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
from celery import Celery
from redis import Redis

from smartworker.clock import SystemClock
from smartworker.cron.registry import Jobs
from smartworker.settings import Settings
from smartworker.testing import commandstats
from smartworker.web.app import create_app
from smartworker.web.serve import build, listen

TOKEN = "t" * 40
OWN = "o" * 40
NOON = datetime(2026, 11, 21, 17, 0, 42, tzinfo=UTC)
SWIM = "/api/cron/schedule-swim-lanes"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Wall(SystemClock):
    """The clock of the machine, whose wall stands at noon Eastern until it is set."""

    def __init__(self) -> None:
        self.wall = NOON
        self.monotonic_ahead = 0.0

    def monotonic(self) -> float:
        """Seconds since some moment, and what a test has added."""
        return super().monotonic() + self.monotonic_ahead

    def now(self) -> datetime:
        """What the wall shows."""
        return self.wall


def swim_jobs() -> Jobs:
    """Two jobs without a schedule."""
    jobs = Jobs()
    jobs.declare("schedule-swim-lanes", "swim.auto_book", kwargs={"day": "2026-11-22"})
    jobs.declare("clean-up", "tasks.clean")
    return jobs


class Site:
    """A web process with an application of its own on the server at `url`."""

    def __init__(
        self, url: str, make_jobs: Callable[[], Jobs] = swim_jobs, **settings: Any
    ) -> None:
        values = {
            "redis_url": url,
            "cron_tokens": (TOKEN, f"clean-up:{OWN}"),
        } | settings
        if "clean-up" not in make_jobs():
            values["cron_tokens"] = settings.get("cron_tokens", (TOKEN,))
        self.celery_app = Celery("web", set_as_current=False)
        self.clock = Wall()
        self.app = create_app(
            self.celery_app, Settings(**values), make_jobs(), clock=self.clock
        )
        self.listener = listen("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        self.server = build(self.app)
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],))
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", timeout=10, trust_env=False
        )

    def __enter__(self) -> "Site":
        self.thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.client.close()
        self.server.should_exit = True
        self.thread.join(10)
        self.celery_app.close()

    def post(self, path: str, **options: Any) -> httpx.Response:
        """POST with the token that opens all jobs."""
        options["headers"] = BEARER | dict(options.get("headers") or {})
        return self.client.post(path, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET without a token."""
        return self.client.get(path, **options)


def commands(redis: Redis) -> int:
    """How many commands the server has answered, our own questions left out."""
    return sum(spent(redis).values())


def spent(redis: Redis) -> dict[str, int]:
    """The commands that the server has answered, our own questions left out."""
    ours = {"info", "config|resetstat"}
    return {
        name: count for name, count in commandstats(redis).items() if name not in ours
    }


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document, checked for what each one must have."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert "Traceback" not in response.text
    return document
