"""Understanding the doorbell: which mode, which channels, and what a ring means."""

import random
from collections.abc import Iterable
from typing import Any

from smartworker.broker.bells import Bells
from smartworker.broker.doorbell import Ring
from smartworker.logs import get_logger
from smartworker.store import keys, notifications
from smartworker.store.client import ResponseError

log = get_logger(__name__)

PUSHES = frozenset({b"lpush", b"rpush"})
POPS = frozenset({b"lpop", b"rpop"})
ENDS = frozenset({b"del", b"expired", b"evicted"})

#: Seconds by which workers that hear the same bell spread their attempts.
LEAST_SPREAD = 0.016
MOST_SPREAD = 0.064
#: Seconds that whoever took the last message has before the others try.
HEAD_START = 0.008


class Hearing:
    """Turns rings into bells, and into a sense of who else is there."""

    def __init__(self) -> None:
        self.mode = "off"
        self._keys: dict[str, str] = {}
        self._database = 0
        self._said = False
        self._spread = 0.0
        self._leads = True
        self._pops_before = 0

    def find_mode(self, transport: Any, channel: Any) -> None:
        """Settle how pushes will be heard. At most 2 commands, not billed.

        Before each new subscription: a server that restarted forgot its flags.
        """
        asked = transport.doorbell
        self._database = channel.database
        self.mode = asked if asked in ("publish", "off") else "keyspace"
        if self.mode == "keyspace":
            self._ask_server(transport, channel, asked)

    def _ask_server(self, transport: Any, channel: Any, asked: str) -> None:
        try:
            flags = notifications.enable(transport.plain_client(channel))
        except ResponseError as error:
            # Asked for by name: the operator may have set the flags by other means.
            self.mode = "keyspace" if asked == "keyspace" else "publish"
            transport.remember(rings=False)
            log.warning("doorbell_refused", mode=self.mode, error=str(error))
        else:
            transport.remember(rings=True)
            if self._said and flags.before == flags.after:
                return
            self._said = True
            log.info(
                "doorbell_ready",
                mode=self.mode,
                flags_before=flags.before,
                flags=flags.after,
            )

    def channels(self, queue_keys: Iterable[str]) -> list[str]:
        """The channels to subscribe to for these queue keys."""
        if self.mode == "off":
            self._keys = {}
        elif self.mode == "publish":
            self._keys = {keys.bell(key): key for key in queue_keys}
        else:
            self._keys = {keys.keyspace(self._database, k): k for k in queue_keys}
        return list(self._keys)

    def understand(self, rings: Iterable[Ring], bells: Bells) -> list[Ring]:
        """Book what was heard of queues; returns the rest, which are broadcasts."""
        broadcasts = []
        for ring in rings:
            key = self._keys.get(ring.channel)
            if key is None:
                broadcasts.append(ring)
            elif self.mode == "publish":
                bells.pushed(key, int(ring.data) if ring.data.isdigit() else 1)
            elif ring.data in PUSHES:
                bells.pushed(key)
            elif ring.data in POPS:
                bells.popped(key)
            elif ring.data in ENDS:
                bells.emptied(key)
        bells.settle()
        self._sense_others(bells)
        return broadcasts

    def pause(self, rng: random.Random, *, full: bool = False) -> float:
        """Seconds to wait before answering a bell that others hear too.

        Longest where the pool is `full`: whoever can begin the task comes first.
        """
        if full:
            least = HEAD_START + max(self._spread, LEAST_SPREAD)
            return least + rng.uniform(0, MOST_SPREAD)
        if self._leads or not self._spread:
            return 0.0
        return HEAD_START + rng.uniform(0, self._spread)

    def came_too_late(self) -> None:
        """Somebody else was faster: leave more time to hear of it."""
        self._leads = False
        self._spread = min(max(self._spread * 2, LEAST_SPREAD), MOST_SPREAD)

    def _sense_others(self, bells: Bells) -> None:
        foreign = bells.foreign_pops - self._pops_before
        self._pops_before = bells.foreign_pops
        if foreign:
            self._leads = False
            self._spread = max(self._spread, LEAST_SPREAD)

    def came_in_time(self) -> None:
        """The attempt paid: the next bell is ours, and perhaps nobody else is there."""
        self._leads = True
        self._spread *= 0.9
        if self._spread < LEAST_SPREAD:
            self._spread = 0.0
