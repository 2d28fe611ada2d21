"""`/metrics` of the web process: its calls and its commands, for none of its own."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from smartworker.store.meter import is_billed, ledger
from tests.integration.site import BEARER, OWN, TOKEN, Site, problem, spent
from tests.integration.test_triggers import declared

NIGHT = datetime(2026, 11, 22, 2, 0, 5, tzinfo=UTC)


@pytest.fixture
def site(redis_url: str) -> Iterator[Site]:
    """Jobs of each kind, at nine in the evening."""
    with Site(redis_url, declared, cron_tokens=(TOKEN, f"nightly:{OWN}")) as site:
        site.clock.wall = NIGHT
        yield site


def scrape(site: Site) -> dict[str, dict[tuple[str, ...], float]]:
    """{metric: {label values: value}}."""
    answer = site.get("/metrics", headers=BEARER)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for each in family.samples:
            found.setdefault(each.name, {})[tuple(each.labels.values())] = each.value
    return found


def triggers(site: Site) -> dict[tuple[str, ...], float]:
    """{(job, outcome, reason): count}."""
    return scrape(site).get("smartworker_triggers_total", {})


def test_each_call_is_counted_once(site: Site) -> None:
    """By its job and by what became of it, whatever name the caller wrote."""
    assert triggers(site) == {}
    for _ in range(3):
        assert site.post("/api/cron/nightly").status_code == 202
    site.post("/api/cron_nightly", headers={"Authorization": "Bearer wrong"})
    site.post("/api/cron/sync")
    site.post("/api/cron/sync", json={"shop": 7})
    for number in range(5):
        assert site.post(f"/api/cron/made-up-{number}").status_code == 404
    site.post("/api/cron/office")
    site.post("/api/jobs/single/run")
    assert triggers(site) == {
        ("nightly", "accepted", ""): 1,
        ("nightly", "replayed", ""): 2,
        ("nightly", "refused", "401"): 1,
        ("sync", "refused", "422"): 1,
        ("sync", "accepted", ""): 1,
        ("", "refused", "404"): 5,
        ("office", "skipped", "outside its windows"): 1,
        ("single", "accepted", ""): 1,
    }


def test_a_call_that_finds_no_redis_has_failed(
    site: Site, redis_servers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Not refused: the caller did nothing wrong."""
    with Site("redis://127.0.0.1:1/0", declared) as away:
        away.clock.wall = NIGHT
        with caplog.at_level(logging.CRITICAL):
            problem(away.post("/api/cron/nightly"), 503)
            problem(away.post("/api/jobs/single/run"), 503)
        assert triggers(away) == {
            ("nightly", "failed", ""): 1,
            ("single", "failed", ""): 1,
        }


def test_looking_costs_nothing_and_says_what_was_spent(
    site: Site, redis_url: str
) -> None:
    """A scrape sends no command, and shows the ledger of this process."""
    site.post("/api/cron/nightly")
    with Redis.from_url(redis_url, decode_responses=True) as server:
        before = spent(server)
        found = scrape(site)
        assert spent(server) == before
    billed = {key: n for key, n in ledger.counts().items() if is_billed(key[1])}
    assert found["smartworker_redis_commands_total"] == billed
    (labels,) = found["smartworker_info"]
    assert "web" in labels


def test_a_token_is_needed(site: Site) -> None:
    """Any that is valid, also the one of a single job."""
    problem(site.get("/metrics"), 401)
    own = {"Authorization": f"Bearer {OWN}"}
    assert site.get("/metrics", headers=own).status_code == 200
    newer = BEARER | {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = site.get("/metrics", headers=newer)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
