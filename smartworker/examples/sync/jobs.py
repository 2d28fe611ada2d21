"""The cron jobs of the sync example."""

from smartworker.cron.registry import Jobs


def declare(jobs: Jobs) -> None:
    """Add the jobs of this example.

    A refresh looks at everything, so a second one at the same time and a second one
    for an hour that was missed would find nothing to do.
    """
    jobs.declare(
        "refresh",
        "sync.refresh",
        description="Sends what waits and puts right what differs.",
        schedule="0 * * * *",
        overlap="skip",
        catch_up="once",
        limit="10m",
    )
