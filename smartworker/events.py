"""The table of events: every line that smartworker logs has its name here.

Logs, metrics and reviews read this table; a name is a contract and never changes
its meaning.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One kind of log line: its name, its own fields, and what it tells."""

    name: str
    fields: tuple[str, ...]
    meaning: str


EVENTS = {
    event.name: event
    for event in (
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
            "interval_changed",
            (
                "old_poll_seconds",
                "poll_seconds",
                "window",
                "until",
                "reason",
                "commands",
            ),
            "A window opened or closed; `commands` were sent since the last change.",
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
        ),
        Event(
            "broker_lost",
            ("kind", "error", "advice", "retry_seconds"),
            "The server is away or refuses; the worker tries again with pauses.",
        ),
        Event(
            "broker_still_lost",
            ("kind", "error", "away_seconds", "retry_seconds"),
            "An error nobody expected goes on; said once a minute.",
        ),
        Event(
            "broker_back",
            ("kind", "away_seconds", "attempts", "read_back"),
            "The server answers again; `read_back` messages were found in flight.",
        ),
        Event(
            "subscription_lost",
            ("error",),
            "A subscription of the web process broke; it is renewed when needed.",
        ),
        Event(
            "progress_not_written",
            ("task_id", "error"),
            "The progress of a task cannot be stored now; the task goes on.",
        ),
        Event(
            "queued_not_recorded",
            ("task_id", "error"),
            "A task could not be recorded as queued; it is queued all the same.",
        ),
        Event(
            "results_away",
            ("error", "retry_seconds"),
            "A result cannot be stored or read now; it is tried again.",
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
        ),
        Event(
            "tls_unverified",
            ("setting",),
            "The server's certificate is not verified, as the setting says.",
        ),
        Event(
            "server_risk",
            ("risk", "advice"),
            "The server is set up to lose tasks; said at the start.",
        ),
        Event(
            "message_dead",
            ("queue", "reason", "detail", "attempts", "task_id", "task"),
            "A message went to the dead letters: nobody could or may run it.",
        ),
        Event(
            "dead_letters_dropped",
            ("count", "bound"),
            "The oldest dead letters were dropped: too many (number) or too old (age).",
        ),
        Event(
            "message_held_back",
            ("queue", "seconds", "times"),
            "No such task here: the message goes back for another worker in a while.",
        ),
        Event(
            "messages_rescued",
            ("owner", "queue", "returned", "dead"),
            "A worker died; what it held went back to its queue, or to the dead.",
        ),
        Event(
            "rescue_refused",
            ("list", "error"),
            "The server refuses to move what a dead worker held; it is tried again.",
        ),
        Event(
            "stock_messages_adopted",
            ("count",),
            "What a dead worker without smartworker held went back to its queues.",
        ),
        Event(
            "lease_not_renewed",
            ("error",),
            "The server did not take the sign of life; it is sent again.",
        ),
        Event(
            "bindings_not_written",
            ("error",),
            "The server did not take the bindings of a queue that is being closed.",
        ),
        Event(
            "shutdown_cut_short",
            ("reason",),
            "The worker left at once; what it held comes back.",
        ),
        Event(
            "give_back_failed",
            ("count", "error"),
            "The server did not take messages back; they stay in flight.",
        ),
        Event(
            "delivery_lost",
            ("queue",),
            "A finished message was not in the in-flight list any more.",
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
        ),
        Event(
            "history_not_written",
            ("error", "waiting"),
            "A run is not in the history; all that wait are tried again with the next.",
        ),
        Event(
            "history_in_redis",
            ("reason",),
            "A database is set and cannot have the history, which stays in Redis.",
        ),
        Event(
            "run_waits",
            ("job", "task_id"),
            "A run waits here until an earlier one of its job has ended.",
        ),
        Event(
            "lease_not_asked",
            ("job", "error"),
            "The server did not say whether a job is free; its runs wait.",
        ),
        Event(
            "run_late",
            ("job", "slot", "task_id", "missed_at"),
            "Nobody has called for a slot within its grace.",
        ),
        Event(
            "run_missed",
            ("job", "slot", "task_id", "policy"),
            "Nobody has called for a slot until its deadline.",
        ),
        Event(
            "run_made_up",
            ("job", "slot", "task_id", "trigger_id"),
            "The worker queued the run of a missed slot itself.",
        ),
        Event(
            "run_stuck",
            ("job", "slot", "task_id", "seconds", "allowed_seconds"),
            "A run takes more than twice as long as it may.",
        ),
        Event(
            "look_delayed",
            ("error", "retry_seconds"),
            "The server was away when slots were to be looked at; it is tried again.",
        ),
        Event(
            "catch_up_failed",
            ("job", "slot", "task_id", "error"),
            "A missed slot cannot be made up for: its run cannot be queued.",
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
        ),
        Event(
            "job_resumed",
            ("job", "address"),
            "The triggers of a job go through again.",
        ),
        Event(
            "trigger_refused",
            ("job", "status", "reason", "address"),
            "An HTTP call was turned away.",
        ),
        Event(
            "management_refused",
            ("job", "status", "reason", "address"),
            "A call that lists, pauses, resumes or runs jobs was turned away.",
        ),
        Event(
            "trigger_failed",
            ("job", "slot", "error"),
            "The server was away when a trigger wanted to queue its task.",
        ),
    )
}
