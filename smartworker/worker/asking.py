"""Questions to the running workers, over Celery's remote control."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.exceptions import OperationalError

from smartworker.store.client import RedisError


def ask(app: Any, question: str, timeout: float, **arguments: Any) -> dict[str, Any]:
    """What each worker answers within `timeout` seconds, by name.

    About 20 commands, and 5 for each further worker. Raises what redis-py raises.
    """
    with plain_errors():
        inspect = app.control.inspect(timeout=timeout)
        return inspect._request(question, **arguments) or {}


def ping(app: Any, worker: str | None, timeout: float) -> str | None:
    """The first worker that answers, or whether this one does; about 20 commands.

    Raises what redis-py raises.
    """
    destination = None if worker is None else [worker]
    with plain_errors():
        answers: list[dict[str, Any]] = app.control.ping(
            destination=destination, timeout=timeout, limit=1
        )
    return next((name for answer in answers or () for name in answer), None)


@contextmanager
def plain_errors() -> Iterator[None]:
    """What redis-py raises, without the error that kombu puts around it."""
    try:
        yield
    except OperationalError as error:
        if isinstance(error.__cause__, RedisError):
            raise error.__cause__ from error
        raise
