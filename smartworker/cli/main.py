"""The entry point: a table of commands, each imported only when it is called."""

import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click

from smartworker.errors import SmartworkerError

COMMANDS = {
    "dev": "smartworker.cli.dev:dev",
    "worker": "smartworker.cli.run:worker",
    "web": "smartworker.cli.web:web",
    "windows": "smartworker.cli.plan:windows",
    "simulate": "smartworker.cli.plan:simulate",
    "budget": "smartworker.cli.budget:budget",
    "review": "smartworker.cli.review:review",
    "status": "smartworker.cli.status:status",
    "active": "smartworker.cli.inspect:active",
    "scheduled": "smartworker.cli.inspect:scheduled",
    "registered": "smartworker.cli.inspect:registered",
    "stats": "smartworker.cli.inspect:stats",
    "health": "smartworker.cli.health:health",
    "purge": "smartworker.cli.purge:purge",
    "flower": "smartworker.cli.flower:flower",
    "dead": "smartworker.cli.dead:dead",
    "rescue": "smartworker.cli.rescue:rescue",
    "jobs": "smartworker.cli.jobs:jobs",
    "trigger": "smartworker.cli.trigger:trigger",
    "pause": "smartworker.cli.trigger:pause",
    "resume": "smartworker.cli.trigger:resume",
    "cron": "smartworker.cli.cron:cron",
    "init": "smartworker.cli.init:init",
    "doctor": "smartworker.cli.doctor:doctor",
}


START_A_WORKER = {"dev", "worker"}
EXIT_STATUSES = (
    "Exit statuses: 0 done, 1 failed, 2 wrong usage, 69 Redis cannot be reached, 78 a "
    "setting is wrong or Redis refused it."
)


class LazyGroup(click.Group):
    """A group whose commands cost no import until they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name]} is not a command")
        return command

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The names of the settings, and the exit statuses."""
        from smartworker.variables import VARIABLES

        with formatter.section("Settings, as environment variables"):
            formatter.write_text(", ".join(variable.name for variable in VARIABLES))
        super().format_epilog(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours is one line and an exit status."""
        if isinstance(sys.stdout, TextIOWrapper):
            # On Windows a console or a pipe may know fewer letters than a log has.
            sys.stdout.reconfigure(errors="replace")
        try:
            return super().invoke(ctx)
        except SmartworkerError as error:
            click.echo(f"smartworker: {error}", err=True)
            sys.exit(error.exit_status)


class CeleryGroup(LazyGroup):
    """The same below `celery -A shop`: commands that take -A work on that app."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All but those that start a worker, for that is `celery worker`."""
        return [name for name in COMMANDS if name not in START_A_WORKER]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, with the app that Celery was given as the default of its -A."""
        if cmd_name in START_A_WORKER:
            return None
        command = super().get_command(ctx, cmd_name)
        app = ctx.parent.params.get("app") if ctx.parent else None
        if command is not None and isinstance(app, str):
            ctx.default_map = {cmd_name: _working_on(app, command)}
        return command


def _working_on(app: str, command: click.Command) -> dict[str | None, Any]:
    defaults: dict[str | None, Any] = {
        option.name: app for option in command.params if "-A" in option.opts
    }
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            defaults[name] = _working_on(app, below)
    return defaults


@click.group(cls=LazyGroup, epilog=EXIT_STATUSES)
@click.version_option(package_name="smartworker")
def main() -> None:
    """Background work for people who pay per Redis command."""


@click.group("smartworker", cls=CeleryGroup, epilog=EXIT_STATUSES)
def below_celery() -> None:
    """Ask and steer smartworker's workers, jobs and costs."""


if __name__ == "__main__":
    main()
