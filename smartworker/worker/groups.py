"""Groups go out together: one LPUSH per queue key, not one for each task."""

from functools import wraps
from typing import Any

from celery.app.amqp import _callback_publish_max_retries, _callback_publish_retry
from celery.canvas import group

from smartworker.broker.together import Pushes, collecting, together

_one_by_one = group._apply_tasks


def connect() -> None:
    """Teach groups, and with them chord headers and chunks; safe to repeat."""
    group._apply_tasks = _apply_tasks


@wraps(_one_by_one)
def _apply_tasks(
    self: Any,
    tasks: Any,
    producer: Any = None,
    app: Any = None,
    *more: Any,
    connection: Any = None,
    **options: Any,
) -> list[Any]:
    """The results of a group's tasks, once all of them are sent.

    An error while they are made sends none of those that were collected. A lost
    connection is tried again as that of a single task is; a push whose answer got lost
    goes out again, so its tasks may be there twice.
    """
    app = app or self.app
    if connection is not None:
        producer = app.amqp.Producer(connection, auto_declare=False)
    with app.producer_or_acquire(producer) as sender:
        apply = (self, tasks, sender, app, *more)
        ours = getattr(app, "smartworker", None) is not None
        if not ours or collecting(sender.connection) is not None:
            return list(_one_by_one(*apply, **options))
        with together(sender.connection) as pushes:
            results = list(_one_by_one(*apply, **options))
        if pushes:
            _send(pushes, sender, _retry_policy(app, **options))
        return results


def _retry_policy(
    app: Any, retry: bool | None = None, retry_policy: Any = None, **_: Any
) -> dict[str, Any]:
    """How often a lost connection is tried again, as Celery has it for one task.

    What a worker sends after a task it does not try without end: the task holds its
    process until then.
    """
    if not (app.conf.task_publish_retry if retry is None else retry):
        return {"max_retries": 0}
    usual = app.conf.task_publish_retry_policy
    policy = {**usual, **(retry_policy or {})}
    if _callback_publish_retry.get():
        policy["max_retries"] = _callback_publish_max_retries(policy, usual)
    return policy


def _send(pushes: Pushes, sender: Any, policy: dict[str, Any]) -> None:
    def send() -> None:
        pushes.send(sender.channel)

    sender.connection.ensure(sender, send, **policy)()
