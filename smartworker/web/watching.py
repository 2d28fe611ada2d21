"""Waiting for tasks: one watch for each, however many clients wait for it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress

from smartworker.clock import Clock
from smartworker.errors import BrokerUnreachable
from smartworker.web.blocking import Blocking
from smartworker.web.hearing import Hearing
from smartworker.web.problems import Problem, unavailable
from smartworker.web.statuses import Remembered, Status, describe, is_final
from smartworker.worker.lookup import Lookup

#: Tasks that are watched at a time.
MOST_WATCHES = 500
#: Seconds in which a watch must have subscribed and read: less than 5 for the client.
PATIENCE = 4.5
#: Seconds for which a watch outlives its last client: a long poll is soon followed by
#: the next one, which then costs nothing.
LINGER = 5.0
#: Pauses between two looks where nobody tells of changes, in seconds.
PAUSES = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0)

Seen = Callable[[Status], None]

_AWAY = "The state cannot be read now; try again."
_UNKNOWN = "No task with this id was queued, or what is known of it has expired."


class Watching:
    """The states of tasks: read once, or told as they change.

    However many clients wait for a task: one subscription and a read for each of its
    states, of which it has two if it is short. Used from one event loop.
    """

    def __init__(
        self,
        lookup: Lookup,
        blocking: Blocking,
        clock: Clock,
        *,
        most: int = MOST_WATCHES,
        linger: float = LINGER,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self._lookup = lookup
        self._blocking = blocking
        self._most = most
        self._linger = linger
        self._pauses = pauses
        self._remembered = Remembered(clock)
        self._watches: dict[str, _Watch] = {}
        self._hearing = Hearing(lookup, blocking, self._on_notice)

    async def read(self, task_id: str) -> Status:
        """The state of a task; 1 command, none if its last state is remembered.

        Raises Problem: 404 for an id that nobody has queued, 503 if Redis is away.
        """
        known = self._remembered.get(task_id)
        if known is not None:
            return known
        try:
            meta = await self._blocking.run(self._lookup.find, task_id)
        except BrokerUnreachable as error:
            raise unavailable(_AWAY) from error
        if meta is None:
            raise Problem(404, _UNKNOWN)
        status = describe(task_id, meta)
        self._remembered.keep(status)
        return status

    async def wait_for(
        self, task_id: str, seconds: float, seen: "Seen | None" = None
    ) -> Status:
        """The state of a task once it has changed, or when the time is over.

        A state that is the last is told at once. `seen` gets the present one before
        anybody waits. Raises what `read` raises.
        """
        if seconds <= 0:
            found = await self.read(task_id)
            if seen is not None:
                seen(found)
            return found
        end = asyncio.get_running_loop().time() + seconds
        async with aclosing(self.follow(task_id)) as states:
            status = await anext(states)
            assert status is not None  # noqa: S101 - no beat was asked for
            if seen is not None:
                seen(status)
            if not is_final(status):
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(end):
                        status = await anext(states) or status
        return status

    async def follow(
        self, task_id: str, beat: float | None = None
    ) -> AsyncGenerator[Status | None]:
        """Each state of a task, from the present one to its last.

        None whenever `beat` seconds have passed in silence. Raises what `read` raises.
        """
        known = self._remembered.get(task_id)
        if known is not None:
            yield known
            return
        with self._watching(task_id) as watch:
            last: Status | None = None
            while last is None or not is_final(last):
                news = watch.news
                if watch.problem is not None:
                    raise watch.problem
                if watch.status is not None and watch.status != last:
                    last = watch.status
                    yield last
                    continue
                try:
                    async with asyncio.timeout(beat):
                        await news.wait()
                except TimeoutError:
                    yield None

    def close(self) -> None:
        """Watch nothing any more, and hang up."""
        for watch in list(self._watches.values()):
            self._drop(watch)
        self._hearing.hang_up()
        self._lookup.close()

    @contextmanager
    def _watching(self, task_id: str) -> "Iterator[_Watch]":
        watch = self._watches.get(task_id) or self._begin(task_id)
        watch.join()
        try:
            yield watch
        finally:
            watch.leave(self._linger, lambda: self._drop(watch))

    def _begin(self, task_id: str) -> "_Watch":
        if len(self._watches) >= self._most:
            for watch in [each for each in self._watches.values() if not each.users]:
                self._drop(watch)
        if len(self._watches) >= self._most:
            raise unavailable(
                "Too many clients wait for tasks; ask without waiting, or try again."
            )
        watch = self._watches[task_id] = _Watch(task_id)
        watch.work = asyncio.create_task(self._watch(watch))
        return watch

    async def _watch(self, watch: "_Watch") -> None:
        """Read whenever there is news, for as long as somebody wants to know."""
        pauses = self._growing()
        try:
            while watch.status is None or not is_final(watch.status):
                await watch.due(None if self._hearing.hears else next(pauses))
                watch.stale.clear()
                async with asyncio.timeout(PATIENCE):
                    # Confirmed before the read: a change in between is heard.
                    await self._hearing.add(watch.task_id)
                    status = await self.read(watch.task_id)
                if status != watch.status:
                    pauses = self._growing()
                watch.tell(status)
        except Problem as problem:
            watch.fail(problem)
        except (BrokerUnreachable, TimeoutError):
            watch.fail(unavailable(_AWAY))
        finally:
            if watch.status is None or not is_final(watch.status):
                watch.fail(watch.problem or unavailable(_AWAY))
            self._drop(watch)

    def _growing(self) -> Iterator[float]:
        yield from self._pauses
        while True:
            yield self._pauses[-1]

    def _on_notice(self, task_id: str | None) -> None:
        """A task has another state; None: that may be true of all of them."""
        for watch in self._watches.values():
            if task_id in (None, watch.task_id):
                watch.stale.set()

    def _drop(self, watch: "_Watch") -> None:
        if self._watches.get(watch.task_id) is watch:
            del self._watches[watch.task_id]
            watch.stop()
            self._hearing.forget(watch.task_id)


class _Watch:
    """One task that somebody wants to know about."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.users = 0
        self.work: asyncio.Task[None] | None = None
        #: The newest state that was read.
        self.status: Status | None = None
        self.problem: Problem | None = None
        #: Set when there is something newer to see here.
        self.news = asyncio.Event()
        #: Set when there is something newer to read in Redis.
        self.stale = asyncio.Event()
        self._wanted = asyncio.Event()
        self._end: asyncio.TimerHandle | None = None
        self.stale.set()

    def join(self) -> None:
        """One client more."""
        self.users += 1
        self._wanted.set()
        if self._end is not None:
            self._end.cancel()
            self._end = None
        if self.stale.is_set():
            # It had no clients for a while, and something has happened since.
            self.status = None

    def leave(self, linger: float, drop: Callable[[], None]) -> None:
        """One client less; without any, the watch is dropped in a while."""
        self.users -= 1
        if not self.users:
            self._wanted.clear()
            loop = asyncio.get_running_loop()
            self._end = loop.call_later(linger, drop)

    async def due(self, pause: float | None) -> None:
        """Until there may be something to read and somebody who wants to know."""
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self.stale.wait()
        self.stale.set()
        await self._wanted.wait()

    def tell(self, status: Status) -> None:
        """What was read."""
        self.status = status
        self._ring()

    def fail(self, problem: Problem) -> None:
        """Nothing can be read."""
        self.problem = problem
        self._ring()

    def stop(self) -> None:
        """Nobody wants to know any more."""
        if self._end is not None:
            self._end.cancel()
        if self.work is not None and self.work is not asyncio.current_task():
            self.work.cancel()

    def _ring(self) -> None:
        rung, self.news = self.news, asyncio.Event()
        rung.set()
