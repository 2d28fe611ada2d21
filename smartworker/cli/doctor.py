"""`smartworker doctor`: what puts tasks at risk or costs commands, and what to do."""

import json
import os
import sys
from datetime import timedelta

import click

from smartworker.cli.connection import EXIT_STATUSES, app_option, opened
from smartworker.cli.doctor_facts import findings_of
from smartworker.cli.doctor_print import print_findings
from smartworker.cli.plan_options import Checked
from smartworker.clock import system_clock
from smartworker.durations import parse_duration

STATUSES = {"critical": 3, "warning": 1, "info": 0}
PROBE_ALONE = ("silence", "bill", "yes")


def read_sample(text: str) -> timedelta:
    """A duration, or 0 for none."""
    return timedelta() if text == "0" else parse_duration(text)


def is_given(ctx: click.Context, name: str) -> bool:
    """Whether an option stands on the command line."""
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


@click.command(
    short_help="Find what puts tasks at risk, and what costs commands.",
    epilog=f"""\b
Examples:
  smartworker doctor
  smartworker doctor -A shop --json
  smartworker doctor --sample 0
  smartworker doctor --probe --silence 10m

Exit statuses: 0 nothing above info, 1 warnings, 2 wrong usage, 3 something is
critical, {EXIT_STATUSES}.
""",
)
@app_option
@click.option(
    "--sample",
    type=Checked("duration", read_sample),
    default="6s",
    show_default=True,
    help="How long to look at what others send; 0 for not at all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print facts for programs.")
@click.option("--probe", is_flag=True, help="Try out what no document says, instead.")
@click.option(
    "--silence",
    type=Checked("duration", read_sample),
    default="10m",
    show_default=True,
    help="With --probe: how long to be silent on a connection; 0 for not at all.",
)
@click.option(
    "--bill",
    type=click.IntRange(1, 100_000),
    help="With --probe: send so many of each, to read off what was billed.",
)
@click.option("--yes", is_flag=True, help="With --probe: do not ask.")
@click.pass_context
def doctor(
    ctx: click.Context,
    app_name: str,
    sample: timedelta,
    as_json: bool,
    probe: bool,
    silence: timedelta,
    bill: int | None,
    yes: bool,
) -> None:
    """Find what puts tasks at risk or costs commands: in Redis, on the way to it, in
    the configuration, and by whoever else is on the server.

    6 commands; what the server tells of itself is not billed. Each finding says what
    leaving it as it is costs in a month of 30 days, where it costs any.
    """
    if probe:
        from smartworker.cli.probe import run_probe

        if is_given(ctx, "sample"):
            raise click.UsageError("--sample goes without --probe.")
        run_probe(app_name, silence, bill, yes=yes, as_json=as_json)
        return
    for name in PROBE_ALONE:
        if is_given(ctx, name):
            raise click.UsageError(f"--{name} goes with --probe.")
    with opened(app_name, any_server=True) as broker:
        findings = findings_of(broker, system_clock, sample.total_seconds(), os.environ)
    if as_json:
        click.echo(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        print_findings(findings)
    sys.exit(max((STATUSES[finding.severity] for finding in findings), default=0))
