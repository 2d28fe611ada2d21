"""Luggage: the result of a task goes to the worker's main process with its outcome.

A pool process would wait a whole round trip for each result. Its parent hears of the
outcome anyway, and sends results and acknowledgements of many tasks in one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any

from billiard.common import terminate_handler_fired
from billiard.process import current_process
from celery import current_app, signals, states
from celery.app.trace import trace_ok_t
from celery.exceptions import Reject

from smartworker.store.queues import Result

#: A property in the request that a pool process gets: the result may come home.
MAY_PACK = "smartworker_luggage"
#: Length of the largest result that comes home: half of what a pipe holds on Linux, so
#: that no pool process waits for its parent to read.
LARGEST = 32_768


@dataclass(frozen=True)
class Packed:
    """What a task returned: as text, for events, and as it is to be stored."""

    text: str
    result: Result


class Luggage:
    """The result of one run, from its end until the outcome leaves for the parent."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self._store: Callable[[], object] = bool
        self.result: Result | None = None
        #: The task has ended well: what is stored now is its result.
        self.is_open = False

    def pack(
        self, task_id: str, state: str, result: Result, store: Callable[[], object]
    ) -> bool:
        """Take a result along; false if it must be stored at once.

        `store` does that; it is called if the run does not end well after all.
        """
        if task_id != self.task_id:
            return False
        # What was taken before is out of date in any case.
        self.result, self._store = None, store
        if self.is_open and state == states.SUCCESS and len(result.value) <= LARGEST:
            self.result = result
        return self.result is not None

    def unpack(self) -> None:
        """Store here what was taken; raises Reject, with which the message goes back,
        if that fails.
        """
        if self.result is None:
            return
        self.result = None
        try:
            self._store()
        except Reject:
            raise
        except Exception as error:
            reason = f"the result is not stored: {error}"
            raise Reject(reason, requeue=True) from error


#: That of the run that goes on here, if its result may go home.
luggage: ContextVar[Luggage | None] = ContextVar("luggage", default=None)


@contextmanager
def opened(task_id: str) -> Iterator[None]:
    """What is stored in here is the result of a task that has ended well.

    It may be a task that the run has called in its own process: not its luggage then.
    """
    mine = luggage.get()
    if mine is None or mine.task_id != task_id:
        yield
        return
    mine.is_open = True
    try:
        yield
    finally:
        mine.is_open = False


def connect() -> None:
    """Have pool processes send results home, whatever app they belong to."""
    name = "luggage.in_child"
    signals.worker_process_init.connect(_in_child, weak=False, dispatch_uid=name)


def _in_child(**_: Any) -> None:
    # A solo pool sends this signal, too, in the main process.
    if current_process().name == "MainProcess":
        return
    for task in current_app.tasks.values():
        if task.__trace__ is not None:
            task.__trace__ = carrying(task.__trace__)


def carrying(trace: Callable[..., Any]) -> Callable[..., Any]:
    """Celery's function that runs a task; its outcome has the result with it."""

    @wraps(trace)
    def run(uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        if not (request and (request.get("properties") or {}).get(MAY_PACK)):
            return trace(uuid, args, kwargs, request)
        mine = Luggage(uuid)
        token = luggage.set(mine)
        try:
            outcome = trace(uuid, args, kwargs, request)
        except BaseException:
            luggage.reset(token)
            # Told to end, it leaves the task to be run again.
            if not terminate_handler_fired():
                mine.unpack()
            raise
        luggage.reset(token)
        if mine.result is not None and outcome.info is None:
            *ended, text = outcome
            return trace_ok_t(*ended, Packed(text, mine.result))
        mine.unpack()
        return outcome

    return run
