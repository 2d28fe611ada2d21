"""A change on its way to the roster service, and what its turn is. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Action(StrEnum):
    """What is asked of the roster service; each is a task of this name."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    EMPLOYEE = "employee"

    @property
    def task(self) -> str:
        """The name of the Celery task."""
        return f"sync.{self.value}"


class State(StrEnum):
    """Where a change is."""

    WAITING = "waiting"  # no message stands for it
    QUEUED = "queued"  # a message does
    DONE = "done"
    REFUSED = "refused"  # the roster service does not want it
    OVERTAKEN = "overtaken"  # a delete made it needless


#: States in which a change holds back the later ones of its object.
PENDING = (State.WAITING, State.QUEUED)


class Turn(StrEnum):
    """What a task may do with its change now."""

    APPLY = "apply"
    NOT_YET = "not yet"
    NEEDLESS = "needless"
    OVER = "over"


SCHEDULE = "schedule"
EMPLOYEE = "employee"


@dataclass(frozen=True)
class Change:
    """One row of the outbox.

    `sequence` counts the changes of one object from 1. `key` is unique for ever: the
    roster service takes it as idempotency key. A new `round` is a new message.
    """

    id: int
    key: str
    kind: str
    object: str
    sequence: int
    action: Action
    payload: Mapping[str, Any]
    state: State = State.WAITING
    round: int = 0
    attempts: int = 0
    failures: int = 0

    @property
    def message_key(self) -> str:
        """What makes two messages of this change the same one."""
        return f"{self.key}:{self.round}"

    @property
    def schedule_id(self) -> int | None:
        """The id of the schedule that it changes; None for other kinds."""
        return int(self.object) if self.kind == SCHEDULE else None


def turn_of(change: Change, siblings: Iterable[Change]) -> Turn:
    """Whether a change is the next one of its object; `siblings` are all of them.

    A change before a delete is needless, and deletes wait for what is on its way all
    the same: a message that is out there could be in the middle of its call.
    """
    if change.state not in PENDING:
        return Turn.OVER
    others = [other for other in siblings if other.id != change.id]
    if any(
        other.sequence < change.sequence and other.state in PENDING for other in others
    ):
        return Turn.NOT_YET
    is_delete = change.action is Action.DELETE
    if not is_delete and any(
        other.action is Action.DELETE and other.sequence > change.sequence
        for other in others
    ):
        return Turn.NEEDLESS
    return Turn.APPLY
