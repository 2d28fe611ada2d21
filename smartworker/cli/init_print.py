"""What `smartworker init` has written, and what comes next."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from smartworker.deploy.platforms import Platform
from smartworker.deploy.project import Project

#: What is to be done after the files of a platform are there. `{check}` looks at Redis
#: and the settings, `{name}` begins the names of the services.
STEPS = {
    "render": (
        "{packages}",
        "Commit the file, and push.",
        "At https://dashboard.render.com choose New, Blueprint, and this repository. "
        "Render asks for the values that have `sync: false`, and makes the tokens.",
        "{callers} Render shows SMARTWORKER_CRON_TOKENS under Environment.",
    ),
    "docker": (
        "{packages}",
        "cp .env.example .env, and fill in the tokens.",
        "docker compose up --build --detach --wait",
        "docker compose exec {last} {check}",
        "{callers}",
    ),
    "systemd": (
        "Put the project at {home}, with smartworker[web] in its folder .venv.",
        "Put the filled-in .env.example at /etc/{name}/env, and the line "
        "`Authorization: Bearer TOKEN` into /etc/{name}/cron-header; chmod 600 both.",
        "sudo cp deploy/systemd/*.service deploy/systemd/*.timer /etc/systemd/system/ "
        "&& sudo systemctl daemon-reload",
        "sudo systemd-run --pipe --wait --property EnvironmentFile=/etc/{name}/env "
        "--working-directory {home} {bin}/{check}",
        "sudo systemctl enable --now {units}",
    ),
    "supervisor": (
        "Put the project at {home}, with smartworker[web] in its folder .venv.",
        "Put the filled-in .env.example at /etc/{name}/env, for the user {user} alone.",
        "sudo cp deploy/supervisor/{name}.conf /etc/supervisor/conf.d/ && sudo "
        "supervisorctl update",
        "sudo -u {user} sh -c {looked}",
        "{callers}",
    ),
    "heroku": (
        "{packages}",
        "Commit the files.",
        "heroku apps:create {name}, then heroku config:set UPSTASH_REDIS_HOST=... "
        "UPSTASH_REDIS_PASSWORD=... and the two SMARTWORKER_ tokens of app.json.",
        "git push heroku main && heroku ps:scale {scale}",
        "{callers}",
    ),
}


def print_written(platform: Platform, project: Project, paths: Sequence[Path]) -> None:
    """Say what was written, and the next steps."""
    click.echo("Written:")
    for path in paths:
        click.echo(f"  {path}")
    click.echo("Next:")
    for number, step in enumerate(steps_of(platform, project), 1):
        click.echo(f"  {number}. {step}")


def steps_of(platform: Platform, project: Project) -> list[str]:
    """What is to be done now, in this order."""
    units = [f"{project.name}-{process}" for process in project.processes]
    units += [
        f"{project.name}-cron@{job.name}.timer"
        for job in project.jobs
        if job.schedule is not None
    ]
    check = shlex.join(["smartworker", "doctor", *project.options])
    facts = {
        "name": project.name,
        "home": shlex.quote(project.home),
        "bin": shlex.quote(f"{project.home}/.venv/bin"),
        "user": project.user,
        "check": check,
        "packages": _packages(project),
        "callers": _callers(project),
        "looked": shlex.quote(
            f"set -a; . /etc/{project.name}/env; cd {shlex.quote(project.home)}; "
            f"exec .venv/bin/{check}"
        ),
        "last": list(project.processes)[-1],
        "units": " ".join(units),
        "scale": " ".join(f"{process}=1" for process in project.processes),
    }
    return [step.format(**facts) for step in STEPS[platform.name]]


def _packages(project: Project) -> str:
    if project.install.needs is None:
        return "List what your app needs in requirements.txt, with smartworker[web]."
    what = "requirements.txt" if project.install.needs != "." else "pyproject.toml"
    return f"See that {what} names all that your app needs, with smartworker[web]."


def _callers(project: Project) -> str:
    if project.cron:
        return "The cron services of the file have address and token by themselves."
    command = shlex.join(["smartworker", "cron", "render", "TARGET", *project.options])
    return f"Let something call the jobs: `{command}` prints what it needs."
