"""What a message inherits from the run that publishes it, and what Sentry reads."""

import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from celery import signals

from smartworker.cron.registry import Job, Jobs
from smartworker.cron.runs import HEADER
from smartworker.logs import bound
from smartworker.worker import crons, tracing

NOW = datetime(2026, 11, 1, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def connected() -> None:
    """As after `setup`; a second time changes nothing."""
    tracing.connect()
    crons.connect()


def published(headers: Any) -> Any:
    """The headers of a message, as they are sent."""
    signals.before_task_publish.send(sender="t", headers=headers)
    return headers


def test_a_message_inherits_the_trigger_id_alone() -> None:
    """The job's figures count runs, not what they queue."""
    with bound(trigger_id="t-1", job="book", task_id="id-1"):
        assert published({"id": "id-2"}) == {"id": "id-2", "trigger_id": "t-1"}
    assert published({"id": "id-3"}) == {"id": "id-3"}


def test_a_run_of_its_own_keeps_its_trigger_id() -> None:
    """A retry, or a job that a task triggers."""
    with bound(trigger_id="t-1"):
        assert published({"trigger_id": "t-2"}) == {"trigger_id": "t-2"}


@pytest.mark.parametrize("value", [7, None, object()])
def test_what_others_bind_under_this_name_stays_away(value: Any) -> None:
    """A message that cannot be written would be lost."""
    with bound(trigger_id=value):
        assert published({"id": "id-1"}) == {"id": "id-1"}


def test_headers_inside_the_headers_have_our_names_too() -> None:
    """A tracing library's way; what it has put there stays as it is."""
    run = {"job": "book"}
    outer = {"job": "book", "trigger_id": "t-1", HEADER: run}
    inner = published({**outer, "headers": {"baggage": "a=1", "job": "mine"}})[
        "headers"
    ]
    assert inner == {"baggage": "a=1", "job": "mine", "trigger_id": "t-1", HEADER: run}


@pytest.mark.parametrize("headers", [None, "text", {}, {"headers": None}])
def test_other_forms_are_left_alone(headers: Any) -> None:
    """No error in somebody's publication."""
    assert published(headers) == headers


def job(**options: Any) -> Job:
    """A job with these options."""
    return Jobs().declare("book", "swim.book", **options)


def test_a_job_without_a_monitor_has_no_headers() -> None:
    """Nothing for Sentry in its messages."""
    assert crons.headers_of(job(), NOW) == {}


def test_the_headers_of_a_monitor() -> None:
    """The slug, an id for each run, and when it was called; no schedule, no config."""
    watched = job(sentry_monitor="lanes")
    first, second = (crons.headers_of(watched, NOW) for _ in range(2))
    assert first.pop(crons.CHECK_IN) != second.pop(crons.CHECK_IN)
    assert (
        first
        == second
        == {
            "sentry-monitor-slug": "lanes",
            "sentry-monitor-start-timestamp-s": "1793509200.000000000",
        }
    )


def test_a_monitor_with_a_schedule_is_described() -> None:
    """Margins in whole minutes, rounded up, one at least."""
    options = {"schedule": "0 21 * * *", "zone": "Europe/Berlin", "deadline": "90s"}
    watched = job(sentry_monitor="lanes", limit="20s", grace="30s", **options)
    assert crons.headers_of(watched, NOW)["sentry-monitor-config"] == {
        "schedule": {"type": "crontab", "value": "0 21 * * *"},
        "timezone": "Europe/Berlin",
        "checkin_margin": 2,
        "max_runtime": 1,
    }


def test_without_sentry_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has it installed and unused does not load it."""
    for name in [name for name in sys.modules if name.startswith("sentry_sdk")]:
        monkeypatch.delitem(sys.modules, name)
    headers = crons.headers_of(job(sentry_monitor="lanes"), NOW)
    task = SimpleNamespace(request=SimpleNamespace(headers=headers, retries=0))
    crons._begin(task=task)
    assert not [name for name in sys.modules if name.startswith("sentry_sdk")]
