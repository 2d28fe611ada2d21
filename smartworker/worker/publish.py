"""Publishing a task once for a key, however often the caller has to try."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

from smartworker.broker.envelope import ONCE

#: The namespace of task ids that are derived from keys.
IDS = UUID("6f0f3b0e-3c55-5b27-9d6c-2d1c5a1f9a51")


def task_id_of(task_name: str, key: str) -> str:
    """The id of the one execution that this key stands for."""
    return str(uuid5(IDS, f"{task_name}\0{key}"))


def publish_once(
    task: Any,
    key: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Queue a task unless it was queued with this key within a day; its result.

    `options` are those of `apply_async`. A repeated call, also after an error whose
    outcome is unknown, queues nothing and returns the same result. 3 commands, 2 for
    a repetition. Raises what `apply_async` raises.
    """
    task_id = task_id_of(task.name, key)
    headers = {**(options.pop("headers", None) or {}), ONCE: task_id}
    return task.apply_async(
        args, dict(kwargs or {}), task_id=task_id, headers=headers, **options
    )
