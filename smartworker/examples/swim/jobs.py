"""The cron jobs of the swim example."""

from datetime import date

from smartworker.cron.registry import Jobs


def declare(jobs: Jobs) -> None:
    """Add the jobs of this example.

    The call comes five minutes ahead of the release at 9 PM, so that all is ready by
    then. The grace reaches beyond the release: a cron service that is late, or has
    always called at 9 PM, starts the run of this evening and no second one.
    """
    jobs.declare(
        "schedule-swim-lanes",
        "swim.auto_book",
        description="Books tomorrow's lanes for every member.",
        schedule="55 20 * * *",
        grace="15m",
        catch_up="once",
        # Two runs at once are harmless, and a lease would cost 4 commands each.
        overlap="allow",
        limit="30m",
        parameters={"day": date | None},
    )
