"""The events of the web process: triggers, management, dashboard."""

from smartworker.event_fields import Event

WEB = (
    Event(
        "web_report",
        ("since", "commands", "billed"),
        "Each full hour and at the end: what was sent since the last one, by cause.",
    ),
    Event(
        "subscription_lost",
        ("error",),
        "A subscription of the web process broke; it is renewed when needed.",
        "warning",
    ),
    Event(
        "trigger_accepted",
        ("job", "slot", "task_id", "trigger_id", "address"),
        "An HTTP call queued a task.",
    ),
    Event(
        "triggers_closed",
        ("setting",),
        "No token is configured: the web process refuses every trigger.",
        "warning",
    ),
    Event(
        "trigger_replayed",
        ("job", "slot", "task_id", "trigger_id", "address"),
        "An HTTP call was for a run that had been queued before.",
    ),
    Event(
        "trigger_skipped",
        ("job", "reason", "address"),
        "An HTTP call started nothing, as its job wants it.",
    ),
    Event(
        "job_paused",
        ("job", "address"),
        "The triggers of a job are answered with `skipped` from now on.",
        "warning",
    ),
    Event(
        "job_resumed",
        ("job", "address"),
        "The triggers of a job go through again.",
    ),
    Event(
        "dead_requeued",
        ("letter", "task", "queue", "address"),
        "Somebody put a dead letter back into its queue, on the dashboard.",
        "warning",
    ),
    Event(
        "dashboard_unread",
        ("error",),
        "The dashboard cannot read Redis and shows what it knew; said once.",
        "warning",
    ),
    Event(
        "signed_in",
        ("address",),
        "Somebody signed in on the dashboard with the admin token.",
    ),
    Event(
        "sign_in_refused",
        ("status", "address"),
        "Somebody tried to sign in on the dashboard and was turned away.",
        "warning",
    ),
    Event(
        "trigger_refused",
        ("job", "status", "reason", "address"),
        "An HTTP call was turned away.",
        "warning",
    ),
    Event(
        "management_refused",
        ("job", "status", "reason", "address"),
        "A call that lists, pauses, resumes or runs jobs was turned away.",
        "warning",
    ),
    Event(
        "trigger_failed",
        ("job", "slot", "error"),
        "The server was away when a trigger wanted to queue its task.",
        "error",
    ),
)
