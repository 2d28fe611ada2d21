"""What the doctor collects from an app, the rows and the environment."""

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

import smartworker
from smartworker.cli.doctor_facts import facts_of, host_of, spending_of
from smartworker.cli.doctor_print import about
from smartworker.doctor import Endpoint, HostFacts
from smartworker.rows import Row
from smartworker.settings import Settings
from smartworker.worker.configuration import complete

NOW = datetime(2026, 11, 16, tzinfo=UTC)
ROW = Row(
    id="a",
    kind="worker",
    name="celery@here",
    started="2026-10-20T00:00:00+00:00",
    written="2026-11-15T00:00:00+00:00",
    month="2026-11",
    messages={"done": 7, "published": 150},
)


def app_with(**conf: Any) -> Any:
    """An app whose configuration is complete; it talks to nobody."""
    settings = Settings(redis_url="redis://127.0.0.1:1/0", monthly_budget=7)
    made = smartworker.setup(Celery("shop", set_as_current=False), settings)
    made.conf.update(conf)
    complete(made)
    return made


@pytest.mark.parametrize(
    ("row", "published"),
    [
        # 15 of 30 days of November are over.
        (ROW, 300),
        (replace(ROW, started="2026-11-06T00:00:00+00:00"), 450),
        # An hour says little of a month: it counts as a day.
        (replace(ROW, started="2026-11-15T23:00:00+00:00"), 4500),
        (replace(ROW, month="2026-10"), None),
    ],
)
def test_messages_of_the_month(row: Row, published: int | None) -> None:
    """What was published since the first start of the month, in 30 days."""
    assert spending_of(app_with(), [row], [], NOW).published == published


def test_what_the_plan_costs() -> None:
    """For as many workers as are alive, one at the least."""
    app, row = app_with(), replace(ROW, doorbell="keyspace")
    alone = spending_of(app, [], [], NOW)
    two = spending_of(app, [row, row], [row, replace(row, doorbell="off")], NOW)
    assert alone.foreseen
    assert two.foreseen == 2 * alone.foreseen
    assert (alone.budget, alone.hearing, two.hearing) == (7, 0, 1)
    assert alone.published is None


@pytest.mark.parametrize(
    ("conf", "expires"),
    [
        ({}, timedelta(hours=1)),
        ({"result_expires": None}, None),
        ({"result_expires": 0}, None),
        ({"result_expires": 60}, timedelta(minutes=1)),
        ({"result_expires": timedelta(days=9)}, timedelta(days=9)),
    ],
)
def test_how_long_results_stay(conf: dict[str, Any], expires: timedelta | None) -> None:
    """Celery takes seconds as well, and nothing for good."""
    assert facts_of(app_with(**conf)).result_expires == expires


def test_where_results_are() -> None:
    """In Redis, elsewhere, and what Beat has to do."""
    assert facts_of(app_with()).results_in_redis
    elsewhere = facts_of(
        app_with(
            result_backend="db+postgresql://shop/results",
            beat_schedule={"sum": {"task": "sum", "schedule": 60}},
        )
    )
    assert not elsewhere.results_in_redis
    assert elsewhere.beat_entries == ("sum",)


def test_what_the_tasks_add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries for Beat when the app is ready; or they cannot be imported at all."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "entries_of_a_shop.py").write_text(
        "def add(sender, **_):\n"
        "    sender.add_periodic_task(10.0, sender.signature('sum'), name='sum')\n"
    )
    app = app_with(include=["entries_of_a_shop"])
    app.on_after_finalize.connect(
        lambda sender, **_: import_module("entries_of_a_shop").add(sender), weak=False
    )
    found = facts_of(app)
    assert (found.beat_entries, found.unreadable) == (("sum",), None)
    broken = app_with(include=["no_such_shop"])
    assert "'no_such_shop'" in str(facts_of(broken).unreadable)
    assert spending_of(broken, [], [], NOW).foreseen is None


@pytest.mark.parametrize(
    ("conf", "scheme"),
    [
        ({}, "redis"),
        ({"redis_backend_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED}}, "rediss"),
    ],
)
def test_the_way_to_results(conf: dict[str, Any], scheme: str) -> None:
    """Celery takes options for TLS beside a URL without it."""
    app = app_with(result_backend="redis://redis.example.com/0", **conf)
    broker, backend = facts_of(app).endpoints
    assert broker == Endpoint("broker", "redis", "127.0.0.1")
    assert backend == Endpoint("result backend", scheme, "redis.example.com")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, HostFacts()),
        ({"RENDER": "false", "RENDER_SERVICE_TYPE": "web"}, HostFacts()),
        ({"RENDER": "true"}, HostFacts(platform="render")),
        (
            {"RENDER": "true", "RENDER_SERVICE_TYPE": "web", "PORT": "10000"},
            HostFacts(platform="render", kind="web", port=True, public=True),
        ),
        (
            {"RENDER": "true", "RENDER_EXTERNAL_HOSTNAME": "shop.onrender.com"},
            HostFacts(platform="render", public=True),
        ),
    ],
)
def test_the_platform(environment: dict[str, str], expected: HostFacts) -> None:
    """Only Render says what it is in a way that matters here."""
    assert host_of(environment, Settings()) == expected


def test_a_worker_that_tells_how_it_is() -> None:
    """A state file, or a port: somebody can look."""
    environment = {"RENDER": "true", "RENDER_SERVICE_TYPE": "worker"}
    assert not host_of(environment, Settings()).health
    assert host_of(environment, Settings(state_dir="/run/smartworker")).health


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "1"),
        (999, "999"),
        (1000, "about 1,000"),
        (12_345, "about 12,300"),
        (4_268_160, "about 4,270,000"),
    ],
)
def test_prices_in_round_numbers(count: int, text: str) -> None:
    """Three digits are all that a measured price is worth."""
    assert about(count) == text
