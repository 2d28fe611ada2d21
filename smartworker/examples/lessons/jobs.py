"""The seven cron jobs of the marketplace, where Beat had its schedule.

None of them needs `overlap`: each is one transaction that does what is due by what the
database says, so a second run at the same time finds nothing to do. For the same reason
all but one need no `catch_up`: the next run does what a missed one left.
"""

from datetime import date

from smartworker.cron.registry import Jobs


def declare(jobs: Jobs) -> None:
    """Add the jobs of this example."""
    _by_day(jobs)
    _by_night(jobs)


def _by_day(jobs: Jobs) -> None:
    jobs.declare(
        "clean-up-sessions",
        "lessons.clean_up_sessions",
        description="Forgets sessions that are over.",
        schedule="0 * * * *",
        limit="5m",
    )
    jobs.declare(
        "remind-of-bookings",
        "lessons.remind_of_bookings",
        description="Reminds students of lessons within 24 hours.",
        schedule="*/30 * * * *",
        limit="5m",
    )
    jobs.declare(
        "check-no-shows",
        "lessons.check_no_shows",
        description="Marks bookings whose student did not come.",
        schedule="*/15 * * * *",
        grace="10m",
        limit="5m",
    )
    jobs.declare(
        "warm-availability",
        "lessons.warm_availability",
        description="Works out the free places of the lessons to come.",
        schedule="*/5 * * * *",
        grace="4m",
        limit="2m",
    )
    jobs.declare(
        "check-health",
        "lessons.check_health",
        description="Asks the database and the mail server how they are.",
        schedule="* * * * *",
        grace="50s",
        limit="30s",
    )


def _by_night(jobs: Jobs) -> None:
    jobs.declare(
        "daily-analytics",
        "lessons.daily_analytics",
        description="Works out the figures of yesterday, or of ?day=2026-11-24.",
        schedule="0 2 * * *",
        catch_up="once",  # nobody else works out that day
        limit="15m",
        parameters={"day": date | None},
    )
    jobs.declare(
        "clean-up-notifications",
        "lessons.clean_up_notifications",
        description="Forgets notices that were read, and very old ones.",
        schedule="0 3 * * *",
        limit="5m",
    )
