"""The help of `smartworker worker`: our options, and those of Celery's worker."""

from collections.abc import Iterator

import click

#: Read by hand, for the rest is Celery's: see `run.take_options`.
OURS = (
    ("-A, --app MODULE:APP", "Your Celery app; without it the ready-made one."),
    ("--no-doctor", "Do not look for what puts tasks at risk."),
    ("-h, --help", "Show this message and exit."),
)
#: Celery writes a percent sign twice.
PERCENT = ("%%", "%")

Records = list[tuple[str, str]]


class WorkerCommand(click.Command):
    """A command whose help shows the options of another program, too."""

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Ours, those of the plan, and Celery's in its own groups."""
        from smartworker.worker.bootstep import OPTIONS

        plan = [option.get_help_record(ctx) for option in OPTIONS]
        with formatter.section("Options"):
            formatter.write_dl([*OURS, *filter(None, plan)])
        for name, records in celerys(ctx):
            with formatter.section(name):
                formatter.write_dl(records)


def celerys(ctx: click.Context) -> Iterator[tuple[str, Records]]:
    """The groups of options of `celery worker`, in its order."""
    from celery.bin.worker import worker

    groups: dict[str, Records] = {}
    for option in worker.params:
        if record := option.get_help_record(ctx):
            group = getattr(option, "help_group", None) or "Further Options"
            names, text = (part.replace(*PERCENT) for part in record)
            groups.setdefault(str(group), []).append((names, text))
    yield from groups.items()
