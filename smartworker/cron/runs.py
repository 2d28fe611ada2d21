"""One run of a job: what it is called, and what its message carries."""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal
from uuid import UUID

from smartworker.cron.registry import Job
from smartworker.cron.slots import Slot

#: A header of a message: everything about the run that its worker has to know.
HEADER = "smartworker_run"

#: The states that we add to Celery's: what is queued, what nobody called for, and what
#: was called for while an earlier run was not done.
QUEUED = "QUEUED"
MISSED = "MISSED"
SKIPPED = "SKIPPED"

#: Characters of a key that a caller chose.
LONGEST_KEY = 255

#: What started a run: a cron service, a person over HTTP or in a shell, or the worker
#: that noticed that nobody had called.
Trigger = Literal["http", "manual", "command", "catch-up"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run: whose, for which slot, and under which id."""

    job: Job
    slot: Slot
    task_id: str
    trigger: Trigger = "http"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    #: Whether the caller chose the key that the id follows from.
    keyed: bool = False
    #: The id that the slot itself has, where a key or parameters gave the run another.
    slot_id: str | None = None

    @property
    def digest(self) -> str:
        """The same for two calls that pass the same parameters."""
        return sha256(_canonical(self.parameters).encode()).hexdigest()[:16]

    def header(self, trigger_id: str) -> dict[str, Any]:
        """What the message carries; times in seconds."""
        limit = self.job.limit
        return {
            "job": self.job.name,
            "slot": str(self.slot),
            "scheduled": self.slot.scheduled,
            "trigger": self.trigger,
            "trigger_id": trigger_id,
            "digest": self.digest,
            "overlap": self.job.overlap,
            "limit": None if limit is None else limit.total_seconds(),
            "retention": int(self.job.retention.total_seconds()),
        }


@dataclass(frozen=True)
class Names:
    """The ids of runs, which nobody can guess who does not know the secret.

    An id is all that is needed to read a result, so it must not follow from the name
    of a job and a time alone.
    """

    secret: bytes = field(repr=False)

    def of_slot(
        self, job: Job, slot: Slot, parameters: Mapping[str, Any] | None = None
    ) -> str:
        """The id of a job's run for a slot. Other parameters are another run."""
        asked = _canonical(parameters) if parameters else ""
        kind = "slot" if slot.scheduled else "minute"
        return self._id(kind, job.name, str(slot), asked)

    def of_key(self, job: Job, key: str) -> str:
        """The id of a job's run under a key that the caller chose."""
        return self._id("key", job.name, key)

    def _id(self, *parts: str) -> str:
        text = "\0".join(parts).encode("utf-8", "surrogatepass")
        digest = hmac.digest(self.secret, text, "sha256")
        return str(UUID(bytes=digest[:16], version=5))


def is_key(text: str) -> bool:
    """Whether this may be an Idempotency-Key: 1 to 255 printable ASCII characters."""
    return 0 < len(text) <= LONGEST_KEY and text.isascii() and text.isprintable()


def run_of(headers: Any) -> dict[str, Any] | None:
    """What the headers of a message say of the run of a job; None for other tasks."""
    run = headers.get(HEADER) if isinstance(headers, Mapping) else None
    return run if isinstance(run, dict) and isinstance(run.get("job"), str) else None


def _canonical(parameters: Mapping[str, Any]) -> str:
    return json.dumps(dict(parameters), sort_keys=True, separators=(",", ":"))
