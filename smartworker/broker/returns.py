"""What becomes of a message that comes back: another try, or the dead letters.

Pure decisions; whoever asks moves the message and tells of it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from smartworker.broker.envelope import (
    ATTEMPTS,
    HISTORY,
    STRANGERS,
    Unreadable,
    counted,
    header,
    read,
    write,
)
from smartworker.errors import SmartworkerError
from smartworker.store.dead import DeadLetter, Facts
from smartworker.store.moves import Move

#: Why a message is dead.
UNREADABLE = "unreadable"  # no envelope: not JSON, or not the right one
UNDECODABLE = "undecodable"  # its body cannot be decoded
INVALID = "invalid"  # its content type is not accepted, or it is no task
UNKNOWN_TASK = "unknown_task"  # no worker that had it knows its task
EXHAUSTED = "max_deliveries"  # it was delivered too often
UNROUTABLE = "unroutable"  # a stock worker held it, and no queue is bound to it
REASONS = (UNREADABLE, UNDECODABLE, INVALID, UNKNOWN_TASK, EXHAUSTED, UNROUTABLE)

#: Seconds to hold a message whose task is not known here before it is given back:
#: another release may know it, and may still be on its way.
STRANGER_PAUSES = (1, 5, 30, 120, 600)
#: A letter that was requeued and died again this soon is not requeued once more.
LOOP_GUARD = timedelta(hours=1)
#: Deaths that a message remembers.
LONGEST_HISTORY = 10


class RequeueLoop(SmartworkerError):
    """A dead letter was requeued a short while ago, and died again."""


@dataclass(frozen=True)
class Verdict:
    """Where a message goes; `facts` if that is to the dead letters."""

    move: Move
    facts: Facts | None = None
    attempts: int = 0


def again(raw: bytes, queue_key: str, cap: int, *, first: bool = False) -> Verdict:
    """One attempt more, or the end after `cap` of them.

    `first`: to the front of its queue, where the next worker takes it.
    """
    try:
        payload = read(raw)
    except Unreadable as error:
        return dead(raw, queue_key, UNREADABLE, str(error))
    attempts = counted(payload, ATTEMPTS) + 1
    if attempts >= cap:
        detail = f"delivered {attempts} times and never finished"
        return dead(raw, queue_key, EXHAUSTED, detail, attempts)
    place = Move(
        raw, "front" if first else "back", write(payload, **{ATTEMPTS: attempts})
    )
    return Verdict(place, attempts=attempts)


def stranger(raw: bytes, queue_key: str) -> tuple[Verdict, int]:
    """The verdict on a message whose task is not known here.

    With it the seconds to hold it before it is carried out.
    """
    payload = read(raw)
    met = counted(payload, STRANGERS)
    if met >= len(STRANGER_PAUSES):
        detail = f"{met + 1} times a worker had it that has no such task"
        return dead(raw, queue_key, UNKNOWN_TASK, detail), 0
    move = Move(raw, "back", write(payload, **{STRANGERS: met + 1}))
    return Verdict(move, attempts=met + 1), STRANGER_PAUSES[met]


def dead(
    raw: bytes, queue_key: str, reason: str, detail: str, attempts: int | None = None
) -> Verdict:
    """To the dead letters, with everything that can be read of it."""
    facts = _facts(raw, queue_key, reason, detail[:500], attempts)
    return Verdict(Move(raw, "dead", facts.encode()), facts, facts.attempts)


def revived(letter: DeadLetter, now: datetime, *, forced: bool = False) -> bytes:
    """The message of a dead letter with fresh attempts and its history.

    Raises RequeueLoop if it was requeued within the last hour, and Unreadable if
    nobody could ever read it; `forced` lets both through.
    """
    try:
        payload = read(letter.raw)
    except Unreadable:
        if forced:
            return letter.raw
        raise
    history = _history(payload)
    if history and not forced:
        _refuse_loop(letter, history[-1], now)
    entry = {
        "at": letter.last.isoformat(timespec="milliseconds"),
        "reason": letter.facts.reason,
        "attempts": letter.facts.attempts,
        "requeued": now.isoformat(timespec="milliseconds"),
    }
    kept = [*history, entry][-LONGEST_HISTORY:]
    return write(payload, **{ATTEMPTS: 0, STRANGERS: 0, HISTORY: kept})


def _refuse_loop(letter: DeadLetter, last: dict[str, Any], now: datetime) -> None:
    requeued = datetime.fromisoformat(last["requeued"])
    if now - requeued < LOOP_GUARD:
        raise RequeueLoop(
            f"Dead letter {letter.id} was requeued less than an hour ago, at "
            f"{requeued.isoformat(timespec='seconds')}, and died again "
            f"({letter.facts.reason}): mend the cause, or use --force."
        )


def _facts(
    raw: bytes, queue_key: str, reason: str, detail: str, attempts: int | None
) -> Facts:
    try:
        payload = read(raw)
    except Unreadable:
        return Facts(queue_key, reason, detail, attempts or 0)
    tried = counted(payload, ATTEMPTS) if attempts is None else attempts
    return Facts(
        queue_key,
        reason,
        detail,
        tried,
        _text(header(payload, "task")),
        _text(header(payload, "id")),
        _history(payload),
        payload.get("headers") or {},
    )


def _history(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """Only what we wrote ourselves: anybody can send a header."""
    entries = header(payload, HISTORY)
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if _is_ours(entry)]


def _is_ours(entry: Any) -> bool:
    if not isinstance(entry, dict) or set(entry) != {
        "at",
        "reason",
        "attempts",
        "requeued",
    }:
        return False
    try:
        moments = [datetime.fromisoformat(entry[name]) for name in ("at", "requeued")]
    except (TypeError, ValueError):
        return False
    return all(moment.tzinfo is not None for moment in moments)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
