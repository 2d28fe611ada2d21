"""The Celery task; it runs in any Celery app that imports this module."""

import os
from datetime import date
from typing import Any

from celery import shared_task

from smartworker import progress
from smartworker.clock import system_clock
from smartworker.errors import SettingsError
from smartworker.examples.swim.auto_book import book_all
from smartworker.examples.swim.database import Database
from smartworker.examples.swim.release import next_day


@shared_task(name="swim.auto_book", time_limit=1800, soft_time_limit=1500)  # type: ignore[untyped-decorator]
def auto_book(day: str | None = None, member: str | None = None) -> dict[str, Any]:
    """Book a lane for every member or for one, for tomorrow unless a date is given."""
    facility_url = os.environ.get("SWIM_FACILITY_URL", "").strip()
    if not facility_url:
        raise SettingsError(
            "SWIM_FACILITY_URL is not set: write the facility's address, such as "
            "http://127.0.0.1:8100."
        )
    return book_all(
        Database.from_url(os.environ.get("DATABASE_URL")),
        facility_url,
        date.fromisoformat(day) if day else next_day(system_clock.now()),
        progress,
        only=member,
    )
