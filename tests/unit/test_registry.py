"""Declared jobs: what may be declared, and what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smartworker.cron.registry import Job, Jobs
from smartworker.errors import JobError, UnknownJob


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


def test_texts_become_durations_times_and_windows() -> None:
    """A declaration is written as people write settings."""
    job = Jobs().declare(
        "sync",
        "tasks.sync",
        schedule="30 21 * * mon-fri",
        zone="Europe/Berlin",
        grace="5m",
        deadline="1h",
        windows="mon-fri 20:00-23:00",
        retention="2d",
        limit="90s",
    )
    assert job.schedule is not None
    assert job.schedule.zone == "Europe/Berlin"
    assert job.grace == timedelta(minutes=5)
    assert job.patience == timedelta(hours=1)
    assert job.limit == timedelta(seconds=90)
    assert job.windows is not None
    # A Monday, 21:00 and 23:00 in Berlin.
    assert job.windows.at(datetime(2026, 11, 23, 20, tzinfo=UTC)) is not None
    assert job.windows.at(datetime(2026, 11, 23, 22, tzinfo=UTC)) is None


def test_patience_is_the_grace_unless_a_deadline_is_set() -> None:
    """A slot is missed when a call would not count for it any more."""
    assert Jobs().declare("a", "t", grace="7m").patience == timedelta(minutes=7)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"grase": "5m"}, "no option 'grase': did you mean 'grace'"),
        ({"only_due": True}, "did you mean 'only_when_due'"),
        ({"xyz": 1}, "no option 'xyz': args, kwargs"),
        ({"schedule": "61 * * * *"}, "no schedule that ever comes"),
        ({"schedule": "* * * *"}, "has 4 fields"),
        ({"schedule": "0 0 30 2 *"}, "no schedule that ever comes"),
        ({"schedule": "0 9 * * *", "zone": "Europe/Belrin"}, "Europe/Berlin"),
        ({"grace": "soon"}, "'soon' is not a duration"),
        ({"overlap": "drop"}, "overlap 'drop': allowed is allow, skip, queue"),
        ({"sentry_monitor": "My Job"}, "the Sentry monitor 'My Job', which is no slug"),
        ({"sentry_monitor": 3}, "the Sentry monitor 3, which is no slug"),
        ({"ping": 3}, "a ping that is not shown: a ping address starts with"),
        ({"catch_up": "twice"}, "allowed is skip, once, all"),
        ({"catch_up": "once"}, "catch_up 'once' and no schedule"),
        ({"only_when_due": True}, "only_when_due and no schedule"),
        ({"catch_up_cap": 0}, "from 1 up"),
        ({"grace": "1h", "deadline": "1m"}, "inside its grace"),
        ({"retention": "1h"}, "make the retention longer"),
        ({"windows": "20:00-23:00=30s"}, "has a poll"),
        ({"windows": "20-23"}, "is not a window"),
        (
            {"windows": "mon-fri 08:00-18:00", "schedule": "0 6 * * *"},
            "none of whose slots lies in its windows",
        ),
        ({"parameters": {"a b": str}}, "the parameter 'a b'"),
        ({"parameters": {"day": str}, "kwargs": {"day": 1}}, "already among kwargs"),
    ],
)
def test_what_cannot_work_is_one_sentence(
    options: dict[str, Any], sentence: str
) -> None:
    """It names the job, the value and what to do, and stops the start."""
    with pytest.raises(JobError) as caught:
        Jobs().declare("nightly", "tasks.nightly", **options)
    text = str(caught.value)
    assert sentence in text
    assert "'nightly'" in text
    assert "\n" not in text
    assert caught.value.exit_status == 78
