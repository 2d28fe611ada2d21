"""A setting by its former name: said once at the start, and by the doctor."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from smartworker.settings import Settings
from smartworker.web.app import create_app
from tests.commands import environment, facts
from tests.processes import WorkerProcess
from tests.upgrades.table import TABLE

ROOT = Path(__file__).parents[2]
PROJECT = "tests.upgrades.renamed"
FORMER = {"SMARTWORKER_HOLD": "7m", "SMARTWORKER_LEASE": "7m"}
SAID = [("SMARTWORKER_HOLD", "SMARTWORKER_LEASE")]


@pytest.fixture
def worker(redis_url: str, tmp_path: Path) -> Iterator[WorkerProcess]:
    """A worker of a release that has renamed the setting."""
    given = environment(redis_url, PYTHONPATH=str(ROOT), **FORMER)
    worker = WorkerProcess(
        ROOT, redis_url, "-P", "solo", app=PROJECT, cwd=tmp_path, **given
    )
    yield worker
    worker.kill()


def test_a_worker_says_it_once(worker: WorkerProcess) -> None:
    """A warning with both names, and it works with the value."""
    worker.wait_for("worker_ready", seconds=40)
    lines = worker.events("setting_renamed")
    assert [(line["former"], line["setting"]) for line in lines] == SAID
    assert [line["level"] for line in lines] == ["warning"]
    assert worker.stop() == 0


def test_a_web_process_says_it_once(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As a worker does."""
    settings = Settings.from_environment({"REDIS_URL": redis_url, **FORMER}, TABLE)
    celery_app = Celery("web", set_as_current=False)
    with caplog.at_level(logging.INFO):
        create_app(celery_app, settings)
    lines = [r.msg for r in caplog.records if isinstance(r.msg, dict)]
    said = [line for line in lines if line["event"] == "setting_renamed"]
    assert [(line["former"], line["setting"]) for line in said] == SAID
    celery_app.close()


def test_the_doctor_says_it(redis_url: str) -> None:
    """A warning that names both, and what to do."""
    words = ("doctor", "--sample", "0", "-A", PROJECT)
    found = facts(redis_url, *words, PYTHONPATH=str(ROOT), **FORMER)
    (finding,) = [each for each in found if each["subject"] == "former name"]
    assert finding["severity"] == "warning"
    assert "SMARTWORKER_HOLD is SMARTWORKER_LEASE now" in finding["message"]
    assert finding["advice"].startswith("Set SMARTWORKER_LEASE to the same")
