"""`smartworker review`: what the logs say of a day, and whether somebody must look."""

import sys
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartworker.cli.plan import load
from smartworker.cli.plan_options import Checked, read_day, what_if
from smartworker.clock import system_clock
from smartworker.errors import SettingsError

if TYPE_CHECKING:
    from smartworker.review.report import Report

STDIN = "-"
#: What a page begins with.
DOCTYPE = b"<!doctype html>"
#: Something in the day needs attention.
ATTENTION = 1


@click.command(
    short_help="Say what the logs tell of a day.",
    epilog="""\b
Examples:
  smartworker review worker.log web.log
  smartworker review --day 2026-11-24 --html day.html logs/*.gz
  render logs --resources srv-1 -o text | smartworker review -

Exit statuses: 0 nothing needs attention, 1 something does, 2 wrong usage, 78 a
setting is wrong.
""",
)
@click.argument("files", nargs=-1, metavar="[FILES]...")
@click.option(
    "--day",
    type=Checked("day", read_day),
    help="This local day; default the last one in the logs that is over.",
)
@click.option("--today", is_flag=True, help="Today so far.")
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write a page that opens offline to this file.",
)
@what_if
def review(
    files: tuple[str, ...],
    day: date | None,
    today: bool,
    page: Path | None,
    as_json: bool,
    **plan: str | None,
) -> None:
    """Count runs, errors, gaps, polls and commands of a day in FILES or standard input.

    Log files, plain or gzip, and what platforms export, in any order; `-` is standard
    input. Asks nobody: no Redis command, no application. Windows, zone and budget are
    those of the environment.
    """
    if day is not None and today:
        raise click.UsageError("--day and --today name two days: give one of them.")
    if not files and sys.stdin.isatty():
        raise click.UsageError(
            "There is nothing to read: name log files, or pipe them in."
        )
    # What is named twice, also by patterns of the shell, happened once.
    names = tuple(dict.fromkeys(files)) or (STDIN,)
    if page is not None:
        _spare(page)
    report = _report(names, day, today, plan)
    if page is not None:
        _write(page, report)
    if as_json:
        from smartworker.review.output import as_json as encoded

        click.echo(encoded(report).encode())
    else:
        from smartworker.cli.review_print import print_report

        print_report(report, page)
    sys.exit(ATTENTION if report.reasons else 0)


def _report(
    files: tuple[str, ...], day: date | None, today: bool, plan: dict[str, Any]
) -> "Report":
    settings, policy = load(plan["spans"], plan["quiet_poll"], plan["timezone"])
    try:
        from smartworker.review.analysis import Review
        from smartworker.review.reading import Damaged, lines
    except ModuleNotFoundError as error:
        raise _extra_missing(error) from error
    now = system_clock.now()
    if today:
        day = policy.windows.local(now).date()
    found = Review(policy, settings.monthly_budget, now, day)
    for name in files:
        with closing(_open(name)) as stream:
            try:
                found.read(_shown(name), lines(stream))
            except Damaged as error:
                found.damaged(_shown(name), str(error))
    return found.report()


def _spare(page: Path) -> None:
    """Refuse to write over a file that is no page: `--html worker.log` wants a name."""
    if not page.is_file():
        return
    try:
        with page.open("rb") as file:
            start = file.read(len(DOCTYPE))
    except OSError:  # The attempt to write says it.
        return
    if start and start.lower() != DOCTYPE:
        raise click.BadParameter(
            f"{page} is there and is no page: name another file, or remove it.",
            param_hint="--html",
        )


def _write(page: Path, report: "Report") -> None:
    from smartworker.review.html import render

    try:
        page.write_text(render(report), encoding="utf-8")
    except OSError as error:
        raise click.BadParameter(
            f"{page}: {error.strerror}.", param_hint="--html"
        ) from error


def _open(name: str) -> Any:
    if name == STDIN:
        return sys.stdin.buffer
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise click.BadParameter(
            f"{name}: {error.strerror}.", param_hint="FILES"
        ) from error


def _shown(name: str) -> str:
    return "standard input" if name == STDIN else click.format_filename(name)


def _extra_missing(error: ModuleNotFoundError) -> SettingsError:
    return SettingsError(
        f"The review needs {error.name}, which is not installed: "
        "install smartworker[review]."
    )
