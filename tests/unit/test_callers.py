"""What cron services are told: expressions in any zone, and files that can be used."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from smartworker.cron.fields import read_fields
from smartworker.cron.registry import Job, Jobs
from smartworker.cron.schedule import Schedule
from smartworker.cron.slots import slot_of
from smartworker.deploy.callers import (
    CALLERS,
    NothingToCall,
    Rendered,
    Wishes,
    render,
)
from smartworker.deploy.calls import IDLE, Calls, calls_of, may_sleep
from smartworker.deploy.patterns import Pattern, moved, wrapped

NOW = datetime(2027, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=366)
LEAD = timedelta(minutes=2)
URL = "https://shop.example"
NEW_YORK = "America/New_York"

#: With clock changes in both halves of the world, on one side of UTC and the other,
#: by half an hour, at changing dates, and without any.
ZONES = [
    NEW_YORK,
    "Europe/London",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Kiritimati",
    "Asia/Kolkata",
    "UTC",
]
SCHEDULES = [
    "0 21 * * *",
    "30 21 * * mon-fri",
    "0 19 * * mon",
    "30 2 * * *",
    "15 1,2,3 * * *",
    "59 23 * * sun",
    "0 0 1 * *",
    "0 23 L * *",
    "0 20 31 * *",
    "0 20 28 2 *",
    "0 5 29 2 *",
    "0 21 * 6 mon",
    "0 20 * 1-3 *",
    "15 20 13 * fri",
    "0 22 * * mon#2",
    "0 22 * * 5L",
    "0 20 LW * *",
    "5,50 20 */2 * mon",
    "0 4-7,20 10-12 3,11 *",
]


def job(expression: str, zone: str = NEW_YORK, **options: Any) -> Job:
    """A job with this schedule."""
    return Job(
        name="report",
        task="shop.report",
        schedule=Schedule(expression, zone),
        zone=zone,
        **{"only_when_due": True} | options,
    )


def calls(job: Job, *, utc: bool = True, lead: timedelta | None = LEAD) -> Calls:
    """The calls for a job."""
    assert job.schedule is not None
    return calls_of(job, job.schedule, NOW, utc=utc, lead=lead)


def times(patterns: tuple[Pattern, ...], zone: str = "UTC") -> list[datetime]:
    """When a cron service calls within a year, each minute once."""
    end = NOW + YEAR
    found: set[datetime] = set()
    for pattern in patterns:
        found.update(Schedule(pattern.expression, zone).between(NOW, end))
    return sorted(found)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", SCHEDULES)
def test_a_year_of_calls_in_utc(zone: str, expression: str) -> None:
    """What the gate lets through of a year's calls is each slot, and nothing else."""
    due = job(expression, zone)
    assert due.schedule is not None
    found = calls(due)
    slots = due.schedule.between(NOW, NOW + YEAR)
    made = times(found.triggers)
    through = [slot.time for call in made if (slot := slot_of(due, call))]
    assert sorted(set(through)) == slots
    if not found.gated:
        assert made == slots


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", SCHEDULES)
def test_a_year_of_calls_in_the_own_zone(zone: str, expression: str) -> None:
    """A caller that knows the zone calls at each slot; at others it says so."""
    due = job(expression, zone)
    assert due.schedule is not None
    found = calls(due, utc=False)
    assert found.zone == zone
    slots = due.schedule.between(NOW, NOW + YEAR)
    made = times(found.triggers, zone)
    assert set(slots) <= set(made)
    if not found.gated:
        assert made == slots


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", SCHEDULES)
def test_the_service_is_woken_before_each_slot(zone: str, expression: str) -> None:
    """Two minutes ahead, also over midnight and on both sides of a clock change."""
    due = job(expression, zone)
    assert due.schedule is not None
    found = calls(due)
    woken = set(times(found.warm))
    slots = due.schedule.between(NOW + LEAD, NOW + YEAR)
    asleep = [slot for slot in slots if slot - LEAD not in woken]
    # Only a slot that a clock change has moved comes without it.
    assert len(asleep) <= 4 * len(read_fields(expression).minutes)
    assert not asleep or zone != "UTC"


