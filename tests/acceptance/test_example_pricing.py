"""The pricing example as its users meet it: one command, then HTTP."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from smartworker.clock import system_clock
from smartworker.examples.pricing.costs import row
from smartworker.examples.pricing.database import (
    batches,
    cents,
    connect_engine,
    discounts,
    money,
    price_history,
)
from smartworker.examples.pricing.days import today_at
from smartworker.examples.pricing.discount import days_between, offer
from smartworker.settings import Settings
from tests.examples import BEARER, DAY, Cost, Example, running
from tests.processes import wait_until

ADMIN = "/api/v1/admin/discounts"
TRIGGER = f"{ADMIN}/trigger-recompute"
STATUS = f"{ADMIN}/task-status"
BATCHES = 3_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the parts end with /proc"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The database of the example."""
    return f"sqlite:///{tmp_path_factory.mktemp('data') / 'pricing.sqlite3'}"


@pytest.fixture(scope="module")
def pricing(tmp_path_factory: pytest.TempPathFactory, url: str) -> Iterator[Example]:
    """The example, ready, with 3,000 batches."""
    directory = tmp_path_factory.mktemp("pricing")
    environment = {"DATABASE_URL": url, "PRICING_BATCHES": str(BATCHES)}
    with running("pricing", directory, **environment) as example:
        yield example


def count(url: str, table: sa.Table) -> int:
    """How many rows a table has."""
    with connect_engine(url).connect() as connection, connection.begin():
        return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def ended(pricing: Example) -> list[dict[str, Any]]:
    """What the worker has logged about tasks that were done."""
    lines = [line for line in pricing.log().splitlines() if line.startswith("{")]
    found = [json.loads(line) for line in lines]
    return [line for line in found if line.get("event") == "task_finished"]


def test_the_recompute_in_a_worker(pricing: Example, url: str) -> None:
    """202 with the task's id, then its result; each batch has what the rule says."""
    answer = pricing.client.post(
        TRIGGER, params={"days_threshold": 30, "async_task": "true"}, headers=BEARER
    )
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert (told["status"], told["days_threshold"]) == ("accepted", 30)
    assert answer.headers["location"] == f"{STATUS}/{told['task_id']}"
    assert pricing.final(told["task_id"])["state"] == "SUCCESS"
    status = pricing.client.get(answer.headers["location"], headers=BEARER).json()
    assert (status["task_id"], status["state"]) == (told["task_id"], "SUCCESS")
    with connect_engine(url).connect() as connection, connection.begin():
        known = connection.execute(sa.select(batches)).all()
        stored = {
            each.batch_id: each.price_cents
            for each in connection.execute(sa.select(discounts))
        }
    assert len(known) == BATCHES
    wanted = {}
    for each in known:
        left = days_between(today_at(system_clock.now()), each.expires_on)
        made = offer(money(each.price_cents), money(each.floor_cents), left)
        if made is not None:
            wanted[each.id] = cents(made.price)
    assert stored == wanted
    assert status["result"]["changed"] == len(wanted)


def test_the_recompute_in_the_web_process(pricing: Example) -> None:
    """200 with the result, which finds everything up to date at the second time."""
    for _ in range(2):
        answer = pricing.client.post(
            TRIGGER,
            params={"async_task": "false", "days_threshold": 14},
            headers=BEARER,
        )
        assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["status"], told["days_threshold"]) == ("finished", 14)
    assert told["result"]["checked"] > 0
    assert told["result"]["changed"] == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("days_threshold=0", "days_threshold"),
        ("days_threshold=366", "days_threshold"),
        ("days_threshold=soon", "days_threshold"),
        ("days_threshold=", "days_threshold"),
        ("days_threshold=1.5", "days_threshold"),
        ("async_task=perhaps", "async_task"),
        ("days_treshold=7", "days_treshold"),
    ],
)
def test_wrong_values(pricing: Example, query: str, field: str) -> None:
    """422 that names the parameter, and nothing is queued or computed."""
    answer = pricing.client.post(f"{TRIGGER}?{query}", headers=BEARER)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["errors"][0]["field"] == field
    assert problem["detail"].endswith(".")


def test_strangers_stay_outside(pricing: Example) -> None:
    """401 without the token, also where the values are wrong; 400 in the address."""
    for path in (TRIGGER, f"{TRIGGER}?days_threshold=x"):
        assert pricing.client.post(path).status_code == 401
    assert pricing.client.get(f"{STATUS}/{'0' * 8}").status_code == 401
    token = BEARER["Authorization"].partition(" ")[2]
    assert pricing.client.post(f"{TRIGGER}?token={token}").status_code == 400
    assert pricing.client.get(TRIGGER, headers=BEARER).status_code == 405
    for wrong in ("nonsense", "1"):
        answer = pricing.client.get(f"{STATUS}/{wrong}", headers=BEARER)
        assert answer.status_code == 422


def test_the_jobs_of_the_clock(pricing: Example, url: str) -> None:
    """Cron services call all three; the history then has a price for each batch."""
    for job, number in (
        ("recompute-all-discounts", "checked"),
        ("cleanup-expired-discounts", "removed"),
        ("update-price-history", "recorded"),
    ):
        answer = pricing.client.post(f"/api/cron/{job}", headers=BEARER)
        assert answer.status_code == 202, answer.text
        status = pricing.final(answer.json()["task_id"])
        assert status["state"] == "SUCCESS", status
        assert number in status["result"]
    assert count(url, price_history) == BATCHES


def spent(pricing: Example, path: str, **headers: str) -> dict[str, int]:
    """What a trigger and its task cost, from the call to the end."""
    done = len(ended(pricing))
    pricing.billed()
    answer = pricing.client.post(path, headers={**BEARER, **headers})
    assert answer.status_code == 202, answer.text
    wait_until(lambda: len(ended(pricing)) > done)
    # The acknowledgement comes after the log line.
    pricing.settle()
    return pricing.billed()


def test_what_it_costs(pricing: Example, url: str) -> None:
    """The server counts what the row of the table says."""
    found = Cost(*row(Settings(database_url=url), DAY))
    assert found.is_in_the_readme()
    trigger, task = found.per_trigger, found.per_task
    clean_up = "/api/cron/cleanup-expired-discounts"
    # The first ones ask who is paused, and take the lease of the message.
    for each in (TRIGGER, clean_up):
        spent(pricing, each, **{"Idempotency-Key": "before"})
    counts = spent(pricing, TRIGGER)
    assert counts == {"lpush": 1, "lmove": 1, "lrem": 1, "set": 1}
    assert sum(counts.values()) <= task
    counts = spent(pricing, clean_up, **{"Idempotency-Key": "after"})
    # The run of a scheduled time has a record for its slot, too.
    assert counts.pop("set") in (2, 3)
    assert counts == {"eval": 1, "lpush": 1, "lmove": 1, "lrem": 1}
    assert trigger == 3
