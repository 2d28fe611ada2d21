"""The platforms that deployment files are made for, and what each is given."""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from smartworker.cron.fields import HOURS, read_fields
from smartworker.cron.registry import Job
from smartworker.cron.schedule import Schedule
from smartworker.deploy.callers import CALLERS, Caller, Entry, Wishes, entry_of
from smartworker.deploy.calls import calls_of
from smartworker.deploy.project import Project
from smartworker.deploy.quoting import (
    calendar,
    supervisor_command,
    supervisor_value,
    systemd_command,
    systemd_path,
)
from smartworker.deploy.texts import environment
from smartworker.deploy.writing import File

#: Seconds from SIGTERM to SIGKILL for a worker; Render allows no more. What does not
#: end by then is delivered again when its lease is over.
WORKER_GRACE = 300
#: The same for a web process: a call that waits does so for 25 s at most.
WEB_GRACE = 30
#: Where the web process answers on a machine of one's own.
PORT = 8000

CONNECTION = {
    "UPSTASH_REDIS_HOST": "Where Redis is, such as eu1-warm-owl-12345.upstash.io",
    "UPSTASH_REDIS_PORT": "Its port: 6379 at Upstash",
    "UPSTASH_REDIS_PASSWORD": "Its password",
}
TOKENS = {
    "SMARTWORKER_CRON_TOKENS": "Who may call the jobs: the token of the cron service",
    "SMARTWORKER_ADMIN_TOKEN": "Who may pause, resume and run jobs by hand",
}

#: What a project may have on its own terms, and then keeps, even with --force.
ITS_OWN = {
    ".python-version": (".python-version",),
    "requirements.txt": ("requirements.txt", "uv.lock", "poetry.lock", "Pipfile.lock"),
}

#: A timer of systemd knows zones, and runs where the web process does.
_TIMER = Caller("systemd", "systemd timers", True, False, "")


@dataclass(frozen=True)
class Platform:
    """A platform: its name on the command line, its files, what comes after them."""

    name: str
    title: str
    #: Template and target; `{name}` is the name of the project.
    files: tuple[tuple[str, str], ...]
    #: The options of `smartworker init` that mean something here.
    options: frozenset[str] = frozenset()
    #: A file for each timer, from the job's name.
    timers: str | None = None


def _platform(
    name: str,
    title: str,
    files: dict[str, str],
    *options: str,
    timers: str | None = None,
) -> Platform:
    return Platform(name, title, tuple(files.items()), frozenset(options), timers)


PLATFORMS = {
    each.name: each
    for each in (
        _platform(
            "render",
            "Render",
            {"render.yaml": "render.yaml"},
            "cron",
            "region",
            "python",
        ),
        _platform(
            "docker",
            "Docker",
            {
                "Dockerfile": "Dockerfile",
                "compose.yaml": "compose.yaml",
                "dockerignore": ".dockerignore",
                "env": ".env.example",
            },
            "python",
        ),
        _platform(
            "systemd",
            "systemd",
            {
                "web.service": "deploy/systemd/{name}-web.service",
                "worker.service": "deploy/systemd/{name}-worker.service",
                "cron.service": "deploy/systemd/{name}-cron@.service",
                "env": "deploy/systemd/{name}.env.example",
            },
            "home",
            timers="deploy/systemd/{name}-cron@{job}.timer",
        ),
        _platform(
            "supervisor",
            "supervisor",
            {
                "supervisor.conf": "deploy/supervisor/{name}.conf",
                "env": "deploy/supervisor/{name}.env.example",
            },
            "home",
            "user",
        ),
        _platform(
            "heroku",
            "Heroku",
            {
                "Procfile": "Procfile",
                "app.json": "app.json",
                "python-version": ".python-version",
                "requirements.txt": "requirements.txt",
            },
            "python",
        ),
    )
}


def files_of(platform: Platform, project: Project, now: datetime) -> list[File]:
    """The files of a platform for a project, with paths from the project's folder.

    `now`: an aware time, for the zones of the jobs. Raises SettingsError without Jinja.
    """
    templates = environment(
        systemd=systemd_command,
        systemd_path=systemd_path,
        supervisor=supervisor_command,
        supervisor_value=supervisor_value,
        calendar=calendar,
    )
    facts = _facts(platform, project, now)

    def made(template: str, target: str, **more: Any) -> File:
        text = templates.get_template(f"init/{template}").render(**facts, **more)
        return File(PurePosixPath(target), text.rstrip() + "\n")

    wanted = [
        (template, target.format(name=project.name))
        for template, target in platform.files
        if _is_wanted(template, project, facts["entries"])
    ]
    files = [made(template, target) for template, target in wanted]
    if platform.timers is not None:
        files.extend(_timers(platform.timers, project, facts["entries"], made))
    return files


def warnings_of(platform: Platform, project: Project, now: datetime) -> list[str]:
    """What to know of the calls that these files make, if they make any."""
    if platform.timers is None and not project.cron:
        return []
    entries = _entries(platform, project, now)
    return [entry.warning for entry in entries if entry.warning is not None]


def missing(files: list[File], *folders: Path) -> list[File]:
    """These files without those that the project in these folders has as its own."""
    return [
        file
        for file in files
        if not any(
            (folder / name).exists()
            for folder in folders
            for name in ITS_OWN.get(str(file.path), ())
        )
    ]


def made_by(platform: Platform, project: Project) -> str:
    """The command that makes these files, without what is only written once."""
    words = ["smartworker", "init", platform.name, *project.options]
    return shlex.join([*words, "--single"] if project.single else words)


def _facts(platform: Platform, project: Project, now: datetime) -> dict[str, Any]:
    return {
        "platform": platform,
        "project": project,
        "entries": _entries(platform, project, now),
        "others": [job.name for job in project.jobs if job.schedule is None],
        "connection": CONNECTION,
        "tokens": TOKENS,
        "worker_grace": WORKER_GRACE,
        "web_grace": WEB_GRACE,
        "port": PORT,
        "made_by": made_by(platform, project),
    }


def _entries(platform: Platform, project: Project, now: datetime) -> list[Entry]:
    return [
        _entry(platform, job, job.schedule, now)
        for job in project.jobs
        if job.schedule is not None
    ]


def _entry(platform: Platform, job: Job, schedule: Schedule, now: datetime) -> Entry:
    # The address is known to the platform alone; templates that need it put it there.
    wishes = Wishes(url="", lead=None)
    if platform.name == "render":
        return entry_of(CALLERS["render"], job, schedule, wishes, now)
    # In autumn systemd passes over the second of two equal hours, but not in UTC.
    if read_fields(schedule.expression).hours == HOURS:
        in_utc = calls_of(job, schedule, now, utc=True, lead=None)
        wishes = replace(wishes, utc=not in_utc.gated)
    return entry_of(_TIMER, job, schedule, wishes, now)


def _is_wanted(template: str, project: Project, entries: list[Entry]) -> bool:
    if template == "worker.service":
        return not project.single
    return template != "cron.service" or bool(entries)


def _timers(
    target: str, project: Project, entries: list[Entry], made: Callable[..., File]
) -> Iterator[File]:
    for entry in entries:
        path = target.format(name=project.name, job=entry.job.name)
        yield made("cron.timer", path, entry=entry)
