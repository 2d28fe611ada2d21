"""One reading for all viewers: seldom, only while somebody looks, and bounded."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from smartworker.clock import Clock
from smartworker.cron.registry import Jobs
from smartworker.errors import BrokerUnreachable
from smartworker.logs import get_logger
from smartworker.settings import Settings
from smartworker.web.blocking import Blocking, is_away
from smartworker.web.dashboard.facts import (
    Details,
    Facts,
    Reading,
    read_details,
    read_processes,
    work,
)
from smartworker.web.problems import unavailable
from smartworker.worker.link import Link

logger = get_logger(__name__)

#: Streams that are served at a time, of strangers and of others.
MOST_VIEWERS = 300
#: Seconds for which the workers go on writing their rows after they were asked to.
LOOK_SECONDS = 30.0
#: Seconds from asking the workers to reading what they wrote.
ANSWER_SECONDS = 0.3
#: Seconds after which a worker that has not answered is said to be silent.
PATIENCE_SECONDS = 10.0
#: Seconds after which the details are read again although nothing seems to happen.
DETAILS_SECONDS = 60.0
#: (seconds without news, seconds between two readings): a page that stays open
#: somewhere would cost 17,000 commands a day at 5 s.
PACES = ((120.0, 5.0), (600.0, 15.0), (3600.0, 60.0), (float("inf"), 300.0))
#: Readings for strangers: at once, and seconds until there is one more. Anybody can
#: open a page without sign-in, and must not be able to use up a month's budget.
STRANGERS = 120
STRANGERS_SECONDS = 900.0
#: With more jobs than that, longer.
USUAL_JOBS = 10


@dataclass
class Allowance:
    """Readings that strangers may cause; they come back one by one."""

    left: float
    at: float
    #: Seconds until there is one more.
    seconds: float = STRANGERS_SECONDS

    def take(self, now: float) -> bool:
        """Whether there was one."""
        back = (now - self.at) / self.seconds
        self.left, self.at = min(float(STRANGERS), self.left + back), now
        if self.left < 1:
            return False
        self.left -= 1
        return True


def pace(paces: tuple[tuple[float, float], ...], still: float) -> float:
    """Seconds between two readings, if nothing has happened for `still` seconds."""
    return next(pause for until, pause in paces if still < until)


class Snapshot:
    """What is known, read at most once in 5 s and never without a viewer.

    Each reading: 1 command, 1 more in 30 s that asks the workers to write their rows,
    and the details when something happened or a minute is over. Used from one event
    loop.
    """

    def __init__(
        self,
        link: Callable[[], Link],
        look: Callable[[], None],
        jobs: Jobs,
        settings: Settings,
        clock: Clock,
        *,
        paces: tuple[tuple[float, float], ...] = PACES,
    ) -> None:
        self.link = link
        self._look = look
        self._jobs = jobs
        self._settings = settings
        self.clock = clock
        self.paces = paces
        # Its own threads: a server that hangs must not keep triggers waiting.
        self._blocking = Blocking(threads=2)
        self._facts = Facts()
        self._news = asyncio.Event()
        self._joined = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        #: Those who look now: of strangers, and of people who have signed in.
        self._viewers = {False: 0, True: 0}
        self._read_at = self._looked_at = self._detailed_at = float("-inf")
        self._stirred_at = float("-inf")
        self._asking: datetime | None = None
        self._asked: datetime | None = None
        # A reading costs more the more jobs there are, and must not add up to more.
        seconds = STRANGERS_SECONDS * max(1.0, len(jobs) / USUAL_JOBS)
        self._allowance = Allowance(STRANGERS, clock.monotonic(), seconds)

    @property
    def facts(self) -> Facts:
        """What is known now."""
        return self._facts

    @property
    def viewers(self) -> int:
        """How many watch."""
        return sum(self._viewers.values())

    @property
    def resting(self) -> bool:
        """Whether strangers have caused all the readings that they may."""
        return self._allowance.left < 1

    async def current(self, *, trusted: bool) -> Facts:
        """What is known, read again if that is 5 s old and allowed."""
        now = self.clock.monotonic()
        fresh = now - self._read_at < self.paces[0][1]
        if not fresh and self._may_read(now, trusted):
            await self._read()
        elif self._reading is not None:
            await asyncio.shield(self._reading)
        return self._facts

    async def follow(
        self, *, trusted: bool, beat: float
    ) -> AsyncGenerator[Facts | None]:
        """What is known whenever it was read; None after `beat` seconds in silence.

        Raises Problem 503 where too many look.
        """
        if self._viewers[trusted] >= MOST_VIEWERS:
            raise unavailable("Too many people watch the dashboard; load it again.")
        self._viewers[trusted] += 1
        if trusted or not self._viewers[True]:
            # Else strangers who come and go would keep the page of others fast.
            self._stirred_at = self.clock.monotonic()
        self._joined.set()
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._keep_reading())
        try:
            yield await self.current(trusted=trusted)
            while True:
                news = self._news
                try:
                    async with asyncio.timeout(beat):
                        await news.wait()
                    yield self._facts
                except TimeoutError:
                    yield None
        finally:
            self._viewers[trusted] -= 1
            if not any(self._viewers.values()) and self._watch is not None:
                self._watch.cancel()
                self._watch = None

    async def changed(self) -> None:
        """Somebody has done something: everything is read anew."""
        if self._reading is not None:
            # It may have begun before that, and does not count.
            await asyncio.shield(self._reading)
        self._detailed_at = float("-inf")
        self._stirred_at = self.clock.monotonic()
        await self._read()

    def close(self) -> None:
        """Read nothing any more."""
        for task in (self._watch, self._reading):
            if task is not None:
                task.cancel()
        self._blocking.close()

    async def _keep_reading(self) -> None:
        while True:
            now = self.clock.monotonic()
            due = self._read_at + pace(self.paces, now - self._stirred_at)
            if due > now:
                await self._nap(due - now)
            elif self._may_read(now, trusted=bool(self._viewers[True])):
                await self._read()
            else:
                await self._nap(self._allowance.seconds / 10)

    async def _nap(self, seconds: float) -> None:
        """Sleep, unless somebody comes."""
        self._joined.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._joined.wait()

    def _may_read(self, now: float, trusted: bool) -> bool:
        return trusted or self._allowance.take(now)

    async def _read(self) -> None:
        """Read, once for all who wait for it; whoever leaves does not end it."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_all())
            self._reading.add_done_callback(self._done)
        await asyncio.shield(self._reading)

    def _done(self, _task: asyncio.Task[None]) -> None:
        self._reading = None

    async def _read_all(self) -> None:
        now = self._read_at = self.clock.monotonic()
        try:
            await self._ask_for_rows(now)
            rows = await self._blocking.run(lambda: read_processes(self.link()))
            details = self._facts.details
            stirred = work(rows) != work(self._facts.rows)
            if stirred:
                self._stirred_at = now
            if details is None or stirred or now - self._detailed_at >= DETAILS_SECONDS:
                details = await self._blocking.run(self._ask, rows)
                self._detailed_at = now
            self._facts = Facts(
                at=self.clock.now(), rows=rows, details=details, asked=self._asked
            )
        except BrokerUnreachable as error:
            if self._facts.error is None:
                # What is no fault of the server is one of ours: say where.
                cause = None if is_away(error.__cause__) else error.__cause__
                logger.warning(
                    "dashboard_unread", error=str(error)[:200], exc_info=cause
                )
            self._facts = replace(self._facts, error=str(error)[:200])
        rung, self._news = self._news, asyncio.Event()
        rung.set()

    async def _ask_for_rows(self, now: float) -> None:
        if self._asking is not None and now - self._looked_at >= PATIENCE_SECONDS:
            self._asked, self._asking = self._asking, None
        if now - self._looked_at >= LOOK_SECONDS:
            wall = self.clock.now()
            await self._blocking.run(self._look)
            self._looked_at, self._asking = now, wall
            await asyncio.sleep(ANSWER_SECONDS)

    def _ask(self, rows: Reading) -> Details:
        now: datetime = self.clock.now()
        return read_details(self.link(), self._jobs, self._settings, now, rows)
