"""Recomputing in bulk, the upkeep, and what they leave in the database."""

import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from smartworker.cron.registry import Jobs
from smartworker.errors import SettingsError
from smartworker.examples.pricing.app import CONFIGURATION
from smartworker.examples.pricing.costs import row
from smartworker.examples.pricing.database import (
    batches,
    cents,
    connect_engine,
    discounts,
    money,
    price_history,
    recomputes,
    transaction,
)
from smartworker.examples.pricing.days import today_at
from smartworker.examples.pricing.discount import days_between, offer
from smartworker.examples.pricing.jobs import declare
from smartworker.examples.pricing.recompute import recompute
from smartworker.examples.pricing.seeds import main, seed
from smartworker.examples.pricing.upkeep import record_prices, remove_expired
from smartworker.settings import Settings

TODAY = date(2026, 11, 25)
NOON = datetime(2026, 11, 25, 17, tzinfo=UTC)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A file of its own."""
    return f"sqlite:///{tmp_path / 'pricing.sqlite3'}"


@pytest.fixture
def engine(url: str) -> sa.Engine:
    """500 batches, of which about half expire within 30 days."""
    engine = connect_engine(url)
    seed(engine, 500, TODAY)
    return engine


def quietly(*_report: object) -> None:
    """No progress is wanted."""


def rows(engine: sa.Engine, query: Any) -> list[Any]:
    """What a query finds."""
    with engine.connect() as connection, connection.begin():
        return list(connection.execute(query).all())


def change(engine: sa.Engine, *statements: Any) -> None:
    """What another program does to the database."""
    with engine.connect() as connection, transaction(connection):
        for statement in statements:
            connection.execute(statement)


def expected(engine: sa.Engine, today: date, threshold: int = 30) -> dict[int, Any]:
    """The discounts that the rule asks for: batch -> price and percentage."""
    last = today + timedelta(days=threshold)
    found = {}
    for each in rows(engine, sa.select(batches)):
        if today <= each.expires_on <= last:
            left = days_between(today, each.expires_on)
            made = offer(money(each.price_cents), money(each.floor_cents), left)
            if made is not None:
                found[each.id] = (cents(made.price), made.percent)
    return found


def stored(engine: sa.Engine) -> dict[int, Any]:
    """The discounts in the database, in the same form."""
    return {
        each.batch_id: (each.price_cents, each.percent)
        for each in rows(engine, sa.select(discounts))
    }


def test_all_batches_that_expire_soon(engine: sa.Engine) -> None:
    """What the rule says stands there, and the numbers are right."""
    done = recompute(engine, "a", TODAY, 30, quietly, chunk=37)
    assert stored(engine) == expected(engine, TODAY)
    assert done["changed"] == len(stored(engine))
    assert 200 < done["checked"] < 400
    assert (done["withdrawn"], done["resumed"]) == (0, False)


def test_a_second_time_changes_nothing(engine: sa.Engine) -> None:
    """Only what differs is written."""
    recompute(engine, "a", TODAY, 30, quietly)
    before = stored(engine)
    assert recompute(engine, "b", TODAY, 30, quietly)["changed"] == 0
    assert stored(engine) == before


def test_the_next_days_follow(engine: sa.Engine) -> None:
    """Batches reach the next tier, and others come into the first one."""
    recompute(engine, "a", TODAY, 30, quietly)
    later = TODAY + timedelta(days=3)
    done = recompute(engine, "b", later, 30, quietly, chunk=50)
    assert 0 < done["changed"] < done["checked"]
    wanted = expected(engine, later)
    assert {key: stored(engine)[key] for key in wanted} == wanted


def test_a_threshold_leaves_the_others_alone(engine: sa.Engine) -> None:
    """Batches that expire later keep the discount that they have."""
    done = recompute(engine, "a", TODAY, 7, quietly)
    assert done["days_threshold"] == 7
    assert stored(engine) == expected(engine, TODAY, 7)
    recompute(engine, "b", TODAY, 60, quietly)
    assert stored(engine) == expected(engine, TODAY, 30)
    recompute(engine, "c", TODAY, 1, quietly)
    assert stored(engine) == expected(engine, TODAY, 30)


def test_discounts_that_nobody_earns_any_more_go(engine: sa.Engine) -> None:
    """A later expiry date, or a floor that was raised, withdraws them."""
    recompute(engine, "a", TODAY, 30, quietly)
    first, second, *_ = stored(engine)
    change(
        engine,
        batches.update()
        .where(batches.c.id == first)
        .values(expires_on=TODAY + timedelta(days=200)),
        batches.update().where(batches.c.id == second).values(floor_cents=999_999),
    )
    done = recompute(engine, "b", TODAY, 30, quietly, chunk=50)
    assert (done["changed"], done["withdrawn"]) == (0, 2)
    assert not {first, second} & stored(engine).keys()


def test_progress_grows_to_its_end(engine: sa.Engine) -> None:
    """From nothing to everything, in chunks."""
    seen: list[tuple[int, int]] = []
    done = recompute(
        engine, "a", TODAY, 30, lambda now, all_, _: seen.append((now, all_)), chunk=50
    )
    assert seen[0] == (0, done["checked"])
    assert seen[-1] == (done["checked"], done["checked"])
    assert seen == sorted(seen)
    assert len(seen) > 4


DYING = """
import os, signal, sys
from datetime import date
from smartworker.examples.pricing.database import connect_engine
from smartworker.examples.pricing.recompute import recompute

