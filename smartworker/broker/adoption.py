"""Adoption: bringing back what dead stock workers held.

Stock workers keep their messages in a hash and the time of each take in a sorted
set. By their own rule a message is given up once it is older than the visibility
timeout; what a living one holds is younger, or will be run twice by its peers too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kombu.utils.json import dumps, loads

from smartworker.broker.rescue import tell_dead
from smartworker.broker.returns import UNREADABLE, UNROUTABLE, Verdict, again, dead
from smartworker.logs import get_logger
from smartworker.store import keys
from smartworker.store.dead import Facts
from smartworker.store.meter import because
from smartworker.store.queues import takes_messages

log = get_logger(__name__)

#: Looked at in one go; the rest is taken up at the next start.
MOST = 1000


@dataclass(frozen=True)
class Adopter:
    """Puts given-up messages of stock workers back, each in one step."""

    channel: Any
    client: Any
    max_deliveries: int
    on_death: Callable[[Facts], None] = tell_dead

    @property
    def index_key(self) -> str:
        """The sorted set of stock workers."""
        return str(self.channel.global_keyprefix + self.channel.unacked_index_key)

    @property
    def held_key(self) -> str:
        """The hash of stock workers."""
        return str(self.channel.global_keyprefix + self.channel.unacked_key)

    def adopt(self, now_ms: int) -> int:
        """How many messages were brought back. 1 command, and 9 per message."""
        oldest = now_ms / 1000 - float(self.channel.visibility_timeout)
        with because("rescue"):
            tags = self.client.zrangebyscore(
                self.index_key, "-inf", oldest, start=0, num=MOST
            )
            # The newest first: the oldest ends up where it is taken first.
            adopted = sum(self._adopt(tag, oldest) for tag in reversed(tags))
        if adopted:
            log.warning("stock_messages_adopted", count=adopted)
        return adopted

    def _adopt(self, tag: bytes, oldest: float) -> bool:
        entry = self.client.hget(self.held_key, tag)
        verdict, queue_keys = self._judge(entry or b"")

        def swap(pipe: Any) -> None:
            score = pipe.zscore(self.index_key, tag)
            pipe.multi()
            if score is None or score > oldest:
                return
            if entry is not None:
                self._put(pipe, verdict, queue_keys)
            pipe.zrem(self.index_key, tag)
            pipe.hdel(self.held_key, tag)

        done = bool(self.client.transaction(swap, self.index_key)) and entry is not None
        if done and verdict.facts is not None:
            self.on_death(verdict.facts)
        return done

    def _put(self, pipe: Any, verdict: Verdict, queue_keys: list[str]) -> None:
        move = verdict.move
        if verdict.facts is None:
            for key in queue_keys:
                pipe.rpush(key, move.push)
        else:
            letter = {"raw": move.raw, "facts": move.push}
            pipe.xadd(self.channel.global_keyprefix + keys.DEAD, letter)

    def _judge(self, entry: bytes) -> tuple[Verdict, list[str]]:
        """What becomes of a message, and the keys where it goes if it lives."""
        try:
            payload, exchange, routing_key = loads(entry)
            raw = dumps(payload).encode()
            step = self.channel._get_message_priority(payload, reverse=False)
            queues = self.channel._lookup(exchange, routing_key)
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            RecursionError,
        ) as error:
            detail = f"{type(error).__name__}: {error}"
            return dead(entry, "", UNREADABLE, detail), []
        queue_keys = [self.channel.key_for(queue, step) for queue in queues if queue]
        if not queue_keys:
            detail = f"no queue is bound to {exchange!r} for {routing_key!r}"
            return dead(raw, "", UNROUTABLE, detail), []
        for key in queue_keys:
            if not takes_messages(self.client, key):
                # EXEC would go on after the push has failed, and drop the message.
                return dead(raw, key, UNROUTABLE, f"{key!r} is no queue"), []
        return again(raw, queue_keys[0], self.max_deliveries), queue_keys
