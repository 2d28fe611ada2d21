"""Dead letters: messages that nobody could or may run, kept for people.

A stream, so each has an id that tells when it came; its facts are JSON beside the
raw bytes. Bounded in number and age.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from smartworker.store import keys
from smartworker.store.client import ResponseError
from smartworker.store.meter import because
from smartworker.store.queues import takes_messages

#: The oldest go when there are more, or when they are older.
MOST = 10_000
OLDEST = timedelta(days=30)
#: Read from the server at a time.
PAGE = 100


@dataclass(frozen=True)
class Facts:
    """What is known of a dead letter beside its bytes."""

    queue: str
    reason: str
    detail: str = ""
    attempts: int = 0
    task: str | None = None
    task_id: str | None = None
    #: Earlier deaths, oldest first: {"at", "reason", "attempts", "requeued"}.
    history: list[dict[str, Any]] = field(default_factory=list)
    #: Those of its message, for whoever hears of the death; they are not kept here.
    headers: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def encode(self) -> bytes:
        """As JSON, for the stream."""
        return json.dumps(self.as_json()).encode()

    def as_json(self) -> dict[str, Any]:
        """What is kept of them."""
        return {name: getattr(self, name) for name in _FACTS}


@dataclass(frozen=True)
class DeadLetter:
    """One dead letter: its id, the message's exact bytes, and the facts."""

    id: str
    raw: bytes
    facts: Facts

    @property
    def last(self) -> datetime:
        """When it died, by the server's clock."""
        milliseconds = int(self.id.partition("-")[0])
        return datetime.fromtimestamp(milliseconds / 1000, UTC)

    @property
    def first(self) -> datetime:
        """When it died for the first time."""
        times = [entry.get("at") for entry in self.facts.history]
        return datetime.fromisoformat(times[0]) if times and times[0] else self.last

    def as_json(self) -> dict[str, Any]:
        """Everything but the bytes, for programs."""
        return {
            "id": self.id,
            **self.facts.as_json(),
            "first": self.first.isoformat(timespec="milliseconds"),
            "last": self.last.isoformat(timespec="milliseconds"),
            "size": len(self.raw),
        }


class DeadLetters:
    """The operations on the dead letters, each named and counted."""

    def __init__(self, client: Any, prefix: str = "") -> None:
        self.client = client
        self.key = prefix + keys.DEAD

    def count(self) -> int:
        """How many there are. 1 command."""
        with because("dead"):
            return int(self.client.xlen(self.key))

    def all(self) -> Iterator[DeadLetter]:
        """Every dead letter, oldest first. 1 command per 100."""
        start = "-"
        while True:
            with because("dead"):
                rows = self.client.xrange(self.key, start, "+", count=PAGE)
            yield from map(_letter, rows)
            if len(rows) < PAGE:
                return
            start = "(" + rows[-1][0].decode()

    def newest(self, count: int) -> list[DeadLetter]:
        """At most so many dead letters, newest first. 1 command."""
        with because("dead"):
            rows = self.client.xrevrange(self.key, count=count)
        return [_letter(row) for row in rows]

    def get(self, letter_id: str) -> DeadLetter | None:
        """One dead letter, or None. 1 command. Raises ValueError for no id at all."""
        _check(letter_id)
        with because("dead"):
            rows = self.client.xrange(self.key, letter_id, letter_id)
        return _letter(rows[0]) if rows else None

    def drop(self, letter_ids: Iterable[str]) -> int:
        """Throw dead letters away; how many were there. 1 command."""
        wanted = list(letter_ids)
        if not wanted:
            return 0
        with because("dead"):
            return int(self.client.xdel(self.key, *wanted))

    def requeue(self, letter: DeadLetter, queue_key: str, raw: bytes) -> bool:
        """Put `raw` at the end of a queue in place of the letter, in one step.

        False if somebody else took the letter first. 7 commands; nobody waits for
        these, and WATCH needs no script.
        """

        def swap(pipe: Any) -> None:
            found = pipe.xrange(self.key, letter.id, letter.id)
            if found and not takes_messages(pipe, queue_key):
                # EXEC would go on after the push has failed, and drop the letter.
                raise ResponseError(f"WRONGTYPE {queue_key!r} is no queue")
            pipe.multi()
            if found:
                pipe.lpush(queue_key, raw)
                pipe.xdel(self.key, letter.id)

        with because("dead"):
            return bool(self.client.transaction(swap, self.key))

    def trim(self, now: datetime, tell: Callable[[int, str], None]) -> None:
        """Drop the oldest beyond the bounds, and tell how many and why. 2 commands."""
        oldest = int((now - OLDEST).timestamp() * 1000)
        pipe = self.client.pipeline(transaction=False)
        pipe.xtrim(self.key, maxlen=MOST, approximate=False)
        pipe.xtrim(self.key, minid=str(oldest), approximate=False)
        with because("dead"):
            counts = pipe.execute()
        for count, why in zip(counts, ("number", "age"), strict=True):
            if count:
                tell(int(count), why)


def _letter(row: Any) -> DeadLetter:
    letter_id, entry = row
    facts = _facts(entry.get(b"facts", b""))
    return DeadLetter(letter_id.decode(), entry.get(b"raw", b""), facts)


def _facts(text: bytes) -> Facts:
    """The facts as far as they can be read: another release may know others."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return Facts(queue="", reason="unknown")
    known = {name: found[name] for name in _FACTS if name in found}
    return Facts(**{"queue": "", "reason": "unknown", **known})


_FACTS = [entry.name for entry in fields(Facts) if entry.compare]


def _check(letter_id: str) -> None:
    time, dash, number = letter_id.partition("-")
    if not (time.isdecimal() and dash and number.isdecimal()):
        raise ValueError(
            f"{letter_id!r} is not the id of a dead letter, such as 1764026888123-0"
        )
