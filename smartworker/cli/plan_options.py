"""The options of the plan commands, each checked with a sentence of its own."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import click

from smartworker.durations import parse_duration
from smartworker.errors import SettingsError
from smartworker.settings import check_poll
from smartworker.windows import Windows, find_zone

# pytz's tables of clock changes end here.
FIRST_YEAR, LAST_YEAR = 1970, 2037


class Checked(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """An option's value, read by a function whose error is a full sentence."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        """Name the value for the help text."""
        self.name = name
        self._read = read

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """The value, or click's error with the sentence in it."""
        try:
            return self._read(value)
        except (ValueError, SettingsError) as error:
            self.fail(str(error), param, ctx)


def read_windows(text: str) -> str:
    """Windows that could stand in SMARTWORKER_WINDOWS, as they were written."""
    for span in Windows.parse(text, "UTC").spans:
        check_poll(span.name, span.poll)
    return text


def read_poll(text: str) -> str:
    """A duration that could be a poll, as it was written."""
    try:
        check_poll(repr(text), parse_duration(text))
    except ValueError as error:
        raise ValueError(f"{error}: write a poll from 1s to 24h.") from None
    return text


def read_zone(text: str) -> str:
    """The name of a zone, as it was written."""
    find_zone(text)
    return text


def read_instant(text: str) -> datetime:
    """An ISO instant with its offset from UTC."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not an instant: write 2026-11-01T01:30:00-04:00."
        ) from None
    if instant.utcoffset() is None:
        raise ValueError(f"{text!r} has no offset from UTC: add one, such as -04:00.")
    _check_year(instant.year)
    return instant


def read_day(text: str) -> date:
    """An ISO day."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a day: write 2026-11-01.") from None
    _check_year(day.year)
    return day


def read_month(text: str) -> date:
    """The first day of a month such as `2026-11`."""
    try:
        return read_day(f"{text}-01")
    except ValueError:
        raise ValueError(
            f"{text!r} is not a month from {FIRST_YEAR} to {LAST_YEAR}: write 2026-11."
        ) from None


def _check_year(year: int) -> None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise ValueError(
            f"the clock changes of {year} are not known: "
            f"allowed is {FIRST_YEAR} to {LAST_YEAR}."
        )


def what_if(command: Callable[..., None]) -> Callable[..., None]:
    """The options that put another plan in the place of the environment's."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option(
            "--timezone",
            type=Checked("zone", read_zone),
            help="Instead of SMARTWORKER_TIMEZONE.",
        ),
        click.option(
            "--quiet-poll",
            type=Checked("duration", read_poll),
            help="Instead of SMARTWORKER_QUIET_POLL, such as 30m.",
        ),
        click.option(
            "--windows",
            "spans",
            type=Checked("spans", read_windows),
            help="Instead of SMARTWORKER_WINDOWS, such as 20:00-23:00=30s.",
        ),
    ):
        command = option(command)
    return command
