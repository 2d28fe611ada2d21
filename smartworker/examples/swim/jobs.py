"""The cron jobs of the swim example."""

from smartworker.cron.registry import Jobs


def declare(jobs: Jobs) -> None:
    """Add the jobs of this example."""
    jobs.declare(
        "schedule-swim-lanes",
        "swim.auto_book",
        description="Books tomorrow's lanes for every member.",
        schedule="0 21 * * *",
        catch_up="once",
    )
