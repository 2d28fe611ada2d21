"""Which run a call means: its slot and the id of its task."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4


@dataclass(frozen=True)
class Run:
    """One run of a job: the slot it is for, and the id of its task."""

    slot: str
    task_id: str


def run_at(now: datetime) -> Run:
    """The run that a call at `now` starts; its slot is the minute of the call."""
    return Run(slot=stamp(now.replace(second=0, microsecond=0)), task_id=str(uuid4()))


def stamp(moment: datetime) -> str:
    """A moment as it stands in answers: UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
