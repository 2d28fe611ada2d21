"""Declarations of jobs, as Python, from the entries of another scheduler."""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from textwrap import fill, indent
from typing import Any
from unicodedata import combining, normalize

from smartworker.cron.fields import DAYS, WEEKDAYS, Fields, read_fields
from smartworker.cron.registry import LONGEST_NAME
from smartworker.cron.schedule import Schedule
from smartworker.deploy.patterns import Pattern
from smartworker.durations import format_duration
from smartworker.windows import find_zone

WIDTH = 88
HEAD = '''"""The cron jobs that `smartworker cron import` found in beat_schedule."""

from smartworker import Jobs


def declare(jobs: Jobs) -> None:
    """Add the jobs."""
'''
DAY_MINUTES = 24 * 60
WEEK_MINUTES = 7 * DAY_MINUTES
_WEEK = 7


@dataclass(frozen=True)
class Times:
    """A crontab of Celery: a day counts if it fits both of its day fields."""

    pattern: Pattern
    text: str


#: A crontab, an interval, or the name of a kind that has no counterpart.
Timing = Times | timedelta | str


@dataclass(frozen=True)
class Entry:
    """One entry of the other scheduler."""

    name: str
    task: str
    timing: Timing
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """An expression, and why it is not quite what was asked for, if so."""

    expression: str | None
    reason: str = ""


def declarations(entries: list[Entry], zone: str) -> str:
    """A module that declares them; what cannot be declared stands in comments."""
    zone, notes = _known(zone)
    used: set[str] = set()
    blocks = [_comment(note) for note in notes]
    for entry in entries:
        name = job_name(entry.name, used)
        used.add(name)
        blocks.append("\n".join(_lines(entry, name, zone)))
    if not entries:
        blocks.append(_comment("The beat_schedule of the app is empty."))
    return HEAD + indent("\n".join(blocks) + "\n", "    ")


def job_name(name: str, used: set[str]) -> str:
    """A name that a job may have and that none has yet."""
    # An accent is no reason to lose the letter below it.
    letters = "".join(c for c in normalize("NFKD", name) if not combining(c))
    plain = re.sub(r"[^a-z0-9]+", "-", letters.lower()).strip("-") or "job"
    for number in range(1, len(used) + 2):
        mark = "" if number == 1 else f"-{number}"
        found = plain[: LONGEST_NAME - len(mark)].rstrip("-") + mark
        if found not in used:
            return found
    raise AssertionError("more names were tried than there are")


def expression_of(timing: Timing) -> Found:
    """The five fields that mean this, or the nearest ones with the reason."""
    if isinstance(timing, Times):
        return _from_crontab(timing)
    if isinstance(timing, timedelta):
        return _from_interval(timing)
    if timing == "solar":
        return Found(
            None,
            "It follows the sun, which five fields cannot: declare it without a "
            "schedule and let a service that knows the sun call it, or choose a time.",
        )
    return Found(
        None, f"Its schedule is a {timing}, which cron cannot say: choose a time."
    )


def _from_crontab(times: Times) -> Found:
    dates = times.pattern.dates
    if dates.days != DAYS and dates.weekdays != WEEKDAYS:
        return _both_days(times)
    expression = times.pattern.expression
    fields = Fields(times.pattern.minutes, times.pattern.hours, (dates,), exact=True)
    # As it was written, where that means the same here.
    return Found(times.text if _means(times.text, fields) else expression)


def _both_days(times: Times) -> Found:
    """Celery wants both to fit; five fields mean that only after a star."""
    dates = times.pattern.dates
    fields = times.text.split()
    if (fields[2].startswith("*") or fields[4].startswith("*")) and _valid(times.text):
        return Found(times.text)
    first = min(dates.days)
    if first % _WEEK == 1 and dates.days == frozenset(range(first, first + _WEEK)):
        nth = first // _WEEK + 1
        days = ",".join(f"{day}#{nth}" for day in sorted(dates.weekdays))
        minute, hour, _, month, _ = times.pattern.expression.split()
        return Found(f"{minute} {hour} * {month} {days}")
    return Found(
        times.pattern.expression,
        "It comes on days that fit both the day of the month and the weekday; five "
        "fields mean either. With these it comes too often: look at the day in the "
        "task, or leave one of the two out.",
    )


