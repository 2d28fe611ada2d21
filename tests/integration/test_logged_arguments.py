"""What `SECURITY.md` says of arguments in logs, by a real worker."""

from collections.abc import Callable
from typing import Any

from tests.processes import WorkerProcess, wait_until

SECRET = "needle-7c1"


def test_arguments_are_logged_of_failures_alone(
    start_worker: Callable[..., WorkerProcess], project: Any
) -> None:
    """And `argsrepr` takes their place there."""
    worker = start_worker("-P", "threads", "-c", "1")
    project.add.delay(SECRET, "x")
    worker.wait_for("task_finished")
    project.nap.apply_async((SECRET,), argsrepr="(hidden)")
    wait_until(lambda: "(hidden)" in worker.text)
    worker.wait_for("task_failed")
    assert SECRET not in worker.text
    project.nap.delay(SECRET)
    wait_until(lambda: SECRET in worker.text)
