"""Messages on their way: looking, taking, finishing, giving back.

The server moves a message from its queue to the in-flight list in one step, so no
lost reply and no crash at any point loses it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smartworker.logs import get_logger
from smartworker.store import keys
from smartworker.store.client import RedisError, ResponseError
from smartworker.store.meter import because
from smartworker.store.moves import Move, move
from smartworker.store.refusals import DENIED, OTHER, classify

log = get_logger(__name__)


@dataclass(frozen=True)
class Result:
    """What a task leaves to be stored; `seconds` as long as that, None for ever."""

    key: bytes | str
    value: bytes | str
    seconds: int | None
    #: Called if the server will never take it.
    on_denied: Callable[[RedisError], object] | None = None

    def deny(self, error: RedisError) -> None:
        """Tell that the server will never take it; never raises."""
        if self.on_denied is None:
            return
        try:
            self.on_denied(error)
        except Exception as failure:
            log.error("denial_not_stored", error=str(failure)[:200])


@dataclass(frozen=True)
class Delivery:
    """A message that this worker holds: where it came from, and its exact bytes.

    Its `result` must be stored before it may be acknowledged.
    """

    queue_key: str
    raw: bytes
    result: Result | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Take:
    """A wish for one message; `keep` says whether it must stay in flight."""

    queue_key: str
    keep: bool = True


@dataclass(frozen=True)
class Exchange:
    """What one round trip brought: acknowledgements first, then messages."""

    #: For each finished delivery: whether it was still in flight, or its result is
    #: stored (false if it is denied); None if the server refused, and it must be
    #: finished again.
    removed: list[bool | None]
    #: For each wish: the message, or None where the queue was empty.
    taken: list[Delivery | None]
    #: The first refusal of the server, if there was one.
    error: RedisError | None
    #: Whether the leases that went along were written.
    leased: bool = True
    #: Results that the server will never take, and why.
    denied: Sequence[tuple[Result, RedisError]] = ()


def takes_messages(client: Any, queue_key: str) -> bool:
    """Whether a key is a queue, or may become one. 1 command."""
    return client.type(queue_key) in (b"list", b"none")


class Queues:
    """The queue operations of one worker, each named and counted."""

    def __init__(self, client: Any, worker: str, prefix: str = "") -> None:
        self.client = client
        self.worker = worker
        self.prefix = prefix

    def waiting(self, queue_keys: Sequence[str]) -> int:
        """How many of these keys exist. 1 command, nothing destroyed."""
        with because("poll"):
            return int(self.client.exists(*queue_keys))

    def exchange(
        self,
        done: Sequence[Delivery],
        wanted: Sequence[Take],
        leases: Mapping[str, int] | None = None,
    ) -> Exchange:
        """Finish deliveries, renew leases and take messages in one round trip.

        What has a result to be stored gets that now, and is acknowledged by another
        exchange: a full server refuses SET, and not LREM.

        len(done) + len(wanted) commands, and 1 for all leases: in-flight list -> its
        end in ms. They go ahead of the messages. 1 more if a result is refused and
        nothing beside it shows whether the server refuses all. No MULTI: under
        `maxmemory` the server refuses everything inside it, and acknowledgements must
        pass.
        """
        pipe = self.client.pipeline(transaction=False)
        for delivery in done:
            if (result := delivery.result) is not None:
                pipe.set(result.key, result.value, ex=result.seconds)
            else:
                pipe.lrem(self.inflight(delivery.queue_key), 1, delivery.raw)
        if leases:
            pipe.zadd(self.prefix + keys.LEASES, dict(leases))
        for wish in wanted:
            if wish.keep:
                source = wish.queue_key
                pipe.lmove(source, self.inflight(source), "RIGHT", "LEFT")
            else:
                pipe.rpop(wish.queue_key)
        with because("take", set="result", lrem="done", zadd="lease"):
            replies = pipe.execute(raise_on_error=False)
        first = len(done) + bool(leases)
        denied = self._denied(done, replies)
        for place in denied:
            replies[place] = False
        acknowledged, taken = replies[: len(done)], replies[first:]
        return Exchange(
            [None if isinstance(r, RedisError) else r != 0 for r in acknowledged],
            [
                Delivery(wish.queue_key, reply) if isinstance(reply, bytes) else None
                for wish, reply in zip(wanted, taken, strict=True)
            ],
            next((r for r in replies if isinstance(r, RedisError)), None),
            not any(isinstance(r, RedisError) for r in replies[len(done) : first]),
            list(denied.values()),
        )

    def _denied(
        self, done: Sequence[Delivery], replies: Sequence[Any]
    ) -> dict[int, tuple[Result, RedisError]]:
        """Results that the server will never take, by their place, and why.

        Not those that are refused like something else: then it is about the account.
        """
        found = {
            place: (delivery.result, reply)
            for place, (delivery, reply) in enumerate(zip(done, replies, strict=False))
            if delivery.result and isinstance(reply, RedisError) and _for_good(reply)
        }
        if not found:
            return {}
        plain = [r for d, r in zip(done, replies, strict=False) if d.result is None]
        others = [*plain, *replies[len(done) :]] or [self._witness(done[0])]
        kinds = [classify(reply) for reply in others if isinstance(reply, RedisError)]
        return {n: one for n, one in found.items() if classify(one[1]) not in kinds}

    def _witness(self, delivery: Delivery) -> Any:
        """What the server says to an acknowledgement of nothing. 1 command."""
        try:
            with because("result"):
                return self.client.lrem(self.inflight(delivery.queue_key), 1, b"")
        except ResponseError as error:
            return error

    def give_back(self, deliveries: Sequence[Delivery]) -> int:
        """Return messages to their queues; the first delivery will be taken first.

        1 command per queue and 2 per message; returns how many went back. Each goes
        in one step. Raises the first refusal after all queues have been tried; what
        was refused stays in flight.
        """
        by_key: dict[str, list[Move]] = {}
        for delivery in reversed(deliveries):
            back = Move(delivery.raw, "front", delivery.raw)
            by_key.setdefault(delivery.queue_key, []).append(back)
        count = 0
        refusal: ResponseError | None = None
        for key, moves in by_key.items():
            try:
                count += sum(self.move(key, moves))
            except ResponseError as error:
                refusal = refusal or error
        if refusal is not None:
            raise refusal
        return count

    def move(
        self, queue_key: str, moves: Sequence[Move], cause: str = "give_back"
    ) -> list[bool]:
        """Move own messages of a queue elsewhere; whether each was still in flight.

        1 command and 2 per message.
        """
        source = self.inflight(queue_key)
        return move(
            self.client, source, queue_key, moves, prefix=self.prefix, cause=cause
        ).gone

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
            pipe.lrange(self.inflight(key), 0, -1)
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

    def inflight(self, queue_key: str) -> str:
        """The in-flight list of a queue key."""
        return self.prefix + keys.inflight(self.worker, queue_key)


def _for_good(error: RedisError) -> bool:
    """Whether the server would refuse the same again."""
    return classify(error) in (OTHER, DENIED)
