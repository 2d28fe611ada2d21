"""The description of the API is true: schemathesis asks whatever it allows."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.integration.site import BEARER, Site
from tests.integration.test_triggers import declared

#: Each job has parameters of its own, and the description is that of all jobs.
OF_ALL_JOBS = [positive_data_acceptance]
OPERATIONS = (
    "POST /api/cron/{job}",
    "POST /api/cron_{job}",
    "GET /api/tasks/{task_id}",
    "GET /api/task-status/{task_id}",
    "GET /api/tasks/{task_id}/events",
    "GET /api/jobs",
    "POST /api/jobs/{job}/pause",
    "POST /api/jobs/{job}/resume",
    "POST /api/jobs/{job}/run",
    "GET /livez",
    "GET /readyz",
    "GET /healthz",
    "GET /metrics",
)


@pytest.fixture(scope="module")
def site(redis_servers: Any) -> Iterator[Site]:
    """A running web process that is patient with those who fail."""
    url = redis_servers("valkey").url
    with pytest.MonkeyPatch.context() as patient:
        patient.setattr("smartworker.web.limits.FAILURES_OF_ONE", 10**9)
        patient.setattr("smartworker.web.limits.FAILURES_OF_ALL", 10**9)
        site = Site(url, declared, trigger_limit=1_000_000)
    with site:
        yield site


@pytest.fixture(scope="module")
def operations(site: Site) -> dict[str, Any]:
    """What the process says of itself, by method and path."""
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{site.port}/openapi.json")
    return {each.ok().label: each.ok() for each in schema.get_all_operations()}


def test_nothing_is_left_out(operations: dict[str, Any]) -> None:
    """Each operation that is described is tested below."""
    assert set(operations) == set(OPERATIONS)


@pytest.mark.parametrize("with_token", [True, False], ids=["token", "stranger"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_as_described(
    operations: dict[str, Any], name: str, with_token: bool
) -> None:
    """No 500, and no status, type, header or field that is not described."""
    headers = BEARER if with_token else {}

    @given(
        case=operations[name].as_strategy(),
        job=st.none() | st.sampled_from([job.name for job in declared()]),
    )
    @settings(
        max_examples=50 if with_token else 10,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any, job: str | None) -> None:
        if job and "job" in case.path_parameters:
            case.path_parameters["job"] = job
        case.headers.pop("Authorization", None)
        case.call_and_validate(headers=headers, excluded_checks=OF_ALL_JOBS)

    ask()
