"""Messages on their way: looking, taking, finishing, giving back.

The server moves a message from its queue to the in-flight list in one step, so no
lost reply and no crash at any point loses it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from smartworker.store import keys
from smartworker.store.client import RedisError
from smartworker.store.meter import because


@dataclass(frozen=True)
class Delivery:
    """A message that this worker holds: where it came from, and its exact bytes."""

    queue_key: str
    raw: bytes


@dataclass(frozen=True)
class Take:
    """A wish for one message; `keep` says whether it must stay in flight."""

    queue_key: str
    keep: bool = True


@dataclass(frozen=True)
class Exchange:
    """What one round trip brought: acknowledgements first, then messages."""

    #: For each finished delivery: whether it was still in flight; None if the server
    #: refused to say, and it must be finished again.
    removed: list[bool | None]
    #: For each wish: the message, or None where the queue was empty.
    taken: list[Delivery | None]
    #: The first refusal of the server, if there was one.
    error: RedisError | None


class Queues:
    """The queue operations of one worker, each named and counted."""

    def __init__(self, client: Any, worker: str, prefix: str = "") -> None:
        self.client = client
        self.worker = worker
        self.prefix = prefix

    def waiting(self, queue_keys: Sequence[str]) -> int:
        """How many of the queues are not empty. 1 command, nothing destroyed."""
        with because("poll"):
            return int(self.client.exists(*queue_keys))

    def exchange(self, done: Sequence[Delivery], wanted: Sequence[Take]) -> Exchange:
        """Finish deliveries and take messages in one round trip.

        len(done) + len(wanted) commands. No MULTI: under `maxmemory` the server
        refuses everything inside it, and acknowledgements must pass.
        """
        pipe = self.client.pipeline(transaction=False)
        for delivery in done:
            pipe.lrem(self._inflight(delivery.queue_key), 1, delivery.raw)
        for wish in wanted:
            if wish.keep:
                source = wish.queue_key
                pipe.lmove(source, self._inflight(source), "RIGHT", "LEFT")
            else:
                pipe.rpop(wish.queue_key)
        with because("take", lrem="done"):
            replies = pipe.execute(raise_on_error=False)
        acknowledged, taken = replies[: len(done)], replies[len(done) :]
        return Exchange(
            [None if isinstance(r, RedisError) else r != 0 for r in acknowledged],
            [
                Delivery(wish.queue_key, reply) if isinstance(reply, bytes) else None
                for wish, reply in zip(wanted, taken, strict=True)
            ],
            next((r for r in replies if isinstance(r, RedisError)), None),
        )

    def give_back(self, deliveries: Sequence[Delivery]) -> int:
        """Return messages to their queues; the first delivery will be taken first.

        1 command per queue and 1 per message; returns how many went back. The push
        comes first and must succeed: a crash in between repeats a message, and a
        full server, which refuses pushes and allows removals, loses none. Raises the
        first refusal after all has been tried; what was refused stays in flight.
        """
        by_key: dict[str, list[bytes]] = {}
        for delivery in deliveries:
            by_key.setdefault(delivery.queue_key, []).append(delivery.raw)
        with because("give_back"):
            pushes = self.client.pipeline(transaction=False)
            for key, raws in by_key.items():
                pushes.rpush(key, *reversed(raws))
            answers = dict(
                zip(by_key, pushes.execute(raise_on_error=False), strict=True)
            )
            refused = {k: a for k, a in answers.items() if isinstance(a, RedisError)}
            removals = self.client.pipeline(transaction=False)
            for delivery in deliveries:
                key = delivery.queue_key
                if key not in refused:
                    removals.lrem(self._inflight(key), 1, delivery.raw)
            removed = removals.execute()
        for error in refused.values():
            raise error
        return len(removed)

    def replace(self, delivery: Delivery, raw: bytes) -> None:
        """Put `raw` at the end of the queue and its old form out of flight.

        2 commands; the push comes first and must succeed.
        """
        with because("give_back"):
            self.client.lpush(delivery.queue_key, raw)
            self.client.lrem(self._inflight(delivery.queue_key), 1, delivery.raw)

    def unheld(
        self, queue_keys: Iterable[str], held: Iterable[Delivery]
    ) -> list[Delivery]:
        """Messages in our in-flight lists that nobody holds, oldest first.

        After a lost reply the server may have moved what we never saw. 1 command
        per queue key.
        """
        asked = list(queue_keys)
        pipe = self.client.pipeline(transaction=False)
        for key in asked:
            pipe.lrange(self._inflight(key), 0, -1)
        with because("read_back"):
            replies = pipe.execute()
        known = Counter(held)
        found = []
        for key, raws in zip(asked, replies, strict=True):
            for raw in reversed(raws):
                delivery = Delivery(key, raw)
                if known[delivery]:
                    known[delivery] -= 1
                else:
                    found.append(delivery)
        return found

    def _inflight(self, queue_key: str) -> str:
        return self.prefix + keys.inflight(self.worker, queue_key)
