"""Calls that may wait for Redis, kept away from the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from smartworker.errors import BrokerUnreachable

# While the server is away every call holds a thread until its deadline: few
# threads and a queue, so that the process does not pile them up.
THREADS = 8
DEADLINE_SECONDS = 3.5


class Blocking:
    """Runs blocking calls in a few threads, each with a deadline."""

    def __init__(
        self, threads: int = THREADS, deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="web-redis")
        self._deadline = deadline_seconds

    async def run(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The value of the call. Raises BrokerUnreachable if it fails or is late."""
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