@pytest.mark.parametrize("expression", ["* * * * *", "*/5 * * * *", "7 * * * *"])
def test_intervals_need_no_gate(expression: str) -> None:
    """What comes every hour is the same in UTC, whatever the clocks do."""
    found = calls(job(expression))
    assert [each.expression for each in found.triggers] == [expression]
    assert not found.gated


def test_both_candidate_hours() -> None:
    """A zone with clock changes is called at both hours, on the right days."""
    found = calls(job("30 21 * * mon-fri"))
    assert [each.expression for each in found.triggers] == ["30 1,2 * * 2-6"]
    assert [each.expression for each in found.warm] == ["28 1,2 * * 2-6"]
    evening = calls(job("0 19 * * mon"))
    expressions = [each.expression for each in evening.triggers]
    assert expressions == ["0 23 * * 1", "0 0 * * 2"]


def test_a_time_that_does_not_exist_one_night() -> None:
    """Its slot comes at the end of the missing hour, and is called for there."""
    found = calls(job("30 2 * * *"))
    expressions = [each.expression for each in found.triggers]
    assert expressions == ["30 6,7 * * *", "0 7 8-14 3 *"]
    patient = calls(job("30 2 * * *", grace=timedelta(hours=1)))
    assert [each.expression for each in patient.triggers] == ["30 6,7 * * *"]


def test_who_would_run_twice_is_told() -> None:
    """Without the gate, and only where calls come that are not due."""
    assert calls(job("0 21 * * *", only_when_due=False)).doubles
    assert not calls(job("0 21 * * *")).doubles
    assert not calls(job("0 21 * * *", "UTC", only_when_due=False)).doubles
    assert not calls(job("0 21 * * *", only_when_due=False), utc=False).doubles
    assert calls(job("0 21 L * *", only_when_due=False), utc=False).doubles


def test_who_never_sleeps_is_not_woken() -> None:
    """A service that is called every quarter of an hour stays awake."""
    assert timedelta(minutes=15) == IDLE
    assert not may_sleep(Schedule("*/15 * * * *", NEW_YORK), NOW)
    assert may_sleep(Schedule("*/20 * * * *", NEW_YORK), NOW)
    assert may_sleep(Schedule("*/10 9-17 * * *", NEW_YORK), NOW)
    assert may_sleep(Schedule("0 0 1 1 *", NEW_YORK), NOW)
    assert calls(job("*/15 * * * *")).warm == ()
    assert calls(job("0 21 * * *"), lead=None).warm == ()


@pytest.mark.parametrize("expression", SCHEDULES)
def test_one_expression_around_several(expression: str) -> None:
    """It comes whenever one of them does."""
    several = calls(job(expression)).triggers
    one = wrapped(several)
    assert set(times(several)) <= set(times((one,)))


@pytest.mark.parametrize("expression", ["0 21 * * *", "5,50 20 1-7 * *", "0 0 * 2 0"])
def test_a_pattern_is_what_cron_reads(expression: str) -> None:
    """`matches` says the same as cronsim."""
    (pattern,), exact = moved(read_fields(expression), [0])
    assert exact
    assert pattern.expression == expression
    month = Schedule(expression, "UTC").between(NOW, NOW + timedelta(days=60))
    minutes = (NOW + timedelta(minutes=n) for n in range(1, 60 * 24 * 60 + 1))
    assert [minute for minute in minutes if pattern.matches(minute)] == month


# -- files -----------------------------------------------------------------------------


def shop(**options: Any) -> Jobs:
    """Two jobs that are due, and one that never is."""
    jobs = Jobs()
    jobs.declare(
        "report", "shop.report", schedule="30 21 * * mon-fri", **{"only_when_due": True}
    )
    jobs.declare(
        "weekly",
        "shop.weekly",
        schedule="0 19 * * sun",
        zone="Europe/London",
        **{"only_when_due": True, **options},
    )
    jobs.declare("by-hand", "shop.charge")
    return jobs


def rendered(name: str, jobs: Jobs | None = None, **wishes: Any) -> Rendered:
    """What a caller is given for the jobs of the shop."""
    wanted = Wishes(**{"url": URL, **wishes})
    return render(CALLERS[name], shop() if jobs is None else jobs, wanted, NOW)


