"""The Celery task."""

import os
from functools import cache
from typing import Any

from celery import shared_task, signals
from celery.exceptions import Ignore

from smartworker import progress
from smartworker.errors import SettingsError
from smartworker.examples.league.book import Book, Cancelled
from smartworker.examples.league.generator import MOVES
from smartworker.examples.league.making import make
from smartworker.examples.league.tables import connect

engine = cache(connect)


@shared_task(name="league.generate", bind=True)  # type: ignore[untyped-decorator]
def generate(self: Any, force_regenerate: bool = False) -> dict[str, Any]:
    """Make a new schedule, or give the stored one unless a new one must be."""
    tables = engine(os.environ.get("DATABASE_URL"))
    try:
        return make(
            tables,
            self.request.id,
            progress,
            force=force_regenerate,
            seconds=float(self.app.conf.task_time_limit),
            moves=moves(),
        )
    except Cancelled:
        revoked(self)
        raise Ignore from None
    except Exception as error:
        # Nobody shall wait for a run that is over.
        Book(tables).fail(self.request.id, str(error))
        raise


def moves() -> int:
    """LEAGUE_MOVES, how long to polish. Raises SettingsError."""
    text = os.environ.get("LEAGUE_MOVES", "").strip() or str(MOVES)
    if not text.isdecimal():
        raise SettingsError(f"LEAGUE_MOVES is {text!r}, which is no whole number.")
    return int(text)


def revoked(task: Any) -> None:
    """Give the running task the state that Celery gives to one that never began."""
    request = task.request
    task.backend.mark_as_revoked(request.id, "cancelled", request)
    # The history of the job hears of it as of any other end.
    signals.task_revoked.send(
        sender=task, request=request, terminated=False, signum=None, expired=False
    )
