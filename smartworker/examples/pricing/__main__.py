"""`python -m smartworker.examples.pricing`: everything on this machine, as one."""

from smartworker.examples.run import run

GREETING = """
The discounts are at $address and Ctrl-C stops it.

Recompute all discounts, in the worker and then here:
  curl -X POST -H 'Authorization: Bearer $token' '$address/api/v1/admin/discounts/trigger-recompute?days_threshold=30&async_task=true'
  curl -X POST -H 'Authorization: Bearer $token' '$address/api/v1/admin/discounts/trigger-recompute?days_threshold=30&async_task=false'
Ask how it goes, with the task_id of the first answer:
  curl -H 'Authorization: Bearer $token' $address/api/v1/admin/discounts/task-status/<task_id>
As the cron service does:
  curl -X POST -H 'Authorization: Bearer $token' $address/api/cron/update-price-history
"""  # noqa: E501 - lines to copy

if __name__ == "__main__":
    run("pricing", greeting=GREETING, environment={"PRICING_BATCHES": "1000"})
