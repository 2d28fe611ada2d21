"""What `smartworker init` has written, and what comes next."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from smartworker.cli.tokens import RANDOM
from smartworker.deploy.platforms import CONNECTION, TOKENS, Platform
from smartworker.deploy.project import LISTED, Project

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
        "Put the project at {home}, with smartworker[web] in its folder .venv, where "
        "everybody can read it.",
        "sudo install -D -m 600 deploy/systemd/{name}.env.example /etc/{name}/env, and "
        "fill it in.",
        "{header}",
        "sudo cp deploy/systemd/{name}-* /etc/systemd/system/ && sudo systemctl "
        "daemon-reload",
        "sudo systemd-run --pipe --wait --property EnvironmentFile=/etc/{name}/env "
        "--working-directory {home} {bin}/{check}",
        "sudo systemctl enable --now {units}",
    ),
    "supervisor": (
        "Put the project at {home}, with smartworker[web] in its folder .venv, where "
        "the user {user} can read it.",
        "sudo install -D -m 600 -o {user} deploy/supervisor/{name}.env.example "
        "/etc/{name}/env, and fill it in.",
        "sudo -u {user} sh -c {looked}",
        "sudo cp deploy/supervisor/{name}.conf /etc/supervisor/conf.d/ && sudo "
        "supervisorctl update",
        "{callers}",
    ),
    "heroku": (
        "{packages}",
        "Commit the files.",
        "heroku apps:create && heroku config:set {config}; `{random}` makes a token.",
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
    timers = [
        f"{project.name}-cron@{job.name}.timer"
        for job in project.jobs
        if job.schedule is not None
    ]
    header = (
        f"Put the line `Authorization: Bearer TOKEN` into /etc/{project.name}/"
        "cron-header, with the token for the cron service; chmod 600."
    )
    variables = [*CONNECTION, *project.variables, *TOKENS]
    check = shlex.join(["smartworker", "doctor", *project.options])
    facts = {
        "name": project.name,
        "home": shlex.quote(project.home),
        "bin": shlex.quote(f"{project.home}/.venv/bin"),
        "user": project.user,
        "check": check,
        "packages": _packages(platform, project),
        "callers": _callers(project) if timers else "",
        "header": header if timers else "",
        "config": " ".join(f"{key}=..." for key in variables),
        "random": RANDOM,
        "looked": shlex.quote(
            f"set -a; . /etc/{project.name}/env; cd {shlex.quote(project.home)}; "
            f"exec .venv/bin/{check}"
        ),
        "last": list(project.processes)[-1],
        "units": " ".join([*units, *timers]),
        "scale": " ".join(f"{process}=1" for process in project.processes),
    }
    steps = (step.format(**facts).strip() for step in STEPS[platform.name])
    return [step for step in steps if step]


def _packages(platform: Platform, project: Project) -> str:
    if project.install.needs is None:
        if any(target == LISTED for _, target in platform.files):
            return f"Add to {LISTED} what your app needs."
        return (
            "Only smartworker[web] will be installed. If your app needs more, list "
            f"both in {LISTED}, and run this again with --force."
        )
    what = LISTED if "-r" in project.install.words else "pyproject.toml"
    return f"See that {what} names all that your app needs, with smartworker[web]."


def _callers(project: Project) -> str:
    if project.cron:
        return "The cron services of the file have address and token by themselves."
    command = shlex.join(["smartworker", "cron", "render", "TARGET", *project.options])
    return f"Let something call the jobs: `{command}` prints what it needs."