def report(current, total, message):
    if current >= 100:
        os.kill(os.getpid(), signal.SIGKILL)

engine = connect_engine(sys.argv[1])
recompute(engine, "a", date(2026, 11, 25), 30, report, chunk=50)
"""


def test_a_killed_run_goes_on_where_it_was(engine: sa.Engine, url: str) -> None:
    """kill -9 between two chunks: the rest is done, also after midnight."""
    died = subprocess.run([sys.executable, "-c", DYING, url], env=dict(os.environ))
    assert died.returncode == -signal.SIGKILL
    half = stored(engine)
    assert 0 < len(half) <= 100
    seen: list[int] = []
    tomorrow = TODAY + timedelta(days=1)
    done = recompute(
        engine, "a", tomorrow, 30, lambda now, *_: seen.append(now), chunk=50
    )
    assert (done["resumed"], done["date"]) == (True, "2026-11-25")
    assert seen[0] == 100
    assert stored(engine) == expected(engine, TODAY)
    assert done["changed"] == len(stored(engine))
    assert half.items() <= stored(engine).items()


def test_expired_discounts_are_removed(engine: sa.Engine) -> None:
    """Those of batches that expired yesterday; runs of last week are forgotten."""
    recompute(engine, "a", TODAY, 30, quietly)
    later = TODAY + timedelta(days=10)
    done = remove_expired(engine, later)
    gone = {
        each.id
        for each in rows(engine, sa.select(batches))
        if TODAY <= each.expires_on < later
    }
    assert done["removed"] == len(gone & expected(engine, TODAY).keys()) > 0
    assert not gone & stored(engine).keys()
    assert done["forgotten_runs"] == 1
    assert rows(engine, sa.select(recomputes)) == []
    assert remove_expired(engine, later)["removed"] == 0


def test_the_history_has_each_price_once(engine: sa.Engine) -> None:
    """All at first, then those that changed, and nothing twice."""
    assert record_prices(engine, NOON, quietly, chunk=64)["recorded"] == 500
    recompute(engine, "a", TODAY, 30, quietly)
    done = record_prices(engine, NOON + timedelta(hours=6), quietly)
    assert done["recorded"] == len(stored(engine))
    assert record_prices(engine, NOON, quietly)["recorded"] == 0
    remove_expired(engine, TODAY + timedelta(days=40))
    record_prices(engine, NOON, quietly)
    newest = sa.select(price_history).order_by(price_history.c.id)
    prices = {each.batch_id: each.price_cents for each in rows(engine, newest)}
    full = {each.id: each.price_cents for each in rows(engine, sa.select(batches))}
    assert prices == full


def test_an_empty_database(url: str) -> None:
    """Nothing to do is no error."""
    engine = connect_engine(url)
    assert recompute(engine, "a", TODAY, 30, quietly)["checked"] == 0
    assert record_prices(engine, NOON, quietly)["recorded"] == 0
    assert remove_expired(engine, TODAY)["removed"] == 0


def test_seeds_are_added_once(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second call adds what is missing."""
    monkeypatch.setenv("DATABASE_URL", url)
    main(["--batches", "20"])
    main(["--batches", "25"])
    assert capsys.readouterr().out == "20 batches added.\n5 batches added.\n"


@pytest.mark.parametrize(
    "url", ["nonsense", "postgresql+nodriver://h/d", "mysql+nodriver://u:secret@h/d"]
)
def test_a_database_that_cannot_be_opened_is_a_sentence(url: str) -> None:
    """It names the variable, and shows no password."""
    with pytest.raises(SettingsError, match="DATABASE_URL") as caught:
        connect_engine(url)
    assert "secret" not in str(caught.value)


def test_the_day_is_that_of_the_shops() -> None:
    """At 3 AM in UTC it is still yesterday in New York."""
    assert today_at(datetime(2026, 11, 25, 3, tzinfo=UTC)) == date(2026, 11, 24)


def test_the_jobs_take_the_place_of_beat() -> None:
    """Three schedules, each with a queue and the limits of the tasks."""
    jobs = Jobs()
    declare(jobs)
    schedules = {
        job.name: job.schedule.expression for job in jobs if job.schedule is not None
    }
    assert schedules == {
        "recompute-all-discounts": "0 * * * *",
        "cleanup-expired-discounts": "0 2 * * *",
        "update-price-history": "0 */6 * * *",
    }
    routes = CONFIGURATION["task_routes"]
    assert {job.task: routes[job.task]["queue"] for job in jobs} == {
        "pricing.recompute_all_discounts": "discounts",
        "pricing.cleanup_expired_discounts": "maintenance",
        "pricing.update_price_history": "analytics",
    }
    limits = ("task_time_limit", "task_soft_time_limit", "worker_max_tasks_per_child")
    assert [CONFIGURATION[name] for name in limits] == [1800, 1500, 1000]


def test_what_it_costs(url: str) -> None:
    """The row of the table: an idle day, a trigger, a task, the jobs of a month."""
    assert row(Settings(database_url=url), NOON) == ("pricing", 412, 3, 6, 7_830)
    assert row(Settings(), NOON)[-1] == 8_700
