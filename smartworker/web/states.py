"""What this process knows of all jobs: who is paused, and the secret of the ids."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from smartworker.errors import BrokerUnreachable
from smartworker.store import jobs, keys
from smartworker.store.jobs import JobState
from smartworker.store.listener import Listener
from smartworker.web.blocking import Blocking
from smartworker.worker.link import LazyLink, Link


class States:
    """Read once and then kept true by news, so that a trigger need not ask.

    1 SUBSCRIBE and 1 HGETALL at first use and after each lost connection; nothing
    while idle.
    """

    def __init__(self, celery_app: Any, blocking: Blocking) -> None:
        self._blocking = blocking
        self._link = LazyLink(celery_app)
        self._loading: asyncio.Task[JobState] | None = None
        # Held for what the loop, the pool and the listener's thread all change.
        self._lock = threading.Lock()
        self._state: JobState | None = None
        self._known: bytes | None = None
        self._news: dict[str, str | None] = {}
        #: Changes with each reading and each lost subscription: what was read under an
        #: older number may have missed news.
        self._epoch = 0
        self._listener = Listener(
            self._client, self._hear, self._forget, name="news", cause="cron"
        )

    async def get(self) -> JobState:
        """What is known now. Raises BrokerUnreachable."""
        if self._state is not None:
            return self._state
        if self._loading is None:
            self._loading = asyncio.create_task(self._blocking.run(self._load))
            self._loading.add_done_callback(self._loaded)
        # All callers wait for the one question; none that hangs up ends it.
        return await asyncio.shield(self._loading)

    async def pause(self, job: str, when: str) -> None:
        """Stop the triggers of a job, here and in all processes; 2 commands."""
        await self._change(jobs.pause, job, when)
        self._hear_of(job, when)

    async def resume(self, job: str, when: str) -> None:
        """Let the triggers of a job through again; 3 commands."""
        await self._change(jobs.resume, job, when)
        self._hear_of(job, None)

    async def ask(self, question: Callable[[], Any]) -> Any:
        """The answer of something that takes its time. Raises BrokerUnreachable."""
        return await self._blocking.run(question)

    def link(self) -> Link:
        """The connection for everything that is no message."""
        return self._link.get()

    def close(self) -> None:
        """Hang up."""
        self._listener.close()
        self._link.close()

    def _loaded(self, loading: asyncio.Task[JobState]) -> None:
        self._loading = None
        if not loading.cancelled():
            loading.exception()  # all callers may have gone

    def _load(self) -> JobState:
        # Subscribed first: what changes while the hash is read is among the news.
        link = self.link()
        with self._lock:
            self._news.clear()
            epoch = self._begin_epoch()
        self._listener.add(link.prefix + keys.JOB_NEWS)
        state = jobs.load(link.client, link.prefix, known=self._known)
        with self._lock:
            self._known = state.secret
            for job, when in self._news.items():
                state = _with(state, job, when)
            if epoch == self._epoch:
                self._state = state
        return state

    def _client(self) -> Any:
        return self.link().client

    async def _change(self, change: Callable[..., None], *args: Any) -> None:
        def send() -> None:
            link = self.link()
            change(link.client, *args, prefix=link.prefix)

        try:
            await self._blocking.run(send)
        except BrokerUnreachable:
            self._forget()  # it may have been written, and only its news are lost
            raise

    def _hear(self, _channel: str, data: bytes) -> None:
        try:
            self._hear_of(*jobs.read_news(data))
        except ValueError:
            self._forget()

    def _hear_of(self, job: str, when: str | None) -> None:
        with self._lock:
            self._news[job] = when
            if self._state is not None:
                self._state = _with(self._state, job, when)

    def _forget(self) -> None:
        with self._lock:
            self._begin_epoch()

    def _begin_epoch(self) -> int:
        self._epoch += 1
        self._state = None
        return self._epoch


def _with(state: JobState, job: str, when: str | None) -> JobState:
    others = {name: at for name, at in state.paused.items() if name != job}
    return replace(state, paused=others if when is None else {**others, job: when})
