"""The pricing tasks in a real worker, and a hundred thousand batches."""

import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from celery import Celery

import smartworker
from smartworker.clock import system_clock
from smartworker.examples.pricing.database import connect_engine, discounts
from smartworker.examples.pricing.days import today_at
from smartworker.examples.pricing.recompute import recompute
from smartworker.examples.pricing.seeds import seed
from smartworker.settings import Settings
from tests.integration.conftest import StartWorker

TODAY = date(2026, 11, 25)
MOST_SECONDS = 30


def quietly(*_report: object) -> None:
    """No progress is wanted."""


def offered(engine: sa.Engine) -> int:
    """How many batches have a discount."""
    with engine.connect() as connection, connection.begin():
        query = sa.select(sa.func.count()).select_from(discounts)
        return connection.scalar(query) or 0


@pytest.mark.slow
def test_a_killed_child_is_followed_by_one_that_goes_on(
    redis_url: str, start_worker: StartWorker, tmp_path: Path
) -> None:
    """kill -9 in the middle: the message comes back, and the rest is done."""
    url = f"sqlite:///{tmp_path / 'pricing.sqlite3'}"
    engine = connect_engine(url)
    seed(engine, 400, today_at(system_clock.now()), first=0, last=30)
    mark = tmp_path / "mark"
    worker = start_worker(
        "-c",
        "1",
        app="tests.integration.pricing_killed",
        DATABASE_URL=url,
        PRICING_MARK=str(mark),
    )
    worker.wait_for("worker_ready")
    app = Celery("sender", set_as_current=False)
    smartworker.setup(app, Settings(redis_url=redis_url))
    sent: Any = app.send_task("pricing.recompute_all_discounts", queue="discounts")
    result = sent.get(timeout=20)
    app.close()
    assert mark.exists()
    assert (result["checked"], result["resumed"]) == (400, True)
    assert result["changed"] == offered(engine) > 300
    assert (
        recompute(engine, "again", today_at(system_clock.now()), 30, quietly)["changed"]
        == 0
    )


@pytest.mark.slow
def test_a_hundred_thousand_batches(tmp_path: Path) -> None:
    """All of them expire within 30 days and are recomputed in less than 30 s."""
    engine = connect_engine(f"sqlite:///{tmp_path / 'pricing.sqlite3'}")
    seed(engine, 100_000, TODAY, first=0, last=30)
    begun = time.monotonic()
    done = recompute(engine, "a", TODAY, 30, quietly)
    seconds = time.monotonic() - begun
    assert done["checked"] == 100_000
    assert done["changed"] == offered(engine) > 90_000
    assert seconds < MOST_SECONDS
