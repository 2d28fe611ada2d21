"""The lease of a job whose runs must not overlap; its value is the id of the run."""

from typing import Any

from smartworker.store import keys
from smartworker.store.client import ResponseError
from smartworker.store.lua import script
from smartworker.store.meter import because, ledger

RELEASE = script("release")


class JobLeases:
    """The operations on the leases of jobs, each named and counted."""

    def __init__(self, client: Any, prefix: str = "") -> None:
        self._client = client
        self._prefix = prefix

    def take(self, job: str, owner: str, seconds: int) -> str:
        """Keep a job for a run; the id of the run that has it then, "" if unknown.

        1 command; 1 more if this run had it already, which prolongs it; and 1 or 2 more
        before Redis 7.
        """
        key = self._key(job)
        with because("cron"):
            holder = self._set(key, owner, seconds)
            if holder is None:
                return owner
            if holder == owner and not self._client.expire(key, seconds):
                return ""
        return holder

    def _set(self, key: str, owner: str, seconds: int) -> str | None:
        """Write the lease if there is none; whose there was."""
        try:
            found = self._client.set(key, owner, nx=True, get=True, ex=seconds)
        except ResponseError as error:
            if "syntax" not in str(error):
                raise
            # A server before 7.0 cannot do both at once.
            if self._client.set(key, owner, nx=True, ex=seconds):
                return None
            found = self._client.get(key) or ""
        return _text(found)

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
