"""What an event is, and the unit and meaning of every field that a line may have."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["info", "warning", "error", "critical"]


@dataclass(frozen=True)
class Event:
    """One kind of log line: its name, its own fields, what it tells, how loudly.

    The unit of a field is the same in every event: see FIELDS.
    """

    name: str
    fields: tuple[str, ...]
    meaning: str
    level: Level = "info"


@dataclass(frozen=True)
class Field:
    """One field of a line: its unit ("" for words and names) and what it tells."""

    unit: str
    meaning: str


#: A moment, in UTC unless it says otherwise.
MOMENT = "ISO 8601"

#: Every line has these three, whoever wrote it.
EVERYWHERE = ("timestamp", "level", "event")
#: Bound for the time of a run: every line inside has those that are known.
BOUND = ("trigger_id", "job", "task_id", "task")

FIELDS = {
    "timestamp": Field(MOMENT, "when the line was written"),
    "level": Field("", "info, warning, error or critical"),
    "event": Field("", "the name of the event, or the words of another library"),
    "logger": Field("", "who wrote a line that is no event of ours"),
    "exception": Field("", "the traceback, where there is one"),
    "trigger_id": Field("", "one call, command or catch-up, and all it led to"),
    "job": Field("", "the job by its name"),
    "task_id": Field("", "one execution, with all its tries"),
    "task": Field("", "the task by its Celery name"),
    "address": Field("", "the caller's address as the web process sees it"),
    "advice": Field("", "what a person can do"),
    "allowed_seconds": Field("s", "how long a run may take"),
    "attempt": Field("runs", "which run of the task this was; the first one is 1"),
    "attempts": Field("attempts", "how often it was tried or delivered"),
    "away_seconds": Field("s", "how long the server has been away"),
    "billed": Field("commands", "billed commands, all causes together"),
    "bound": Field("", "which bound was passed: number or age"),
    "budget": Field("commands", "what may be spent in a month"),
    "commands": Field("commands", "how many were sent; by cause where it is a table"),
    "count": Field("messages", "how many messages"),
    "dead": Field("messages", "how many went to the dead letters"),
    "detail": Field("", "more about the reason"),
    "doorbell": Field("", "what wakes the worker: keyspace, publish or off"),
    "error": Field("", "type and text of an error, cut short"),
    "exit_status": Field("", "what the process ended with"),
    "flags": Field("", "notify-keyspace-events as it is now"),
    "flags_before": Field("", "notify-keyspace-events as it was"),
    "former": Field("", "the name that a setting had in an earlier release"),
    "forecast": Field("commands", "what the month will have cost at its end"),
    "host": Field("", "the server that was called, or where we listen"),
    "port": Field("", "the port where we listen"),
    "how": Field("", "warm or cold"),
    "kind": Field("", "the kind of an outage or refusal"),
    "letter": Field("", "the id of a dead letter"),
    "list": Field("", "the Redis key of a list"),
    "missed_at": Field(MOMENT, "when the slot will have been missed"),
    "mode": Field("", "how the doorbell rings: keyspace, publish or off"),
    "month": Field("YYYY-MM", "a calendar month in UTC"),
    "old_poll_seconds": Field("s", "the interval of polls before"),
    "owner": Field("", "the id of the worker that held messages"),
    "policy": Field("", "what becomes of a missed slot: skip, once or all"),
    "poll_seconds": Field("s", "the interval of polls from now on"),
    "polls": Field("polls", "how often the queues were looked at"),
    "queue": Field("", "a queue by its name or its Redis key"),
    "queues": Field("", "the names of the queues that are consumed"),
    "read_back": Field("messages", "how many were found in flight"),
    "reason": Field("", "why, in words"),
    "retry_seconds": Field("s", "the pause before the next try"),
    "returned": Field("messages", "how many went back to their queue"),
    "risk": Field("", "what may go wrong"),
    "seconds": Field("s", "how long it took, or how long it waits"),
    "setting": Field("", "the setting by its name"),
    "share": Field("ratio", "what is spent of the budget: 1 is all of it"),
    "signal": Field("", "of the system (SIGTERM) or of a ping (start, ok, fail)"),
    "since": Field(MOMENT, "the begin of the time that the line is about"),
    "slot": Field(MOMENT, "the time of the schedule that a run counts for"),
    "spent": Field("commands", "billed commands of all processes this month"),
    "stack": Field("", "where the code stood, the innermost last"),
    "state": Field("", "the state of a task as Celery calls it"),
    "status": Field("", "the status code of the answer"),
    "subject": Field("", "what the doctor looked at"),
    "times": Field("times", "how often that has happened to the message"),
    "until": Field(MOMENT, "when that ends"),
    "waiting": Field("runs", "how many runs wait to be written"),
    "window": Field("HH:MM-HH:MM", "the window of frequent polls; null: none is open"),
    "worker": Field("", "the node name of a worker"),
}
