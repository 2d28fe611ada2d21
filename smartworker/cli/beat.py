"""Celery's `beat_schedule`, read from an app."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from smartworker.cron.fields import Dates
from smartworker.deploy.declarations import Entry, Times, Timing
from smartworker.deploy.patterns import Pattern
from smartworker.errors import SettingsError

FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


def entries_of(app: Any) -> list[Entry]:
    """All entries, those of `add_periodic_task` too. Raises SettingsError."""
    try:
        # The tasks' modules may add entries when the app is ready.
        app.loader.import_default_modules()
    except ImportError as error:
        raise SettingsError(
            f"A module of the app {app.main!r} cannot be imported: {error}."
        ) from error
    app.finalize()
    return list(_entries(app.conf.beat_schedule or {}))


def _entries(schedule: dict[str, Any]) -> Iterator[Entry]:
    for name, entry in schedule.items():
        fields = entry if isinstance(entry, dict) else vars(entry)
        yield Entry(
            name=str(name),
            task=str(fields["task"]),
            timing=timing_of(fields["schedule"]),
            args=tuple(fields.get("args") or ()),
            kwargs=dict(fields.get("kwargs") or {}),
            options=dict(fields.get("options") or {}),
        )


def timing_of(schedule: Any) -> Timing:
    """When an entry is due, in our words; another kind of schedule by its name."""
    from celery.schedules import crontab
    from celery.schedules import schedule as interval

    if isinstance(schedule, crontab):
        dates = Dates(
            frozenset(schedule.day_of_month),
            frozenset(schedule.month_of_year),
            frozenset(schedule.day_of_week),
        )
        text = " ".join(str(getattr(schedule, f"_orig_{field}")) for field in FIELDS)
        minutes, hours = frozenset(schedule.minute), frozenset(schedule.hour)
        return Times(Pattern(minutes, hours, dates), text)
    if isinstance(schedule, timedelta):
        return schedule
    if isinstance(schedule, int | float):
        return timedelta(seconds=schedule)
    if type(schedule) is interval:
        every: timedelta = schedule.run_every
        return every
    return type(schedule).__name__
