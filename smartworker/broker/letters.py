"""What people do with dead letters: choose some, put them back, throw them away.

Takes a channel, and so works wherever there is a connection: at the command line and
in the web process.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Literal

from smartworker.broker.envelope import Unreadable, read, write
from smartworker.broker.returns import RequeueLoop, revived
from smartworker.errors import SmartworkerError
from smartworker.store.dead import DeadLetter, DeadLetters
from smartworker.store.leases import Leases

#: Dropped by one command; more would keep the server busy for too long.
MOST_AT_ONCE = 100

_ID = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)
_HIGHEST = 2**64


class NoQueue(SmartworkerError):
    """Nobody knows the queue of a dead letter."""


class Gone(SmartworkerError):
    """A dead letter is not there."""


@dataclass(frozen=True)
class Selection:
    """Which dead letters are meant: those that fit everything that is not None."""

    ids: tuple[str, ...] = ()
    task: str | None = None
    reason: str | None = None
    older_than: timedelta | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is excluded."""
        return self == Selection()

    def fits(self, letter: DeadLetter, now: datetime) -> bool:
        """Whether a letter is meant; its id is not looked at."""
        return (
            self.task in (None, letter.facts.task)
            and self.reason in (None, letter.facts.reason)
            and (self.older_than is None or letter.last <= now - self.older_than)
        )


@dataclass(frozen=True)
class Outcome:
    """What became of one dead letter, and where it went or why it did not go."""

    id: str
    outcome: Literal["requeued", "refused", "missing"]
    task: str | None = None
    queue: str | None = None
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def letter_id(text: str) -> str:
    """The id of a dead letter, as it was written. Raises ValueError for others."""
    parts = _ID.fullmatch(text)
    if not parts or any(int(part) >= _HIGHEST for part in parts.groups()):
        raise ValueError(
            f"{text!r} is not the id of a dead letter, such as 1764026888123-0."
        )
    return text


def dead_letters(channel: Any) -> DeadLetters:
    """The dead letters on a channel's server."""
    return DeadLetters(_client(channel), channel.global_keyprefix)


def server_now(channel: Any) -> datetime:
    """The server's clock, which gave the letters their ids. 1 command."""
    milliseconds = Leases(_client(channel)).now_ms()
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def find(
    dead: DeadLetters, selection: Selection, now: datetime
) -> Iterator[tuple[str, DeadLetter | None]]:
    """The chosen letters, oldest first; None for an id that is not there.

    1 command per id, or per 100 of all letters. Who died after `now` is left out:
    what is put back while this runs may come again.
    """
    for wanted in dict.fromkeys(selection.ids):
        letter = dead.get(wanted)
        if letter is None or selection.fits(letter, now):
            yield wanted, letter
    if not selection.ids:
        for letter in dead.all():
            if letter.last <= now and selection.fits(letter, now):
                yield letter.id, letter


def requeue(
    channel: Any,
    selection: Selection,
    now: datetime,
    *,
    queue: str | None = None,
    forced: bool = False,
) -> Iterator[Outcome]:
    """Put the chosen letters back into their queues, one by one; tells of each.

    `queue` instead of their own. `forced` lets those through that died again a
    short while after they were put back, and those that nobody could read.
    """
    for wanted, letter in find(dead_letters(channel), selection, now):
        if letter is None:
            yield Outcome(wanted, "missing", detail=missing(wanted))
            continue
        task = letter.facts.task
        try:
            key = requeue_one(channel, letter, now, queue=queue, forced=forced)
        except Gone as error:
            yield Outcome(wanted, "missing", task, detail=str(error))
        except (RequeueLoop, Unreadable, NoQueue) as error:
            yield Outcome(wanted, "refused", task, detail=str(error))
        else:
            yield Outcome(wanted, "requeued", task, key)


def requeue_one(
    channel: Any,
    letter: DeadLetter,
    now: datetime,
    *,
    queue: str | None = None,
    forced: bool = False,
) -> str:
    """Put one letter back and ring; the queue key where it went. 7 or 8 commands.

    Raises RequeueLoop, Unreadable, NoQueue or Gone.
    """
    try:
        raw = revived(letter, now, forced=forced)
    except Unreadable as error:
        raise Unreadable(
            f"Dead letter {letter.id} cannot be read by any worker ({error}): drop it, "
            "or use --force."
        ) from error
    key = letter.facts.queue
    if queue is not None:
        raw, key = _addressed(channel, raw, queue)
    if not key:
        raise NoQueue(
            f"Dead letter {letter.id} has no queue ({letter.facts.detail}): name one "
            "with --queue."
        )
    # Asked before the push, as for every message: only a bell may get lost after it.
    must_ring = channel.must_ring()
    if not dead_letters(channel).requeue(letter, key, raw):
        raise Gone(missing(letter.id))
    if must_ring:
        channel.ring(key, 1)
    return key


def drop(dead: DeadLetters, letter_ids: Iterable[str]) -> int:
    """Throw letters away; how many were still there. 1 command per 100."""
    ids = iter(letter_ids)
    count = 0
    while part := list(islice(ids, MOST_AT_ONCE)):
        count += dead.drop(part)
    return count


def _addressed(channel: Any, raw: bytes, queue: str) -> tuple[bytes, str]:
    """The message for another queue, and its key there.

    A retry goes by the address in the message, and nothing may be bound to it.
    """
    try:
        payload = read(raw)
    except Unreadable:
        return raw, channel.key_for(queue, 0)
    step = channel._get_message_priority(payload, reverse=False)
    info = payload["properties"].get("delivery_info") or {}
    address = {**info, "exchange": "", "routing_key": queue}
    payload["properties"]["delivery_info"] = address
    return write(payload), channel.key_for(queue, step)


def missing(wanted: str) -> str:
    """The sentence about a letter that is not there."""
    return f"There is no dead letter {wanted} (any more)."


def _client(channel: Any) -> Any:
    return channel.connection.plain_client(channel)
