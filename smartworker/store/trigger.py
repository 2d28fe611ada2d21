"""The trigger step: a run of a job is recorded and queued at once, and only once."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from smartworker.store.lua import script
from smartworker.store.meter import because, ledger

TRIGGER = script("trigger")


class Answer(Enum):
    """What became of a step."""

    PUSHED = auto()
    REPEATED = auto()
    OVERLAPPING = auto()


@dataclass
class Step:
    """What is recorded with the message of a run, and what became of it."""

    record_key: str
    record: str
    seconds: int
    owner: str
    #: The lease of a job that must not overlap; "" for none.
    lease_key: str = ""
    lease_seconds: int = 0
    #: What is recorded where another run has the lease; "" for nothing.
    skipped: str = ""
    #: The record of the slot, where the run has another id; "" for none.
    slot_key: str = ""
    answer: Answer | None = None
    #: The record that was there before.
    earlier: bytes | str = ""


_step: ContextVar[Step | None] = ContextVar("step", default=None)


@contextmanager
def stepping(step: Step) -> Iterator[None]:
    """The message that is published inside the block is that of this step."""
    outer = _step.set(step)
    try:
        yield
    finally:
        _step.reset(outer)


def current() -> Step | None:
    """The step whose message is being published."""
    return _step.get()


def take(client: Any, step: Step, queue_key: str, message: str) -> bool:
    """Take the step; false if the message was not pushed.

    3 commands, 2 for a repetition; 1 more with a lease, 1 more with a slot, 1 more
    where another run had recorded the slot. A lost reply is safely asked for again.
    """
    with because("publish"):
        answer = client.eval(
            TRIGGER,
            4,
            step.record_key,
            queue_key,
            step.lease_key,
            step.slot_key,
            step.record,
            step.seconds,
            message,
            step.owner,
            step.lease_seconds,
            step.skipped,
        )
        step.answer = (Answer.REPEATED, Answer.PUSHED, Answer.OVERLAPPING)[answer[0]]
        if step.answer is Answer.REPEATED:
            step.earlier, more = answer[1], 0
        else:
            step.earlier, more = "", answer[1]
        ledger.book(_inside(step, more))
    return step.answer is Answer.PUSHED


def _inside(step: Step, more: int) -> list[str]:
    """The commands that the script sent; `more`: it wrote over so many records."""
    again = ["set"] * more
    if step.answer is Answer.REPEATED:
        return ["set"]
    if step.answer is Answer.OVERLAPPING:
        undone = ["set" if more or step.skipped else "del"]
        marked = ["set"] if step.skipped and step.slot_key else []
        return ["set", "set", *undone, *marked, *again]
    extra = [key for key in (step.lease_key, step.slot_key) if key]
    return ["set", *("set" for _ in extra), *again, "lpush"]
