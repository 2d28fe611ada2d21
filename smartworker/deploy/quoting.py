"""Words and times as systemd and supervisor read them."""

import re
from collections.abc import Callable

from smartworker.cron.fields import DAYS, HOURS, MINUTES, MONTHS, WEEKDAYS
from smartworker.deploy.patterns import Pattern

DAY_NAMES = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@=+,%$-]+", re.ASCII)


def systemd_command(words: list[str]) -> str:
    """A command line of a unit, as in systemd.service(5): `%` is doubled, and `$` in
    all words but the program's."""
    program, *rest = [word.replace("%", "%%") for word in words]
    return " ".join(
        map(_quoted, [program, *(word.replace("$", "$$") for word in rest)])
    )


def systemd_path(path: str) -> str:
    """A path that is the whole value of a setting: only `%` means something."""
    return path.replace("%", "%%")


def supervisor_command(words: list[str]) -> str:
    """A command line of supervisor: shell-like words, in which `%` is doubled."""
    return " ".join(_quoted(word.replace("%", "%%")) for word in words)


def supervisor_value(text: str) -> str:
    """A plain value of supervisor's file, in which `%` is doubled."""
    return text.replace("%", "%%")


def calendar(pattern: Pattern, zone: str) -> str:
    """A pattern as OnCalendar= of a timer, see systemd.time(7)."""
    dates = pattern.dates
    days = _list(dates.weekdays, WEEKDAYS, lambda day: DAY_NAMES[day])
    months = _list(dates.months, MONTHS, lambda month: f"{month:02}")
    date = _list(dates.days, DAYS, lambda day: f"{day:02}")
    hours = _list(pattern.hours, HOURS, lambda hour: f"{hour:02}")
    minutes = _list(pattern.minutes, MINUTES, lambda minute: f"{minute:02}")
    prefix = "" if days == "*" else f"{days} "
    return f"{prefix}*-{months}-{date} {hours}:{minutes}:00 {zone}"


def _list(
    found: frozenset[int], everything: frozenset[int], say: Callable[[int], str]
) -> str:
    return "*" if found == everything else ",".join(say(each) for each in sorted(found))


def _quoted(word: str) -> str:
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
