"""The table of events: every line that smartworker logs has its name here.

Logs, metrics, history, dashboard and review read this table; a name is a contract and
never changes its meaning. The events of the web process stand in `events_web.py`, the
units of all fields in `event_fields.py`.
"""

from smartworker.event_fields import FIELDS, Event
from smartworker.events_web import WEB

__all__ = ["EVENTS", "FIELDS", "Event"]

WORKER = (
    Event(
        "worker_ready",
        ("worker", "queues", "doorbell", "window", "poll_seconds"),
        "The worker takes tasks from now on.",
    ),
    Event(
        "worker_stopping",
        ("worker", "signal", "how"),
        "A signal asked the worker to stop.",
    ),
    Event(
        "worker_report",
        ("worker", "since", "polls", "commands", "billed"),
        "Each full hour and at the end: what was sent since the last one, by cause.",
    ),
    Event(
        "interval_changed",
        (
            "old_poll_seconds",
            "poll_seconds",
            "window",
            "until",
            "reason",
            "commands",
        ),
        "A window opened or closed, or the budget widens quiet polls; `commands` were "
        "sent since the last change.",
    ),
    Event(
        "row_not_written",
        ("error", "retry_seconds"),
        "What this process does and spends cannot be recorded; said once.",
        "warning",
    ),
    Event(
        "budget_warned",
        ("month", "share", "spent", "budget", "forecast"),
        "All processes together have spent 60 or 85 % of the month's budget.",
        "warning",
    ),
    Event(
        "budget_exhausted",
        ("month", "spent", "budget", "forecast", "poll_seconds", "until"),
        "The month's budget is used up: quiet polls widen, and work goes on.",
        "error",
    ),
    Event(
        "budget_renewed",
        ("month", "spent", "budget"),
        "A new month: quiet polls are what they were.",
    ),
    Event(
        "port_opened",
        ("host", "port"),
        "Metrics and health are served there, at no command.",
    ),
    Event(
        "port_not_opened",
        ("host", "port", "error"),
        "The port of SMARTWORKER_METRICS_PORT cannot be used; the worker does without.",
        "warning",
    ),
    Event(
        "doorbell_ready",
        ("mode", "flags_before", "flags"),
        "The subscription that wakes the worker is confirmed.",
    ),
    Event(
        "doorbell_refused",
        ("mode", "error"),
        "The server does not ring for pushes; the worker falls back to `mode`.",
        "warning",
    ),
    Event(
        "broker_lost",
        ("kind", "error", "advice", "retry_seconds"),
        "The server is away or refuses; the worker tries again with pauses.",
        "warning",
    ),
    Event(
        "broker_still_lost",
        ("kind", "error", "away_seconds", "retry_seconds"),
        "An error nobody expected goes on; said once a minute.",
        "error",
    ),
    Event(
        "broker_back",
        ("kind", "away_seconds", "attempts", "read_back"),
        "The server answers again; `read_back` messages were found in flight.",
    ),
    Event(
        "progress_not_written",
        ("task_id", "error"),
        "The progress of a task cannot be stored now; the task goes on.",
        "warning",
    ),
    Event(
        "queued_not_recorded",
        ("task_id", "error"),
        "A task could not be recorded as queued; it is queued all the same.",
        "warning",
    ),
    Event(
        "results_away",
        ("error", "retry_seconds"),
        "A result cannot be stored or read now; it is tried again.",
        "warning",
    ),
    Event(
        "messages_given_back",
        ("queue", "count"),
        "Messages taken and not started went back to their queue.",
    ),
    Event(
        "result_lost",
        ("task_id", "error"),
        "No result store took a result; a late-ack task will run again.",
        "error",
    ),
    Event(
        "denial_not_stored",
        ("error",),
        "The failure in place of a result that the server never takes was not stored.",
        "error",
    ),
    Event(
        "tls_unverified",
        ("setting",),
        "The server's certificate is not verified, as the setting says.",
        "warning",
    ),
    Event(
        "setting_renamed",
        ("former", "setting"),
        "A setting is set by its former name, which works until it is taken out; said "
        "at the start.",
        "warning",
    ),
    Event(
        "doctor_alarmed",
        ("subject", "risk", "advice"),
        "`smartworker doctor` calls this critical: tasks or secrets are at risk; said "
        "at the start.",
        "critical",
    ),
    Event(
        "doctor_warned",
        ("subject", "risk", "advice"),
        "`smartworker doctor` warns of this; said at the start.",
        "warning",
    ),
    Event(
        "doctor_failed",
        ("error",),
        "The doctor's look at the start came to nothing; the process goes on.",
        "warning",
    ),
    Event(
        "server_risk",
        ("risk", "advice"),
        "The server is set up to lose tasks; said at the start.",
        "critical",
    ),
    Event(
        "message_dead",
        (
            "queue",
            "reason",
            "detail",
            "attempts",
            "task_id",
            "task",
            "job",
            "trigger_id",
        ),
        "A message went to the dead letters: nobody could or may run it.",
        "error",
    ),
    Event(
        "dead_letters_dropped",
        ("count", "bound"),
        "The oldest dead letters were dropped: too many (number) or too old (age).",
        "warning",
    ),
    Event(
        "message_held_back",
        ("queue", "seconds", "times"),
        "No such task here: the message goes back for another worker in a while.",
        "warning",
    ),
    Event(
        "messages_rescued",
        ("owner", "queue", "returned", "dead"),
        "A worker died; what it held went back to its queue, or to the dead.",
        "warning",
    ),
    Event(
        "rescue_refused",
        ("list", "error"),
        "The server refuses to move what a dead worker held; it is tried again.",
        "warning",
    ),
    Event(
        "stock_messages_adopted",
        ("count",),
        "What a dead worker without smartworker held went back to its queues.",
        "warning",
    ),
    Event(
        "lease_not_renewed",
        ("error",),
        "The server did not take the sign of life; it is sent again.",
        "warning",
    ),
    Event(
        "bindings_not_written",
        ("error",),
        "The server did not take the bindings of a queue that is being closed.",
        "warning",
    ),
    Event(
        "shutdown_cut_short",
        ("reason",),
        "The worker left at once; what it held comes back.",
        "error",
    ),
    Event(
        "worker_stuck",
        ("worker", "reason", "stack", "exit_status"),
        "The worker's loop stood still, so it left; what it held comes back.",
        "critical",
    ),
    Event(
        "state_not_written",
        ("error",),
        "The state file cannot be written; said once until it can be.",
        "warning",
    ),
    Event(
        "ping_failed",
        ("job", "signal", "host", "error"),
        "A run could not be pinged; said once until a ping arrives again.",
        "warning",
    ),
    Event(
        "give_back_failed",
        ("count", "error"),
        "The server did not take messages back; they stay in flight.",
        "error",
    ),
    Event(
        "delivery_lost",
        ("queue",),
        "A finished message was not in the in-flight list any more.",
        "warning",
    ),
    Event(
        "task_started",
        ("task_id", "task", "job", "trigger_id"),
        "A task began to run.",
    ),
    Event(
        "task_finished",
        ("task_id", "task", "job", "trigger_id", "seconds", "state"),
        "A task ended well.",
    ),
    Event(
        "task_failed",
        ("task_id", "task", "job", "trigger_id", "attempt", "seconds", "error"),
        "A task raised an error, and is not tried again.",
        "error",
    ),
    Event(
        "task_retried",
        (
            "task_id",
            "task",
            "job",
            "trigger_id",
            "attempt",
            "seconds",
            "retry_seconds",
            "error",
        ),
        "A task runs again after `retry_seconds`; this was the run `attempt`.",
        "warning",
    ),
    Event(
        "history_not_written",
        ("error", "waiting"),
        "A run is not in the history; all that wait are tried again with the next.",
        "warning",
    ),
    Event(
        "history_in_redis",
        ("reason",),
        "A database is set and cannot have the history, which stays in Redis.",
    ),
    Event(
        "run_waits",
        ("job", "task_id", "trigger_id"),
        "A run waits here until an earlier one of its job has ended.",
    ),
    Event(
        "lease_not_asked",
        ("job", "error"),
        "The server did not say whether a job is free; its runs wait.",
        "warning",
    ),
    Event(
        "run_late",
        ("job", "slot", "task_id", "missed_at"),
        "Nobody has called for a slot within its grace.",
        "warning",
    ),
    Event(
        "run_missed",
        ("job", "slot", "task_id", "policy"),
        "Nobody has called for a slot until its deadline.",
        "error",
    ),
    Event(
        "run_made_up",
        ("job", "slot", "task_id", "trigger_id"),
        "The worker queued the run of a missed slot itself.",
    ),
    Event(
        "run_stuck",
        ("job", "slot", "task_id", "trigger_id", "seconds", "allowed_seconds"),
        "A run takes more than twice as long as it may.",
        "error",
    ),
    Event(
        "look_delayed",
        ("error", "retry_seconds"),
        "The server was away when slots were to be looked at; it is tried again.",
        "warning",
    ),
    Event(
        "catch_up_failed",
        ("job", "slot", "task_id", "error"),
        "A missed slot cannot be made up for: its run cannot be queued.",
        "error",
    ),
)

EVENTS = {event.name: event for event in (*WORKER, *WEB)}
