"""Leases: until when the messages in an in-flight list belong to their worker.

One sorted set, in-flight list -> end in milliseconds by the server's clock. A list
stands in it from before its first message until its worker is idle again, so the
set is there only while somebody holds something.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from smartworker.store import keys
from smartworker.store.meter import because


class Leases:
    """The operations on the leases, each named and counted."""

    def __init__(self, client: Any, prefix: str = "") -> None:
        self.client = client
        self.key = prefix + keys.LEASES

    def now_ms(self) -> int:
        """The server's clock in milliseconds since 1970. 1 command."""
        with because("lease"):
            seconds, micros = self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def renew(self, ends: Mapping[str, int]) -> None:
        """Let these in-flight lists be held until then. 1 command."""
        with because("lease"):
            self.client.zadd(self.key, dict(ends))

    def drop(self, inflight_keys: Iterable[str]) -> None:
        """Nothing is held there any more. 1 command."""
        with because("lease"):
            self.client.zrem(self.key, *inflight_keys)

    def read(self) -> dict[str, int]:
        """All leases: in-flight list -> end in milliseconds. 1 command."""
        with because("rescue"):
            rows = self.client.zrange(self.key, 0, -1, withscores=True)
        return {name.decode(): int(end) for name, end in rows}
