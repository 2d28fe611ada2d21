"""Where the record of a run stands: beside its result, if Redis keeps results."""

from typing import Any

from smartworker.store import keys


def beside_results(app: Any) -> bool:
    """Whether results are kept on the broker's own Redis."""
    return bool(app.conf.result_backend == app.conf.broker_url)


def record_key(app: Any, task_id: str) -> str:
    """The full key of the record of a run, on the broker."""
    if beside_results(app):
        key = app.backend.get_key_for_task(task_id)
        return key.decode() if isinstance(key, bytes) else str(key)
    prefix: str = app.conf.broker_transport_options.get("global_keyprefix", "")
    return prefix + keys.record(task_id)
