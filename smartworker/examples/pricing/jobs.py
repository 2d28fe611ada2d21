"""The cron jobs of the pricing example, in place of Beat's schedule.

Their runs may overlap: each transaction writes only what has changed, so two at once
write what one would, and no command is spent on keeping them apart.
"""

from smartworker.cron.registry import Jobs


def declare(jobs: Jobs) -> None:
    """Add the jobs of this example."""
    jobs.declare(
        "recompute-all-discounts",
        "pricing.recompute_all_discounts",
        description="Discounts of all batches that expire within 30 days.",
        schedule="0 * * * *",
        # The next hour does the same work, so one missed run is made up for, not ten.
        catch_up="once",
        catch_up_within="2h",
        limit="30m",
    )
    jobs.declare(
        "cleanup-expired-discounts",
        "pricing.cleanup_expired_discounts",
        description="Takes the discounts of expired batches away.",
        schedule="0 2 * * *",
        catch_up="once",
        limit="30m",
    )
    jobs.declare(
        "update-price-history",
        "pricing.update_price_history",
        description="Records each price that has changed.",
        schedule="0 */6 * * *",
        # What changed in a span that is over cannot be recorded afterwards.
        catch_up="skip",
        limit="30m",
    )
