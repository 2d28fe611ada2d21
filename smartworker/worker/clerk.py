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
from smartworker.row_cost import MOST_FRESH, READ_AGE, WRITE_AGE
from smartworker.rows import FOLDED, Row
from smartworker.store import processes
from smartworker.store.account import Account, Runs, Sums
from smartworker.store.client import LOST
from smartworker.store.meter import Ledger, ledger
from smartworker.worker.link import LazyLink, Link, open_link

log = get_logger(__name__)

#: For so many seconds after a question somebody looks at the rows.
LOOK_LEASE = 60.0
#: Its name in a list of threads.
THREAD = "smartworker-clerk"
#: Seconds between two writes for who looks, and between two looks for changes.
LOOK_PAUSE = 5.0
LOOK_TICK = 1.0
#: A connection that is not used for so many seconds is closed.
LINGER = 10.0
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
    for 60 s after `look` at most each 5 s. `edge` also reads all rows: 1 HGETALL. So
    does a worker that has written nothing for a day.
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
        #: By month, which is this one or over.
        self._told: dict[str, int] = {}

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

    @property
    def told(self) -> int:
        """The highest per cent of the budget that was told of this month."""
        return self._told.get(rows.month_of(self._clock.now()), 0)

    def tell(self, level: int) -> None:
        """So many per cent of the budget were told of: others need not."""
        self._told = {rows.month_of(self._clock.now()): level}
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
                        target=self._run, name=THREAD, daemon=True
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
        silent, full = self._is_silent(), self._is_full()
        due = self._must_write or full or self._has_changed(now)
        # An idle worker must not pass for dead; an idle web process costs nothing.
        due = due or (silent and self._facts["kind"] == "worker")
        if self._must_read or (due and silent) or (full and self._is_stale()):
            self._read()
        if due or self._must_write:
            self._write(stopped=False)
        self.sums()  # the month may have ended
        self.on_turn()

    def _is_full(self) -> bool:
        return self._ledger.fresh >= MOST_FRESH

    def _is_stale(self) -> bool:
        """Whether others may have spent much since their rows were read."""
        return self._is_older(self._read_at, READ_AGE)

    def _is_silent(self) -> bool:
        """Whether others may take us for dead, or have done so: read before a write."""
        return self._is_older(self._wrote_when, WRITE_AGE)

    def _is_older(self, moment: datetime | None, age: timedelta) -> bool:
        return moment is not None and self._clock.now() - moment > age

    def _has_changed(self, now: float) -> bool:
        """Whether somebody looks who would see something new."""
        if now >= self._looked_until or now - self._wrote_at < LOOK_PAUSE:
            return False
        return self._written is None or _seen(self.row()) != _seen(self._written)

    def _read(self) -> None:
        now = self._clock.now()
        self._must_read = False
        try:
            self._ask(lambda link: self._take_in(link, now))
        except BaseException:
            self._must_read = True
            raise
        month = rows.month_of(now)
        told = rows.told_of(self._others, month)
        self._told = {month: max(self._told.get(month, 0), told)}

    def _take_in(self, link: Link, now: datetime) -> None:
        raw = processes.read_raw(link.client, link.prefix)
        was_there = raw.pop(self.id, None) is not None
        others = rows.read_rows(raw)
        if self._written is not None and not was_there:
            self._was_taken_out(others)
        # Whoever folds them, now or later: their sums are the same.
        processes.fold_gone(link.client, now, link.prefix, raw)
        self._others, self._read_at = others, now

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
            told=self._told.get(sums.month, 0),
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
                if self._is_silent():
                    self._read()
                self._write(stopped=True)
        except Exception as error:
            if not self._is_away:
                log.warning("row_not_written", error=_brief(error), retry_seconds=None)
        finally:
            self._link.close()


def _seen(row: Row) -> Row:
    """What a change is measured by: not the time, nor what looking itself costs.

    Polls are told from one clock by another: to the second they are the same.
    """
    return replace(
        row,
        written="",
        commands={},
        messages={},
        last_poll=_second(row.last_poll),
        next_poll=_second(row.next_poll),
    )


def _second(moment: str | None) -> str | None:
    return moment and moment[: len("2026-11-14T12:00:00")]


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _nothing() -> None:
    """Nobody wants to know the sums."""
