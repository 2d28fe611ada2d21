"""The entry point: a table of commands, each imported only when it is called."""

import sys
from importlib import import_module
from typing import Any

import click

from smartworker.errors import SmartworkerError

COMMANDS = {
    "dev": "smartworker.cli.dev:dev",
    "worker": "smartworker.cli.run:worker",
    "web": "smartworker.cli.run:web",
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
    "doctor": "smartworker.cli.doctor:doctor",
}


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

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours is one line and an exit status."""
        try:
            return super().invoke(ctx)
        except SmartworkerError as error:
            click.echo(f"smartworker: {error}", err=True)
            sys.exit(error.exit_status)


@click.group(
    cls=LazyGroup,
    epilog="Exit statuses: 0 done, 1 failed, 2 wrong usage, 69 Redis cannot be "
    "reached, 78 a setting is wrong or Redis refused it.",
)
@click.version_option(package_name="smartworker")
def main() -> None:
    """Background work for people who pay per Redis command."""


if __name__ == "__main__":
    main()
