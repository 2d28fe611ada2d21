"""Commands as the server counts them and as Upstash bills them."""

from collections import Counter
from types import TracebackType
from typing import Self

import redis

from smartworker.store.meter import is_billed
from smartworker.store.server import EmbeddedServer
from smartworker.testing import commandstats


class Server:
    """A Valkey without persistence, and what it was asked since the last look.

    Commands inside scripts and transactions count, each by itself, as on the bill;
    PING, AUTH, HELLO, SELECT, INFO and CONFIG do not (`smartworker.store.meter`).
    """

    def __init__(self) -> None:
        self._server = EmbeddedServer()
        self._before: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._server.start()
        self.client = redis.Redis.from_url(self.url, decode_responses=True)
        self.billed()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()
        self._server.stop()

    @property
    def url(self) -> str:
        """The address for a worker beside it."""
        return self._server.url

    @property
    def port(self) -> int:
        """Its port on the loopback interface."""
        return self._server.port

    def billed(self) -> dict[str, int]:
        """Billed commands since the last call, by name, the most frequent first."""
        now = Counter(commandstats(self.client))
        since, self._before = now - self._before, now
        return {name: n for name, n in since.most_common() if is_billed(name)}
