"""Commands of pool processes, brought home to the parent's ledger.

A prefork child stores results by itself. After each task it writes its counts into
a pipe as one line; a full pipe loses nothing: they go with the next line.
"""

import json
import os
import sys
from typing import Any

from celery import bootsteps, signals
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.worker.components import Pool

from smartworker.store.meter import Counts, ledger

#: A write of at most so many bytes is never torn apart (POSIX: at least 512).
ATOMIC = 4096


class BeforePool(bootsteps.StartStopStep):
    """A step that starts before the pool, and stops when no process of it is left.

    Celery's order is one of chance where no step requires another, and its pool
    requires none of ours.
    """

    def include(self, parent: Any) -> bool:
        """Take the last place before the pool."""
        included = bool(super().include(parent))
        if included:
            steps = parent.steps
            steps.remove(self)
            places = (n for n, step in enumerate(steps) if isinstance(step, Pool))
            steps.insert(next(places, len(steps)), self)
        return included


class Tally(BeforePool):
    """Opens the pipe before the pool forks, reads it in the worker's loop."""

    #: What children have counted is home before the last row is written.
    requires = (
        "celery.worker.components:Hub",
        "smartworker.worker.presence:Presence",
    )

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._parent = os.getpid()
        self._rest = b""

    def include_if(self, worker: Any) -> bool:
        """Only a prefork pool has processes."""
        return issubclass(worker.pool_cls, PreforkPool)

    def create(self, worker: Any) -> None:
        """Open the pipe."""
        self._reader, self._writer = os.pipe()
        if sys.platform != "win32":  # no pool forks there
            for end in (self._reader, self._writer):
                os.set_blocking(end, False)
        signals.worker_process_init.connect(self._in_child, weak=False)

    def register_with_event_loop(self, worker: Any, hub: Any) -> None:
        """Read whenever a child has written."""
        hub.add_reader(self._reader, self._read)

    def stop(self, worker: Any) -> None:
        """The last lines of the children."""
        signals.worker_process_init.disconnect(self._in_child)
        self._read()

    terminate = stop

    def _in_child(self, **_: Any) -> None:
        if os.getpid() != self._parent:
            signals.task_postrun.connect(self._send, weak=False)
            signals.worker_process_shutdown.connect(self._send, weak=False)

    def _send(self, **_: Any) -> None:
        counts = ledger.drain()
        if not counts:
            return
        try:
            os.write(self._writer, encode(counts))
        except OSError:
            ledger.merge(counts)

    def _read(self) -> None:
        try:
            while chunk := os.read(self._reader, 65_536):
                self._rest += chunk
        except BlockingIOError:
            pass
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            ledger.merge(decode(line))


def encode(counts: Counts) -> bytes:
    """One line for these counts."""
    rows = [[cause, command, count] for (cause, command), count in counts.items()]
    line = json.dumps(rows, separators=(",", ":")).encode() + b"\n"
    if len(line) > ATOMIC:
        raise OSError(f"{len(line)} bytes of counts are too many for one write")
    return line


def decode(line: bytes) -> Counts:
    """The counts in a line."""
    return Counts({(cause, command): n for cause, command, n in json.loads(line)})
