"""Bindings on their way to the server: many in one command, none before it matters."""

from collections.abc import Callable
from typing import Any

from smartworker.store.meter import because


class Bindings:
    """Collects the members of exchange tables until somebody could read them."""

    def __init__(self) -> None:
        self._members: dict[str, list[str]] = {}

    def add(self, key: str, member: str) -> None:
        """Remember a member of the set `key`."""
        self._members.setdefault(key, []).append(member)

    def write(self, connect: Callable[[], Any]) -> None:
        """Send what was collected: 1 command per set, none if there is nothing."""
        if not self._members:
            return
        with because("boot"), connect().pipeline(transaction=False) as pipe:
            for key, values in self._members.items():
                pipe.sadd(key, *values)
            pipe.execute()
        self._members.clear()
