"""The lease of a job whose runs must not overlap; its value is the id of the run."""

from typing import Any

from smartworker.store import keys
from smartworker.store.lua import script
from smartworker.store.meter import because, ledger

RELEASE = script("release")


class JobLeases:
    """The operations on the leases of jobs, each named and counted."""

    def __init__(self, client: Any, prefix: str = "") -> None:
        self._client = client
        self._prefix = prefix

    def take(
        self, job: str, owner: str, seconds: int, *, perhaps: bool = False
    ) -> bool:
        """Keep a job for a run; false if another run has it.

        1 command. `perhaps` the run has it already: then 2 commands more, which prolong
        it, or 1 if it is another's.
        """
        key = self._key(job)
        with because("cron"):
            if self._client.set(key, owner, nx=True, ex=seconds):
                return True
            if not perhaps or _text(self._client.get(key)) != owner:
                return False
            self._client.expire(key, seconds)
        return True

    def release(self, job: str, owner: str) -> bool:
        """Free a job, if this run still has it. 3 commands, 2 if it has not."""
        with because("cron"):
            freed = bool(self._client.eval(RELEASE, 1, self._key(job), owner))
            ledger.book(["get", "del"] if freed else ["get"])
        return freed

    def _key(self, job: str) -> str:
        return self._prefix + keys.running(job)


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