def _from_interval(every: timedelta) -> Found:
    minutes = every / timedelta(minutes=1)
    for whole, expression in _intervals():
        if whole == minutes:
            return Found(expression)
    shown = f"{every.total_seconds():g} seconds"
    if every >= timedelta(minutes=1) and not every % timedelta(seconds=1):
        shown = format_duration(every)
    near, expression = min(_intervals(), key=lambda each: abs(each[0] - minutes))
    nearest = format_duration(timedelta(minutes=near))
    reason = (
        "a job is due once a minute at most"
        if minutes < 1
        else "that divides neither an hour nor a day evenly"
    )
    return Found(
        expression,
        f"It runs every {shown}, and {reason}. The nearest that works is {nearest}.",
    )


def _intervals() -> Iterator[tuple[int, str]]:
    """The intervals in minutes that five fields can say."""
    for minutes in range(1, 60):
        if 60 % minutes == 0:
            yield minutes, "* * * * *" if minutes == 1 else f"*/{minutes} * * * *"
    for hours in range(1, 24):
        if 24 % hours == 0:
            yield hours * 60, "0 * * * *" if hours == 1 else f"0 */{hours} * * *"
    yield DAY_MINUTES, "0 0 * * *"
    yield WEEK_MINUTES, "0 0 * * 0"


def _lines(entry: Entry, name: str, zone: str) -> Iterator[str]:
    """The declaration of one entry; commented out if it is not what was asked for."""
    found = expression_of(entry.timing)
    values, notes, complete = _values(entry)
    if entry.name != name:
        yield _comment(f"Beat called it {entry.name!r}.")
    if found.reason:
        yield _comment(f"{name} ({entry.task}) is not declared. {found.reason}")
    for note in notes:
        yield _comment(note)
    options = [*values]
    if found.expression is not None:
        when = f"schedule={json.dumps(found.expression)}"
        options = [when, f"zone={json.dumps(zone)}", *values]
    parts = [json.dumps(name), json.dumps(entry.task), *options]
    call = "\n".join(("jobs.declare(", *(f"    {part}," for part in parts), ")"))
    yield call if complete and not found.reason else indent(call, "# ")


def _values(entry: Entry) -> tuple[list[str], list[str], bool]:
    """Its arguments as Python, what a job cannot carry as sentences.

    And whether its arguments are all there: without them the task would do another
    thing.
    """
    values, notes, complete = [], [], True
    for what, value in (("args", list(entry.args)), ("kwargs", dict(entry.kwargs))):
        if value and _is_literal(value):
            values.append(f"{what}={value!r}")
        elif value:
            complete = False
            notes.append(
                f"It is not declared, for its {what} cannot be written as Python: "
                f"{value!r}."
            )
    if entry.options:
        shown = ", ".join(f"{key}={value!r}" for key, value in entry.options.items())
        notes.append(
            f"Its options are not carried: {shown}. Set them at the task, or in "
            "task_routes."
        )
    return values, notes, complete


def _is_literal(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError):
        return False


def _known(zone: str) -> tuple[str, list[str]]:
    try:
        find_zone(zone)
    except ValueError:
        note = (
            f"The app's timezone is {zone!r}, which is no zone with rules for clock "
            "changes: UTC stands in its place."
        )
        return "UTC", [note]
    return zone, []


def _means(text: str, fields: Fields) -> bool:
    return _valid(text) and read_fields(text) == fields


def _valid(text: str) -> bool:
    try:
        Schedule(text, "UTC")
    except ValueError:
        return False
    return True


def _comment(text: str) -> str:
    plain = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return fill(
        plain,
        WIDTH - 4,
        initial_indent="# ",
        subsequent_indent="# ",
        break_long_words=False,
        break_on_hyphens=False,
    )
