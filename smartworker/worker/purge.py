"""Throwing away what waits in queues, so that nobody waits for it in vain."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from celery import states
from celery.app.task import Context
from celery.exceptions import TaskRevokedError

from smartworker.broker.envelope import Unreadable, header, read
from smartworker.cron.runs import run_of
from smartworker.store import keys
from smartworker.store.backlog import lengths, throw_away
from smartworker.store.overlap import JobLeases
from smartworker.worker.history import remember
from smartworker.worker.link import Link

WHY = "purged"
UNREADABLE = "(unreadable)"


@dataclass
class Backlog:
    """What waits in one queue, and what was thrown away of it."""

    queue: str
    #: Queue key of each priority step -> messages.
    steps: dict[str, int]
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def messages(self) -> int:
        """How many wait, or waited when they were counted."""
        return sum(self.steps.values())


def queues_of(app: Any) -> list[str]:
    """The queues that the app consumes, and those that its tasks are sent to."""
    app.loader.import_default_modules()
    app.finalize()
    found = dict.fromkeys(app.amqp.queues.consume_from)
    for name in app.tasks:
        if not name.startswith("celery."):
            found[app.amqp.router.route({}, name)["queue"].name] = None
    return sorted(found)


def is_ours(queue: str) -> bool:
    """Whether a name is none of a queue: what workers hold, dead letters, and so on."""
    return queue.partition(":")[0] == keys.NAMESPACE


def count(link: Link, queues: Iterable[str]) -> list[Backlog]:
    """What waits in each queue. 1 command for each of its priority steps."""
    steps = {
        queue: [link.channel.key_for(queue, step) for step in _steps(link)]
        for queue in queues
    }
    flat = [key for found in steps.values() for key in found]
    counts = dict(zip(flat, lengths(link.client, flat), strict=True))
    return [
        Backlog(queue, {key: counts[key] for key in found})
        for queue, found in steps.items()
    ]


def purge(link: Link, backlogs: Iterable[Backlog]) -> None:
    """Throw away what was counted, and note it down there as it goes.

    1 command per 1,000 messages; 2 for each run of a job, 5 if its runs must not
    overlap; 1 for each task where queued tasks are recorded.
    """
    for backlog in backlogs:
        for key, most in backlog.steps.items():
            for raw in throw_away(link.client, key, most):
                backlog.dropped[_end(link, raw)] += 1


def _steps(link: Link) -> list[int]:
    return list(link.channel.priority_steps)


def _end(link: Link, raw: bytes) -> str:
    """Tell whoever may wait for a task that it is over; its name."""
    try:
        payload = read(raw)
    except Unreadable:
        return UNREADABLE
    name, task_id = header(payload, "task"), header(payload, "id")
    if not isinstance(name, str) or not isinstance(task_id, str):
        return UNREADABLE
    run = run_of(payload["headers"])
    if run is not None or link.app.smartworker.track_queued:
        context = Context(
            id=task_id, headers=payload["headers"], properties=payload["properties"]
        )
        error = TaskRevokedError(WHY)
        link.app.backend.store_result(task_id, error, states.REVOKED, request=context)
    if run is not None:
        _end_run(link, run, task_id)
    return name


def _end_run(link: Link, run: dict[str, Any], task_id: str) -> None:
    """The run is in the history, and its job is free for the next one."""
    if run.get("overlap") in ("skip", "queue"):
        JobLeases(link.client, link.prefix).release(run["job"], task_id)
    remember(link.app, run, task_id, states.REVOKED, error=WHY)
