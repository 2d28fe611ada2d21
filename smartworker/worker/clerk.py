"""The clerk: keeps the row of this process, in a thread of its own.

A silent server holds up the thread, never the loop; what cannot be written is written
later, and said once.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from smartworker import rows
from smartworker.backoff import pauses
from smartworker.clock import Clock, system_clock
from smartworker.logs import get_logger
from smartworker.rows import FOLDED, Row
from smartworker.store import processes
from smartworker.store.account import Account, Runs, Sums
from smartworker.store.client import LOST
from smartworker.store.meter import Ledger, ledger
from smartworker.worker.link import LazyLink, Link, open_link

log = get_logger(__name__)

#: Billed commands that may be unrecorded. Below 100 by what is sent while they are
#: written, so that a process that is killed takes fewer than 100 with it.
MOST_FRESH = 90
#: For so many seconds after a question somebody looks at the rows.
LOOK_LEASE = 60.0
#: Seconds between two writes for who looks, and between two looks for changes.
LOOK_PAUSE = 5.0
LOOK_TICK = 1.0
#: A connection that is not used for so many seconds is closed.
LINGER = 10.0
#: Rows that were read so long ago are read again with the next write.
READ_AGE = timedelta(hours=12)
#: Seconds that the last row may take when the process ends.
LAST_WITHIN = 1.0
#: Seconds between two tries while the server is away.
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 600.0
#: Seconds between two looks at the calendar.
WATCH = 60.0

#: What a row says beside the sums.
Describe = Callable[[], dict[str, Any]]


class Clerk:
    """Writes the row when it is worth it; one for each process.

    1 HSET when 90 billed commands are unrecorded, when `edge` or `close` says so, and
    for 60 s after `look` at most each 5 s. `edge` also reads all rows: 1 HGETALL.
    """

    def __init__(
        self,
        app: Any,
        kind: str,
        name: str,
        describe: Describe = dict,
        runs: Callable[[], Runs] | None = None,
        *,
        clock: Clock = system_clock,
        open_: Callable[[Any], Link] = open_link,
        book: Ledger = ledger,
    ) -> None:
        self._describe = describe
        self._clock = clock
        self._ledger = book
        self._link = LazyLink(app, open_)
        self._facts: dict[str, Any] = {"kind": kind, "name": name}
        self._runs: Callable[[], Runs] = runs or Runs
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._pid: int | None = None
        self._account = Account(book, clock.now(), self._runs)
        self._others: list[Row] = []
        self._read_at: datetime | None = None
        self._must_read = self._must_write = False
        self._written: Row | None = None
        self._wrote_at = 0.0
        self._wrote_when: datetime | None = None
        self._looked_until = 0.0
        self._is_away = False
        self._rest_until = 0.0
        self._pauses = pauses(FIRST_PAUSE, LONGEST_PAUSE)
        #: Called in the thread of the clerk after each look.
        self.on_turn: Callable[[], object] = _nothing
        #: The highest per cent of the budget that was told of this month.
        self.told = 0

    def attend(self) -> None:
        """Begin to count, in the process that this is now; costs nothing."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._account = Account(self._ledger, self._clock.now(), self._runs)
        self._ledger.watch(MOST_FRESH, self.wake)

    # -- asked from anywhere, at no cost -----------------------------------------------

    @property
    def id(self) -> str:
        """The field of this row."""
        return self._account.id

    def sums(self) -> Sums:
        """What this process has spent this month."""
        with self._lock:
            return self._account.sums(self._clock.now())

    def others(self) -> list[Row]:
        """The rows of all others, as they were when they were last read."""
        return self._others

    def month_total(self) -> int:
        """What all processes have spent this month, as far as it is known here."""
        mine = self.sums()
        return mine.billed + sum(rows.spent(self._others, mine.month).values())

    def tell(self, level: int) -> None:
        """So many per cent of the budget were told of: others need not."""
        self.told = level
        self._must_write = True
        self.wake()

    def edge(self) -> None:
        """Read all rows and write the own one, soon."""
        self._must_read = self._must_write = True
        self.wake()

    def look(self) -> None:
        """Somebody looks: the row is kept fresh for a minute."""
        self._looked_until = self._clock.monotonic() + LOOK_LEASE
        self._must_write = True
        self.wake()

    def wake(self) -> None:
        """Have the thread see what there is to do."""
        if self._thread is None and not self._closing:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._run, name="smartworker-clerk", daemon=True
                    )
                    self._thread.start()
        self._awake.set()

    def close(self) -> None:
        """The process ends: write the last row, unless it takes too long."""
        if self._closing or self._pid != os.getpid():
            return
        self._ledger.unwatch(self.wake)
        thread, self._closing = self._thread, True
        if thread is None:
            thread = threading.Thread(target=self._finish, daemon=True)
            thread.start()
        self._awake.set()
        thread.join(LAST_WITHIN)

    # -- the thread --------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            self._wait(self.turn())
        self._finish()

    def _wait(self, seconds: float) -> None:
        first = min(seconds, LINGER)
        if not self._clock.wait(self._awake, first) and seconds > first:
            self._link.close()
            self._clock.wait(self._awake, seconds - first)
        self._awake.clear()

    def turn(self) -> float:
        """Do what is due; the seconds until the next look. Raises nothing."""
        now = self._clock.monotonic()
        if now < self._rest_until:
            return self._rest_until - now
        try:
            self._do(now)
        except Exception as error:
            # Whatever it is: a worker does without its row.
            return self._rest(error)
        self._rest_until = 0.0
        if self._is_away:
            self._is_away = False
            self._pauses = pauses(FIRST_PAUSE, LONGEST_PAUSE)
        return LOOK_TICK if now < self._looked_until else WATCH

    def _do(self, now: float) -> None:
        if self._must_read or (self._is_stale() and self._is_full()):
            self._read()
        if self._must_write or self._is_full() or self._has_changed(now):
            self._write(stopped=False)
        self.sums()  # the month may have ended
        self.on_turn()

    def _is_full(self) -> bool:
        return self._ledger.fresh >= MOST_FRESH

    def _is_stale(self) -> bool:
        """Whether others may have written since, or have taken us for dead."""
        oldest = self._clock.now() - READ_AGE
        moments = (self._read_at, self._wrote_when)
        return any(moment is not None and moment < oldest for moment in moments)

    def _has_changed(self, now: float) -> bool:
        """Whether somebody looks who would see something new."""
        if now >= self._looked_until or now - self._wrote_at < LOOK_PAUSE:
            return False
        return self._written is None or _seen(self.row()) != _seen(self._written)

    def _read(self) -> None:
        now = self._clock.now()

        def ask(link: Link) -> None:
            raw = processes.read_raw(link.client, link.prefix)
            found = rows.read_rows(raw)
            self._must_read = False
            if self._written is not None and self.id not in raw:
                self._was_taken_out(found)
            if processes.fold_gone(link.client, now, link.prefix, raw):
                found = processes.read(link.client, link.prefix)
            self._others = [row for row in found if row.id != self.id]
            self._read_at = now

        self._ask(ask)
        told = rows.told_of(self._others, rows.month_of(now))
        self.told = max(self.told, told)

    def _was_taken_out(self, found: list[Row]) -> None:
        """Our row is gone: we were taken for dead, or the hash was lost."""
        if any(row.id == FOLDED + self._facts["kind"] for row in found):
            with self._lock:
                self._account.begin_anew()
        self._must_write = True

    def _write(self, *, stopped: bool) -> None:
        fresh = self._ledger.fresh
        row = self.row(stopped=stopped)
        cause = processes.CAUSE
        if self._clock.monotonic() < self._looked_until and fresh < MOST_FRESH:
            cause = processes.LOOK_CAUSE
        self._must_write = False
        try:
            self._ask(lambda x: processes.write(x.client, row, x.prefix, cause))
        except BaseException:
            self._must_write = True
            raise
        self._ledger.settle(fresh)
        self._account.recorded()
        self._written, self._wrote_at = row, self._clock.monotonic()
        self._wrote_when = self._clock.now()

    def row(self, *, stopped: bool = False) -> Row:
        """The row as it would be written now; costs nothing."""
        now = self._clock.now()
        sums = self.sums()
        row = Row(
            id=self.id,
            started=_stamp(self._account.started),
            written=_stamp(now),
            stopped=stopped,
            month=sums.month,
            commands=sums.commands,
            messages=sums.messages,
            runs=sums.runs,
            before=sums.before,
            told=self.told,
            **self._facts,
        )
        return replace(row, **({} if stopped else self._describe()))

    def _ask(self, question: Callable[[Link], None]) -> None:
        """Ask; once more where a connection turned out to be dead long since."""
        try:
            question(self._link.get())
        except LOST:
            self._link.close()
            if self._closing or self._is_away:
                raise
            # A row that is written twice is the same row.
            question(self._link.get())

    def _rest(self, error: Exception) -> float:
        self._link.close()
        pause = round(next(self._pauses), 1)
        self._rest_until = self._clock.monotonic() + pause
        if not self._is_away:
            self._is_away = True
            log.warning("row_not_written", error=_brief(error), retry_seconds=pause)
        return pause

    def _finish(self) -> None:
        """The last row; nothing was spent, nothing is written."""
        try:
            if self._ledger.fresh or self._written is not None:
                self._write(stopped=True)
        except Exception as error:
            if not self._is_away:
                log.warning("row_not_written", error=_brief(error), retry_seconds=None)
        finally:
            self._link.close()


def _seen(row: Row) -> Row:
    """What a change is measured by: not the time, nor what looking itself costs."""
    return replace(row, written="", commands={}, messages={})


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _nothing() -> None:
    """Nobody wants to know the sums."""
