"""The cron services that configuration is made for, and what each is told."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from smartworker.cron.fields import DAYS, HOURS, MINUTES, MONTHS, WEEKDAYS
from smartworker.cron.registry import Job
from smartworker.cron.schedule import Schedule
from smartworker.deploy.calls import Calls, calls_of
from smartworker.deploy.patterns import Pattern, wrapped
from smartworker.deploy.texts import environment
from smartworker.errors import SmartworkerError

#: The services that give a schedule one expression, and bill each schedule.
ONE_EXPRESSION = "render"
#: GitHub runs a workflow no more often than that.
GITHUB_MINUTES = 5


class NothingToCall(SmartworkerError):
    """No job has a schedule."""


@dataclass(frozen=True)
class Caller:
    """A cron service: its name on the command line, and what it can do."""

    name: str
    title: str
    #: Whether an expression can be in a zone of its own.
    zones: bool
    #: Whether waking a sleeping service is a call of its own, ahead of the slot;
    #: otherwise it is the first step of the call itself, which can wait.
    warms_ahead: bool
    template: str


CALLERS = {
    caller.name: caller
    for caller in (
        Caller("render", "Render cron jobs", False, False, "render.yaml"),
        Caller("github", "GitHub Actions", True, False, "github.yml"),
        Caller("cron-job-org", "cron-job.org", True, True, "cron-job-org.sh"),
        Caller("qstash", "Upstash QStash", True, True, "qstash.sh"),
        Caller("google", "Google Cloud Scheduler", True, True, "google.sh"),
        Caller("crontab", "a crontab", True, True, "crontab"),
    )
}


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the operator decides."""

    url: str
    #: How long before a slot the web service is woken; None: not at all.
    lead: timedelta | None = timedelta(minutes=2)
    #: All expressions in UTC, also where the caller knows zones.
    utc: bool = False
    #: What the caller's secret or variable with the token is called.
    secret: str = "CRON_TOKEN"  # noqa: S105 - the name of a variable
    #: For jobs that have no schedule of their own.
    schedule: str | None = None


@dataclass(frozen=True)
class Rendered:
    """The text for the caller, and what the operator should know of it."""

    text: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """One job as the templates see it."""

    job: Job
    url: str
    zone: str
    triggers: tuple[Pattern, ...]
    warm: tuple[Pattern, ...]
    warning: str | None


def render(
    caller: Caller, jobs: Iterable[Job], wishes: Wishes, now: datetime
) -> Rendered:
    """What this caller must be given to call these jobs.

    Raises NothingToCall if no job has a schedule, SettingsError without Jinja.
    """
    all_jobs = list(jobs)
    entries = [
        entry_of(caller, job, schedule, wishes, now)
        for job in all_jobs
        if (schedule := _schedule(job, wishes)) is not None
    ]
    left_out = [job.name for job in all_jobs if _schedule(job, wishes) is None]
    if not entries:
        raise NothingToCall(
            "No job has a schedule, so nobody knows when to call: declare one with "
            "schedule='0 21 * * *', or give --schedule."
        )
    warnings = tuple(_warnings(caller, entries))
    text = (
        environment(lists=_lists)
        .get_template(caller.template)
        .render(
            entries=entries,
            warnings=warnings,
            left_out=left_out,
            url=wishes.url,
            wake=wishes.lead is not None,
            secret=wishes.secret,
            warm=_together(entries),
        )
    )
    return Rendered(text.rstrip() + "\n", warnings)


def _schedule(job: Job, wishes: Wishes) -> Schedule | None:
    if job.schedule is not None or wishes.schedule is None:
        return job.schedule
    return Schedule(wishes.schedule, job.zone)


def entry_of(
    caller: Caller, job: Job, schedule: Schedule, wishes: Wishes, now: datetime
) -> Entry:
    """One job as this caller must call it, `now` being an aware time."""
    lead = wishes.lead if caller.warms_ahead else None
    utc = wishes.utc or not caller.zones
    calls = calls_of(job, schedule, now, utc=utc, lead=lead)
    triggers = calls.triggers
    if caller.name == ONE_EXPRESSION and len(triggers) > 1:
        triggers = (wrapped(triggers),)
        calls = replace(calls, triggers=triggers, gated=True)
    return Entry(
        job,
        f"{wishes.url}/api/cron/{job.name}",
        calls.zone,
        triggers,
        calls.warm,
        _warning(calls, schedule),
    )


def _warnings(caller: Caller, entries: list[Entry]) -> Iterator[str]:
    yield from (entry.warning for entry in entries if entry.warning)
    if caller.name != "github":
        return
    for entry in entries:
        if any(each.gap < GITHUB_MINUTES for each in entry.triggers):
            yield (
                f"{entry.job.name} is due more often than each {GITHUB_MINUTES} "
                "minutes, and GitHub does not call so often: give it to another cron "
                "service, or let the worker make up for slots with catch_up='all'."
            )
    zones: dict[str, set[str]] = {}
    for entry in entries:
        for pattern in entry.triggers:
            zones.setdefault(pattern.expression, set()).add(entry.zone)
    for expression, several in zones.items():
        if len(several) > 1:
            yield (
                f"GitHub tells a workflow the expression {expression!r} and not its "
                f"zone, so all jobs that have it in {' and '.join(sorted(several))} "
                "are called each time: declare them with only_when_due=True, or make "
                "a file for each with --job."
            )


def _warning(calls: Calls, schedule: Schedule) -> str | None:
    """What to change, if the job would run more often than it should."""
    job = calls.job
    if not calls.doubles:
        return None
    if job.schedule is None:
        advice = f"Declare it with schedule={schedule.expression!r}, only_when_due=True"
    else:
        advice = "Declare it with only_when_due=True"
    where = "" if calls.zone == schedule.zone else f" in {schedule.zone}"
    return (
        f"{job.name} is called at times at which it is not due, and would run then: "
        f"five plain fields in {calls.zone} cannot say {schedule.expression!r}{where}. "
        f"{advice}, and those calls are answered with `skipped`."
    )


def _together(entries: list[Entry]) -> list[tuple[str, str, Pattern]]:
    """The calls that wake the service, each once: name, zone, expression."""
    seen: dict[tuple[str, str], Pattern] = {}
    for entry in entries:
        for pattern in entry.warm:
            seen.setdefault((entry.zone, pattern.expression), pattern)
    return [
        (f"wake-{number}", zone, pattern)
        for number, ((zone, _), pattern) in enumerate(sorted(seen.items()), 1)
    ]


def _lists(pattern: Pattern) -> dict[str, Any]:
    """The five fields as cron-job.org takes them: -1 is every one."""
    dates = pattern.dates
    return {
        name: [-1] if values == everything else sorted(values)
        for name, values, everything in (
            ("minutes", pattern.minutes, MINUTES),
            ("hours", pattern.hours, HOURS),
            ("mdays", dates.days, DAYS),
            ("months", dates.months, MONTHS),
            ("wdays", dates.weekdays, WEEKDAYS),
        )
    }
