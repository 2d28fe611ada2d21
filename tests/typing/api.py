"""The public API as a user's type checker sees it. Never run: `make lint` checks it."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, assert_type

from celery import Celery
from fastapi import FastAPI

import smartworker
from smartworker.cron.registry import Job
from smartworker.testing import ManualClock, ManualHub, ManualKeeper, commandstats
from smartworker.web.app import create_app
from smartworker.windows import Windows


class Shop:
    """Stands for Celery's app, which has no types: what goes in comes out."""


# -- setup -----------------------------------------------------------------------------

jobs = smartworker.Jobs()
settings = smartworker.Settings(
    redis_url="rediss://:secret@redis.example:6379",
    windows=Windows.parse("20:00-23:00=30s", "Europe/Berlin"),
    quiet_poll=timedelta(minutes=30),
    doorbell="keyspace",
    lease=timedelta(minutes=5),
    tls_ca=Path("ca.pem"),
    cron_tokens=("t" * 40,),
    dashboard="private",
    log_format="console",
    metrics_port=("127.0.0.1", 9808),
)

app = smartworker.setup(Shop())
assert_type(app, Shop)
assert_type(smartworker.setup(Shop(), settings), Shop)
assert_type(smartworker.setup(Shop(), settings=settings, jobs=jobs), Shop)
assert_type(smartworker.setup(Shop(), jobs=smartworker.Jobs), Shop)
smartworker.setup(app, {"redis_url": "redis://"})  # type: ignore[arg-type]
smartworker.setap(app)  # type: ignore[attr-defined]
smartworker.Settings(quiet_poll=30)  # type: ignore[arg-type]
smartworker.Settings(doorbell="loud")  # type: ignore[arg-type]

assert_type(settings.quiet_poll, timedelta)
assert_type(settings.redis_url, str | None)
assert_type(settings.port, int)
assert_type(
    smartworker.Settings.from_environment({"PORT": "8000"}), smartworker.Settings
)

# -- jobs ------------------------------------------------------------------------------

job = jobs.declare(
    "nightly-sum",
    "shop.add",
    args=(2, 3),
    kwargs={"loud": True},
    schedule="0 21 * * mon-fri",
    zone="Europe/Berlin",
    grace="15m",
    deadline=timedelta(hours=1),
    only_when_due=True,
    overlap="skip",
    catch_up="once",
    windows="mon-fri 08:00-18:00",
    parameters={"lane": int},
    sync=True,
    ping="off",
    sentry_monitor="nightly-sum",
)
assert_type(job, Job)
assert_type(jobs.get("nightly-sum"), Job)
assert_type(list(jobs), list[Job])
assert_type(iter(jobs), Iterator[Job])
assert_type(job.grace, timedelta)
assert_type("nightly-sum" in jobs, bool)
assert_type(len(jobs), int)
jobs.declare("wrong", "shop.add", overlap="never")  # type: ignore[arg-type]
jobs.declare("wrong", "shop.add", shedule="0 21 * * *")  # type: ignore[call-arg]
jobs.declare("wrong")  # type: ignore[call-arg]

# -- tasks -----------------------------------------------------------------------------

celery = smartworker.setup(Celery("shop"))


class Patient(smartworker.Task):
    """A base task of one's own."""

    max_retries = 8
    retry_backoff = 0.5
    autoretry_for = (OSError,)


@celery.task(base=Patient)  # type: ignore[untyped-decorator]
def add(x: int, y: int) -> int:
    """A task that says how far it is."""
    smartworker.progress(1, 2.5)
    smartworker.progress(2, 2.5, "nearly done")
    smartworker.progress("1", 2)  # type: ignore[arg-type]
    return x + y


def publish() -> Any:
    """Once, however often it is called."""
    smartworker.publish_once(add, 7)  # type: ignore[arg-type]
    smartworker.publish_once(add, "order-7", kwargs={"x": 1, "y": 2}, countdown=5)
    return smartworker.publish_once(add, "order-7", args=(1, 2))


# -- errors ----------------------------------------------------------------------------


def start() -> int:
    """Everything that we raise on purpose has one root and an exit status."""
    try:
        smartworker.setup(Shop())
    except smartworker.SettingsError as error:
        assert_type(error.exit_status, int)
        root: smartworker.SmartworkerError = error
        return root.exit_status
    return 0


# -- the web process in an application of one's own ------------------------------------

site = FastAPI()
site.mount("/worker", create_app(app))
assert_type(create_app(app, settings, jobs), FastAPI)

# -- what tests need -------------------------------------------------------------------

clock = ManualClock(datetime(2026, 11, 1, tzinfo=UTC))
clock.advance(30)
assert_type(clock.now(), datetime)
assert_type(clock.monotonic(), float)
assert_type(clock.wait(threading.Event(), 1.5), bool)
hub = ManualHub(clock)
hub.call_later(1, lambda: None).cancel()
hub.run(60)
keeper = ManualKeeper(hub, lambda: 5.0)
keeper.wake()
assert_type(commandstats(object()), dict[str, int])
create_app(app, clock=clock)
