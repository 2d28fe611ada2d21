"""Declared jobs, and what a run of one is called."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from smartworker.cron.registry import Job, Jobs
from smartworker.cron.slots import run_at, stamp
from smartworker.errors import UnknownJob


@pytest.fixture
def jobs() -> Jobs:
    """Two jobs."""
    jobs = Jobs()
    jobs.declare("schedule-swim-lanes", "swim.auto_book", description="Books.")
    jobs.declare("clean-up", "tasks.clean", args=[1], kwargs={"deep": True})
    return jobs


def test_jobs_keep_their_order(jobs: Jobs) -> None:
    """Iteration is in the order of declaration."""
    assert [job.name for job in jobs] == ["schedule-swim-lanes", "clean-up"]
    assert len(jobs) == 2
    assert "clean-up" in jobs


def test_a_job_is_found_by_name(jobs: Jobs) -> None:
    """The job carries its task and its arguments."""
    job = jobs.get("clean-up")
    assert (job.task, job.args, dict(job.kwargs)) == (
        "tasks.clean",
        (1,),
        {"deep": True},
    )


def test_an_unknown_name_suggests_the_nearest(jobs: Jobs) -> None:
    """A misspelled name is answered with the right one."""
    with pytest.raises(UnknownJob, match="did you mean 'clean-up'"):
        jobs.get("cleanup")


@pytest.mark.parametrize("name", ["", "x" * 10_240, "é", "\r\nSet-Cookie: a", "../a"])
def test_an_unknown_name_of_any_form_is_one_short_line(jobs: Jobs, name: str) -> None:
    """What comes from a URL appears escaped and cut."""
    with pytest.raises(UnknownJob) as caught:
        jobs.get(name)
    text = str(caught.value)
    assert len(text) < 200
    assert text.isascii()
    assert text.isprintable()


@pytest.mark.parametrize("name", ["", "-a", "A", "a_b", "a b", "é", "a\n", "a" * 64])
def test_a_name_that_breaks_in_a_url_is_refused(name: str) -> None:
    """Names are lower-case letters, digits and hyphens."""
    with pytest.raises(ValueError, match="no name for a job"):
        Job(name=name, task="t")


def test_a_name_is_declared_once(jobs: Jobs) -> None:
    """Two jobs of one name would hide each other."""
    with pytest.raises(ValueError, match="twice"):
        jobs.declare("clean-up", "other")


def test_the_arguments_of_a_job_are_frozen() -> None:
    """A later change of the caller's dict does not reach the job."""
    kwargs = {"deep": True}
    job = Job(name="a", task="t", kwargs=kwargs)
    kwargs["deep"] = False
    assert job.kwargs["deep"] is True
    with pytest.raises(TypeError):
        job.kwargs["deep"] = False  # type: ignore[index]


def test_the_slot_is_the_minute_of_the_call_in_utc() -> None:
    """In the repeated hour of autumn the slots of both passes differ."""
    summer, winter = timezone(timedelta(hours=-4)), timezone(timedelta(hours=-5))
    first = datetime(2026, 11, 1, 1, 30, 59, tzinfo=summer)
    second = datetime(2026, 11, 1, 1, 30, tzinfo=winter)
    assert run_at(first).slot == "2026-11-01T05:30:00Z"
    assert run_at(second).slot == "2026-11-01T06:30:00Z"
    assert stamp(first) == "2026-11-01T05:30:59Z"


def test_each_run_has_an_id_of_its_own() -> None:
    """Ids are canonical UUIDs."""
    now = datetime(2026, 11, 21, tzinfo=UTC)
    ids = {run_at(now).task_id for _ in range(10)}
    assert len(ids) == 10
    assert all(str(UUID(task_id)) == task_id for task_id in ids)