@pytest.mark.parametrize("name", CALLERS)
def test_every_caller(name: str) -> None:
    """Both jobs are called, what is left out is said, and no line ends in blanks."""
    found = rendered(name)
    assert found.warnings == ()
    for job_name in ("report", "weekly"):
        assert f"{URL}/api/cron/{job_name}" in found.text
    assert "# Left out: by-hand has no schedule.\n" in found.text
    assert "/api/cron/by-hand" not in found.text
    assert f"{URL}/livez" in found.text
    assert "/livez" not in rendered(name, lead=None).text
    assert not re.search(r"[ \t]$", found.text, re.MULTILINE)
    assert "\n\n\n" not in found.text
    assert found.text.endswith("\n")
    assert "cannot do" in found.text or name == "render"


@pytest.mark.parametrize("name", CALLERS)
def test_the_secret_has_the_name_that_was_asked_for(name: str) -> None:
    """The token itself is never known here."""
    text = rendered(name, secret="SHOP_TOKEN").text
    assert "SHOP_TOKEN" in text
    assert "CRON_TOKEN" not in text.replace("SMARTWORKER_CRON_TOKENS", "")


@pytest.mark.parametrize("name", CALLERS)
def test_a_job_that_would_run_twice(name: str) -> None:
    """It is named with what to change, on the terminal and in the file, in UTC."""
    jobs = shop(only_when_due=False)
    (warning,) = rendered(name, jobs, utc=True).warnings
    assert warning.startswith("weekly is called at times at which it is not due")
    assert "only_when_due=True" in warning
    assert "WARNING: weekly is called" in rendered(name, jobs, utc=True).text
    assert bool(rendered(name, jobs).warnings) == (not CALLERS[name].zones)


@pytest.mark.parametrize("name", CALLERS)
def test_a_schedule_for_jobs_without_one(name: str) -> None:
    """They are called too, and the server cannot drop what is not due."""
    found = rendered(name, schedule="0 8 * * *")
    assert f"{URL}/api/cron/by-hand" in found.text
    assert "Left out" not in found.text
    warned = any("schedule='0 8 * * *'" in warning for warning in found.warnings)
    assert warned == (not CALLERS[name].zones)


@pytest.mark.parametrize("name", CALLERS)
def test_nothing_to_call(name: str) -> None:
    """Without any schedule there is a sentence instead of a file."""
    jobs = Jobs()
    jobs.declare("by-hand", "shop.charge")
    with pytest.raises(NothingToCall, match="No job has a schedule"):
        rendered(name, jobs)


def test_render() -> None:
    """A Blueprint with a cron service for each job, in UTC, one expression each."""
    services = yaml.safe_load(rendered("render").text)["services"]
    assert [each["name"] for each in services] == ["cron-report", "cron-weekly"]
    assert [each["schedule"] for each in services] == [
        "30 1,2 * * 2-6",
        "0 18,19 * * 0",
    ]
    for each in services:
        assert each["type"] == "cron"
        assert each["envVars"] == [{"key": "CRON_TOKEN", "sync": False}]
        assert each["buildCommand"] == "true"
        assert each["startCommand"].startswith("curl ")
        assert '"Authorization: Bearer $CRON_TOKEN"' in each["startCommand"]


def test_render_pays_for_each_service() -> None:
    """Several expressions become one that comes more often, behind the gate."""
    jobs = Jobs()
    jobs.declare("mondays", "t", schedule="0 19 * * mon", only_when_due=True)
    found = rendered("render", jobs)
    (service,) = yaml.safe_load(found.text)["services"]
    assert service["schedule"] == "0 0,23 * * 1,2"
    assert found.warnings == ()
    open_jobs = Jobs()
    open_jobs.declare("both", "t", schedule="0 9 13 * fri", zone="UTC")
    assert rendered("render", open_jobs).warnings != ()


def test_github() -> None:
    """A workflow: expressions with their zone, and a job for each of ours."""
    flow = yaml.safe_load(rendered("github").text)
    triggers = flow[True]  # YAML 1.1 takes `on` for a truth value
    assert triggers["schedule"] == [
        {"cron": "30 21 * * 1-5", "timezone": NEW_YORK},
        {"cron": "0 19 * * 0", "timezone": "Europe/London"},
    ]
    options = triggers["workflow_dispatch"]["inputs"]["job"]["options"]
    assert options == ["report", "weekly"]
    assert flow["permissions"] == {}
    report = flow["jobs"]["call-report"]
    assert report["if"] == (
        "inputs.job == 'report' || github.event.schedule == '30 21 * * 1-5'"
    )
    wake, call = report["steps"]
    assert wake["continue-on-error"] is True
    assert call["env"] == {"CRON_TOKEN": "${{ secrets.CRON_TOKEN }}"}
    assert "$CRON_TOKEN" in call["run"]
    assert "secrets" not in call["run"]


