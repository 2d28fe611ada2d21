"""The cron jobs of the league example."""

from smartworker.cron.registry import Jobs


def declare(jobs: Jobs) -> None:
    """Add the jobs of this example."""
    jobs.declare(
        "weekly-schedule",
        "league.generate",
        kwargs={"force_regenerate": True},
        description="Makes the schedule of the season anew.",
        schedule="0 4 * * mon",
        overlap="skip",
        catch_up="once",
        limit="10m",
    )
