"""`smartworker jobs`: all jobs, when they are due, how they stand, what they cost."""

import json

import click

from smartworker.cli.connection import EXIT_STATUSES, app_option, load, opened
from smartworker.clock import system_clock
from smartworker.worker.declared import jobs_of
from smartworker.worker.overview import Row, declared, overview


@click.command(
    short_help="List the cron jobs: last run, next due time, state, cost.",
    epilog=f"""\b
Examples:
  smartworker jobs
  smartworker jobs -A shop --json
  smartworker jobs --offline

Exit statuses: 0 done, 2 wrong usage, {EXIT_STATUSES}.
""",
)
@app_option
@click.option("--offline", is_flag=True, help="Ask no server: the declarations alone.")
@click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="How many workers run, for the cost of a month.",
)
@click.option("--json", "as_json", is_flag=True, help="Print facts for programs.")
def jobs(app_name: str, offline: bool, workers: int, as_json: bool) -> None:
    """List the cron jobs of an app.

    Costs 2 commands, and 1 for each job; none with --offline.
    """
    rows = _declared(app_name, workers) if offline else _asked(app_name, workers)
    if as_json:
        click.echo(json.dumps([row.as_json() for row in rows], indent=2))
    else:
        from smartworker.cli.jobs_print import print_jobs

        print_jobs(rows, system_clock.now())


def _declared(app_name: str, workers: int) -> list[Row]:
    app = load(app_name)
    now = system_clock.now()
    return declared(jobs_of(app), app.smartworker, now, workers=workers, app=app)


def _asked(app_name: str, workers: int) -> list[Row]:
    with opened(app_name) as broker:
        app, now = broker.app, system_clock.now()
        return overview(broker, jobs_of(app), app.smartworker, now, workers=workers)
