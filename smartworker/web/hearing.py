"""The one subscription of a web process that tells when tasks change."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from smartworker.store.listener import Listener
from smartworker.web.blocking import Blocking
from smartworker.worker.lookup import Lookup

#: The notice of a state that was stored; its lifetime rings too.
STORED = b"set"
#: Cancelling a subscription is a command, hanging up is none: channels that nobody
#: needs any more are kept until there are so many, or until nobody needs any.
MOST_CHANNELS = 5000


class Hearing:
    """Hears of the tasks that somebody watches. Used from one event loop."""

    def __init__(
        self,
        lookup: Lookup,
        blocking: Blocking,
        on_notice: Callable[[str | None], None],
    ) -> None:
        """`on_notice` gets the id of a task, or None when anything may have changed."""
        self._lookup = lookup
        self._blocking = blocking
        self._on_notice = on_notice
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flight: asyncio.Task[None] | None = None
        self._wanted: set[str] = set()
        self._heard: set[str] = set()
        self._channels: dict[str, str] = {}
        #: Whether the server tells of changes; not known before it was asked.
        self.hears = True
        self._asked = False
        #: Counts lost connections: what was confirmed on one of them is void.
        self._losses = 0
        self._listener = Listener(
            lookup.client, self._message, self._lost, name="tasks", cause="wait"
        )

    async def add(self, task_id: str) -> None:
        """Hear of this task, too; confirmed when it returns.

        1 command, shared by those that ask at the same time; none where the server
        does not tell. Raises BrokerUnreachable.
        """
        self._loop = asyncio.get_running_loop()
        self._wanted.add(task_id)
        while task_id not in self._heard:
            flight = self._flight
            if flight is None:
                flight = self._flight = asyncio.create_task(self._subscribe())
                flight.add_done_callback(self._landed)
            # One client that goes away must not take it from the others.
            await asyncio.shield(flight)

    def forget(self, task_id: str) -> None:
        """Nobody watches this task any more; hang up if it was the last."""
        self._wanted.discard(task_id)
        if not self._wanted and self._flight is None:
            self.hang_up()

    def hang_up(self) -> None:
        """Hear nothing any more. No command."""
        self._listener.close()
        self._heard.clear()
        self._channels = {}
        self._asked = False

    async def _subscribe(self) -> None:
        if len(self._channels) > MOST_CHANNELS:
            self.hang_up()
            self._on_notice(None)
        wanted, losses = self._wanted - self._heard, self._losses
        self.hears = await self._blocking.run(self._listen, wanted, self._asked)
        if losses == self._losses:
            self._asked = True
            self._heard |= wanted

    def _listen(self, task_ids: set[str], asked: bool) -> bool:
        # A server that was started anew has forgotten that it should tell.
        rings = self.hears if asked else self._lookup.rings()
        if rings:
            channels = {self._lookup.channel(task_id): task_id for task_id in task_ids}
            self._channels |= channels
            self._listener.add(*channels)
        return rings

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flight = None
        if not flight.cancelled():
            flight.exception()  # all clients may have gone
        if not self._wanted:
            self.hang_up()

    def _message(self, channel: str, data: bytes) -> None:
        task_id = self._channels.get(channel)
        if data == STORED and task_id is not None:
            self._call(partial(self._on_notice, task_id))

    def _lost(self) -> None:
        self._call(self._begin_again)

    def _begin_again(self) -> None:
        self._losses += 1
        self._heard.clear()
        self._asked = False
        self._on_notice(None)

    def _call(self, call: Callable[[], None]) -> None:
        """From the listener's thread into the loop, which may be gone."""
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(call)
