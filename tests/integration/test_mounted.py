"""The web half inside other web applications, over real HTTP."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import redis as redis_py
from a2wsgi import ASGIMiddleware
from celery import Celery
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server

from smartworker.settings import Settings
from smartworker.web.app import create_app
from smartworker.web.serve import build, listen
from tests.integration.site import BEARER, TOKEN, problem, swim_jobs

Hosted = Callable[[Any], Any]


@contextmanager
def uvicorn_of(app: Any) -> Iterator[str]:
    """An ASGI application, served; its address."""
    with listen("127.0.0.1", 0) as listener:
        server = build(app)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@contextmanager
def in_fastapi(ours: Any) -> Iterator[str]:
    """A FastAPI application with ours below /worker."""
    app = FastAPI()
    app.get("/")(lambda: "mine")
    app.mount("/worker", ours)
    with uvicorn_of(app) as address:
        yield address


@contextmanager
def in_starlette(ours: Any) -> Iterator[str]:
    """A Starlette application with ours below /worker."""

    async def mine(_request: Any) -> PlainTextResponse:
        return PlainTextResponse("mine")

    with uvicorn_of(Starlette(routes=[Route("/", mine), Mount("/worker", ours)])) as at:
        yield at


@contextmanager
def in_flask(ours: Any) -> Iterator[str]:
    """A Flask application with ours below /worker, on a WSGI server with threads."""
    app = Flask("shop")
    app.get("/")(lambda: "mine")
    below = {"/worker": ASGIMiddleware(ours)}
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, below)  # type: ignore[method-assign]
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture(params=[in_fastapi, in_starlette, in_flask])
def client(request: Any, redis_url: str) -> Iterator[httpx.Client]:
    """Asks one of the three."""
    settings = Settings(redis_url=redis_url, cron_tokens=(TOKEN,))
    celery_app = Celery("mounted", set_as_current=False)
    ours = create_app(celery_app, settings, swim_jobs())
    with (
        request.param(ours) as address,
        httpx.Client(base_url=address, timeout=10, trust_env=False) as client,
    ):
        yield client
    celery_app.close()


def test_triggers_and_status_below_a_prefix(
    client: httpx.Client, redis_url: str
) -> None:
    """The host's own pages stay; Location names the address as the caller sees it."""
    assert "mine" in client.get("/").text
    accepted = client.post("/worker/api/cron/clean-up", headers=BEARER)
    assert accepted.status_code == 202
    task_id = accepted.json()["task_id"]
    assert accepted.headers["location"] == f"/worker/api/tasks/{task_id}"
    status = client.get(accepted.headers["location"]).json()
    assert status["task_id"] == task_id
    assert client.get("/worker/livez").json() == {"status": "ok"}
    with redis_py.Redis.from_url(redis_url) as redis:
        assert redis.llen("celery") == 1


def test_pause_and_refusals_below_a_prefix(client: httpx.Client) -> None:
    """Problems are documents there, too."""
    problem(client.post("/worker/api/cron/clean-up"), 401)
    problem(client.post("/worker/api/cron/none", headers=BEARER), 404)
    problem(client.get("/worker/api/cron/clean-up"), 405)
    big = {**BEARER, "Content-Type": "application/json"}
    problem(
        client.post("/worker/api/cron/clean-up", content=b"x" * 70_000, headers=big),
        413,
    )
    assert client.post("/worker/api/jobs/clean-up/pause", headers=BEARER).is_success
    skipped = client.post("/worker/api/cron/clean-up", headers=BEARER)
    assert skipped.json()["reason"] == "paused"


def test_no_thread_finds_a_configuration_that_is_not_complete(redis_url: str) -> None:
    """Celery completes it where it is first read; that is not left to requests."""
    app = Celery("mounted", set_as_current=False)
    create_app(app, Settings(redis_url=redis_url, cron_tokens=(TOKEN,)), swim_jobs())
    assert app.configured
    assert app.conf.broker_url == redis_url
