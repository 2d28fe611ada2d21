"""Writes the history of runs; what cannot be written waits, and delays nobody."""

import os
import threading
from collections import deque
from typing import Any
from weakref import WeakSet

from smartworker.clock import Clock, system_clock
from smartworker.logs import Redactor, get_logger
from smartworker.store.client import LOST, TIMED_OUT, ResponseError
from smartworker.store.database import DatabaseAway
from smartworker.store.history import HISTORY_ERRORS, History, open_history
from smartworker.store.refusals import DENIED, OTHER, classify
from smartworker.store.runs import RunRecord
from smartworker.worker import journal
from smartworker.worker.link import open_link

log = get_logger(__name__)

#: Records that wait for the server at most; the oldest go first.
WAITING = 20
#: So often a database is asked to take a record, which may block all others.
TRIES = 3
#: An error that took so many seconds is not asked for again...
SLOW = 1.0
#: ...for so many.
SILENCE = 30.0


class Scribe:
    """One for each process. Any thread may use it."""

    def __init__(
        self, history: History, redactor: Redactor, clock: Clock = system_clock
    ) -> None:
        self._history = history
        self._redactor = redactor
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[RunRecord] = deque(maxlen=WAITING)
        self._tries = 0
        self._is_away = False
        self._silent_until = 0.0
        self.pid = os.getpid()
        _scribes.add(self)

    def write(self, record: RunRecord) -> None:
        """Remember a run, now or with the next one. Never raises what a server says."""
        with self._lock:
            if len(self._waiting) == WAITING:
                self._tries = 0
            self._waiting.append(record)
            self._write_waiting()

    def flush(self) -> None:
        """The process ends: what still waits is tried once more."""
        with self._lock:
            self._write_waiting()

    def _write_waiting(self) -> None:
        begun = self._clock.monotonic()
        if begun < self._silent_until:
            return
        while self._waiting:
            try:
                self._add(self._waiting[0])
            except HISTORY_ERRORS as error:
                now = self._clock.monotonic()
                if now - begun > SLOW:
                    self._silent_until = now + SILENCE
                if not self._gives_up(error):
                    return
            else:
                self._is_away = False
            self._waiting.popleft()
            self._tries = 0

    def _add(self, record: RunRecord) -> None:
        """Add it; once more where a connection turned out to be dead long since."""
        try:
            self._history.add(record)
        except LOST as error:
            if isinstance(error, TIMED_OUT):
                raise
            # Written twice if only the reply got lost: readers see it once.
            self._history.add(record)

    def _gives_up(self, error: Exception) -> bool:
        """Whether a record will never be taken; the others wait behind it."""
        self._tries += 1
        never = isinstance(error, ResponseError) and classify(error) in (OTHER, DENIED)
        never |= isinstance(error, DatabaseAway) and self._tries == TRIES
        if not self._is_away:
            self._is_away = True
            log.warning(
                "history_not_written",
                error=self._redactor.clean(str(error))[:200],
                waiting=len(self._waiting) - never,
            )
        return never


_scribes: WeakSet[Scribe] = WeakSet()


def scribe_of(app: Any) -> Scribe:
    """The scribe of this process; a child does not use the sockets of its parent."""
    scribe: Scribe | None = getattr(app, "smartworker_scribe", None)
    if scribe is None or scribe.pid != os.getpid():
        history = open_history(app.smartworker, lambda: open_link(app))
        scribe = Scribe(history, Redactor(journal.secrets(app)))
        app.smartworker_scribe = scribe
    return scribe


def flush() -> None:
    """This process ends: write what still waits."""
    for scribe in [*_scribes]:
        if scribe.pid == os.getpid():
            scribe.flush()
