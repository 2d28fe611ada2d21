"""Calls that may wait for Redis, kept away from the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from smartworker.clock import Clock, system_clock
from smartworker.errors import BrokerUnreachable
from smartworker.store.client import RedisError
from smartworker.vitals import Readiness

# While the server is away every call holds a thread until its deadline: few
# threads and a queue, so that the process does not pile them up.
THREADS = 8
DEADLINE_SECONDS = 3.5
#: Seconds for which a failed call makes the process not ready.
FAILURE_COUNTS = 30.0


class Blocking:
    """Runs blocking calls in a few threads, each with a deadline."""

    def __init__(
        self,
        threads: int = THREADS,
        deadline_seconds: float = DEADLINE_SECONDS,
        clock: Clock = system_clock,
    ) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="web-redis")
        self._deadline = deadline_seconds
        self._clock = clock
        #: When the last call failed, and with what; None: it went well.
        self._failed: tuple[float, str] | None = None

    async def run(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The value of the call. Raises BrokerUnreachable if it fails or is late."""
        try:
            value = await self._run(call, *args, **kwargs)
        except BrokerUnreachable as error:
            # Whoever finds a record that breaks us must not make us look away.
            if is_away(error.__cause__):
                what = type(error.__cause__).__name__
                self._failed = self._clock.monotonic(), what
            raise
        self._failed = None
        return value

    @property
    def readiness(self) -> Readiness:
        """Whether Redis served the last call; asks nothing.

        A failure counts for half a minute: only a new call can tell that Redis is
        back, and a process that is not ready gets none from its platform.
        """
        if self._failed is None:
            return Readiness(True, "No call to Redis has failed lately.")
        when, what = self._failed
        ago = self._clock.monotonic() - when
        if ago >= FAILURE_COUNTS:
            return Readiness(True, "Redis has not been asked since a call failed.")
        return Readiness(False, f"A call to Redis failed {ago:.0f} s ago ({what}).")

    async def _run(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        work = partial(call, *args, **kwargs)
        try:
            async with asyncio.timeout(self._deadline):
                return await loop.run_in_executor(self._pool, work)
        except TimeoutError as error:
            raise BrokerUnreachable(
                f"Redis did not answer within {self._deadline:g} seconds."
            ) from error
        except Exception as error:
            raise BrokerUnreachable(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Drop what waits; what runs may end by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def is_away(error: BaseException | None) -> bool:
    """Whether the server is behind an error, be it inside of one of kombu's."""
    while error is not None:
        if isinstance(error, OSError | RedisError):
            return True
        error = error.__cause__
    return False
