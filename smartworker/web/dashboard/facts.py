"""What the dashboard knows, and the two questions to Redis that tell it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from smartworker.cron.registry import Jobs
from smartworker.forecast import Outlook, Timetable, forecast
from smartworker.policy import Policy
from smartworker.rows import Row
from smartworker.settings import Settings
from smartworker.store import processes
from smartworker.store.backlog import lengths
from smartworker.store.dead import DeadLetter, DeadLetters
from smartworker.store.meter import because
from smartworker.worker import overview as at_a_glance
from smartworker.worker.link import Link
from smartworker.worker.presence import counter

#: Runs of each job and dead letters that are read: as many as the page shows.
MOST_RUNS = 10
MOST_LETTERS = 20
CAUSE = "look"

Reading = tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Details:
    """What costs several commands to know, as it was `at` a time."""

    at: datetime
    jobs: tuple[at_a_glance.Row, ...]
    #: Queue name -> messages that wait.
    queues: dict[str, int]
    letters: tuple[DeadLetter, ...]
    outlook: Outlook


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that is known; what could not be read is what it was, or None."""

    #: When Redis answered for the last time; None: never.
    at: datetime | None = None
    rows: Reading = ()
    details: Details | None = None
    #: When the workers were asked for their rows, and have had the time to answer.
    asked: datetime | None = None
    #: Why the last reading failed; None if it did not.
    error: str | None = None


def read_processes(link: Link) -> Reading:
    """The rows of all processes. 1 command. Raises what redis-py raises."""
    with because(CAUSE):
        return tuple(processes.read(link.client, link.prefix, CAUSE))


def read_details(
    link: Link, jobs: Jobs, settings: Settings, now: datetime, processes: Reading
) -> Details:
    """Jobs, runs, queues and dead letters.

    4 commands, and 1 for each job; 1 more for each priority step of all queues if
    anything waits. Raises what redis-py raises, and BrokerUnreachable for a database
    that is away.
    """
    running = [row for row in processes if not row.is_gone(now)]
    names = {str(name) for row in running for name in row.queues}
    names.update(link.app.amqp.queues.consume_from)
    rows = at_a_glance.overview(link, jobs, settings, now, runs=MOST_RUNS)
    return Details(
        at=now,
        jobs=tuple(rows),
        queues=_queues(link, sorted(names)),
        letters=tuple(DeadLetters(link.client, link.prefix).newest(MOST_LETTERS + 1)),
        outlook=_outlook(rows, settings, now, processes),
    )


def living(rows: Reading, now: datetime) -> list[Row]:
    """The workers that have not ended; of those with one name the one that is new."""
    newest = {
        row.name: row
        for row in rows
        if row.kind == "worker" and not (row.is_folded or row.is_gone(now))
    }
    return [*newest.values()]


def work(rows: Reading) -> tuple[Any, ...]:
    """What has another value as soon as a task or a run began or ended."""
    return tuple(
        (
            row.id,
            row.stopped,
            row.held,
            tuple(str(each.get("task_id")) for each in row.active),
            tuple(sorted((name, str(counts)) for name, counts in row.tasks.items())),
            tuple(sorted((job, str(ended)) for job, ended in row.runs.items())),
        )
        for row in rows
        if row.kind == "worker"
    )


def _outlook(
    jobs: Sequence[at_a_glance.Row], settings: Settings, now: datetime, rows: Reading
) -> Outlook:
    """What the month will cost. Counts up all runs to come: not for an event loop."""
    return forecast(
        rows,
        now,
        policy=Policy(settings.windows, settings.quiet_poll),
        jobs=[
            Timetable(row.job.name, row.run_commands, counter(row.job)) for row in jobs
        ],
        budget=settings.monthly_budget,
        workers=max(1, len(living(rows, now))),
    )


def _queues(link: Link, names: Sequence[str]) -> dict[str, int]:
    """How many messages wait. 1 command while nothing does."""
    steps = {
        name: [link.channel.key_for(name, step) for step in link.channel.priority_steps]
        for name in names
    }
    flat = [key for keys in steps.values() for key in keys]
    with because(CAUSE):
        waiting = link.client.exists(*flat) if flat else 0
    if not waiting:
        return dict.fromkeys(names, 0)
    counts = dict(zip(flat, lengths(link.client, flat, CAUSE), strict=True))
    return {name: sum(counts[key] for key in keys) for name, keys in steps.items()}