def test_github_in_utc() -> None:
    """For a server that knows no zones: both hours, and no `timezone`."""
    schedule = yaml.safe_load(rendered("github", utc=True).text)[True]["schedule"]
    assert schedule == [{"cron": "30 1,2 * * 2-6"}, {"cron": "0 18,19 * * 0"}]


def test_github_cannot_tell_zones_apart() -> None:
    """Two jobs with one expression in two zones are called for each other's time."""
    jobs = Jobs()
    jobs.declare("here", "t", schedule="0 9 * * *")
    jobs.declare("there", "t", schedule="0 9 * * *", zone="Europe/London")
    (warning,) = rendered("github", jobs).warnings
    assert "America/New_York and Europe/London" in warning
    same = Jobs()
    same.declare("one", "t", schedule="0 9 * * *")
    same.declare("two", "t", schedule="0 9 * * *")
    found = rendered("github", same)
    assert found.warnings == ()
    assert len(yaml.safe_load(found.text)[True]["schedule"]) == 1


@pytest.mark.parametrize(
    ("expression", "often"),
    [
        ("* * * * *", True),
        ("*/4 9 * * *", True),
        ("0,58 9,10 * * *", True),
        ("0,58 9 * * *", False),
        ("*/5 * * * *", False),
        ("0 21 * * *", False),
    ],
)
def test_github_does_not_call_each_minute(expression: str, often: bool) -> None:
    """A job that is due more often than each 5 minutes is named."""
    jobs = Jobs()
    jobs.declare("busy", "t", schedule=expression)
    said = " ".join(rendered("github", jobs).warnings)
    assert ("busy is due more often than each 5 minutes" in said) == often
    assert rendered("crontab", jobs).warnings == ()


def test_what_five_fields_cannot_say() -> None:
    """The zone is named where the calls are in another one."""
    for name, utc, where in (
        ("crontab", False, "fields in America/New_York cannot say '0 6 L * *'."),
        ("crontab", True, "in UTC cannot say '0 6 L * *' in America/New_York."),
    ):
        jobs = Jobs()
        jobs.declare("last-day", "t", schedule="0 6 L * *")
        (warning,) = rendered(name, jobs, utc=utc).warnings
        assert where in warning


def test_cron_job_org() -> None:
    """Its lists of minutes, hours and days; -1 is every one."""
    text = rendered("cron-job-org").text
    bodies = re.findall(r"^add <<JSON\n(.*?)^JSON$", text, re.MULTILINE | re.DOTALL)
    jobs = [json.loads(body)["job"] for body in bodies]
    assert jobs[0]["schedule"] == {
        "timezone": NEW_YORK,
        "expiresAt": 0,
        "minutes": [30],
        "hours": [21],
        "mdays": [-1],
        "months": [-1],
        "wdays": [1, 2, 3, 4, 5],
    }
    assert jobs[0]["requestMethod"] == 1
    header = {"Authorization": "Bearer $CRON_TOKEN"}
    assert jobs[0]["extendedData"] == {"headers": header}
    assert [each["url"] for each in jobs[2:]] == [f"{URL}/livez"] * 2
    assert {each["requestMethod"] for each in jobs[2:]} == {0}
    assert "extendedData" not in jobs[2]
    assert [each["schedule"]["minutes"] for each in jobs[2:]] == [[28], [58]]


def test_one_call_wakes_the_service_for_several_jobs() -> None:
    """Jobs that are due together are woken for once."""
    jobs = Jobs()
    for name in ("one", "two"):
        jobs.declare(name, "t", schedule="0 9 * * *")
    assert (
        rendered("qstash", jobs).text.count("schedule https://shop.example/livez") == 1
    )


def test_jinja_is_in_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it there is a sentence that says what to install."""
    from smartworker.errors import SettingsError

    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(SettingsError, match=r"install smartworker\[web\]"):
        rendered("github")
