"""The watch over what others hold: finds dead workers, and costs nothing idle.

The leases exist only while somebody holds something, so each poll asks for them
along with the queues, in the same command. Only when they are there is a look worth
one more.
"""

from contextlib import suppress

from smartworker.broker.adoption import Adopter
from smartworker.broker.lease import Lease
from smartworker.broker.rescue import Rescuer
from smartworker.clock import Clock
from smartworker.logs import get_logger
from smartworker.store.client import ResponseError
from smartworker.store.leases import Leases
from smartworker.store.refusals import DENIED, OTHER, classify

log = get_logger(__name__)

#: Seconds after the end of a lease before somebody looks: its owner's clock and ours
#: may differ a little, and so may the way to the server.
MARGIN = 1.0


class Watch:
    """Says which keys to look for in a poll, and what it means that they exist."""

    def __init__(
        self,
        lease: Lease,
        leases: Leases,
        rescuer: Rescuer,
        adopter: Adopter,
        clock: Clock,
    ) -> None:
        self._lease = lease
        self._leases = leases
        self._rescuer = rescuer
        self._adopter = adopter
        self._clock = clock
        self._first = True
        self._grace_until = 0.0
        #: When to look again, on the monotonic clock; None while nobody else is known
        #: to hold anything.
        self.due: float | None = None

    def keys(self) -> list[str]:
        """What a poll asks for beside the queues."""
        return [self._leases.key, *([self._adopter.index_key] if self._first else [])]

    def explain(self, found: int) -> int:
        """How many of the keys that a poll found are ours to know, and no queues.

        Rescues what is to be rescued. No command while nothing was found, or while
        leases are known to exist.
        """
        if not found:
            self._first, self.due = False, None
            return 0
        if not self._first and (self._lease.known or self.due is not None):
            return 1
        return self.look()

    def look(self) -> int:
        """Read the leases, and rescue where one has ended; how many keys that were.

        1 command if there are none; at a start 2.
        """
        explained = 0
        if self._first:
            explained = self._adopt()
            self._first = False
        ends = self._leases.read()
        # A list of our own that we hold nothing in is nobody's: its lease was forgotten
        # in an outage, and would cost a command with each poll for ever.
        foreign = {
            name: end for name, end in ends.items() if not self._lease.holds(name)
        }
        self.due = None
        if foreign:
            self._look_after(foreign)
        return explained + bool(ends)

    def left(self) -> float | None:
        """Seconds until the next look; None if there is none to come."""
        if self.due is None:
            return None
        return max(self.due - self._clock.monotonic(), 0.0)

    def postpone(self) -> None:
        """Redis was away, for everybody: let the others renew their leases first."""
        self._grace_until = self._clock.monotonic() + self._lease.length

    def _look_after(self, foreign: dict[str, int]) -> None:
        now = self._clock.monotonic()
        if now < self._grace_until:
            self.due = self._grace_until
            return
        server = self._lease.server_ms()
        alive = []
        for name, end in foreign.items():
            # What somebody else has put there is none of our business.
            with suppress(ValueError):
                if end <= server:
                    end = self._rescue(name, server)
                if end:
                    alive.append(end)
        if alive:
            self.due = now + max(min(alive) - server, 0) / 1000 + MARGIN

    def _rescue(self, name: str, server: int) -> int:
        """Until when it is left alone: 0 if it is gone."""
        try:
            return self._rescuer.rescue(name).lease_ms
        except ResponseError as error:
            if classify(error) not in (OTHER, DENIED):
                raise
            # One bad list must not keep us from all the queues.
            log.warning("rescue_refused", list=name, error=str(error)[:200])
            return server + int(1000 * self._lease.length)

    def _adopt(self) -> int:
        """Whether the poll found what stock workers hold; brings back what is old."""
        held = self._adopter.waits()
        if held:
            self._adopter.adopt(self._lease.server_ms())
        return int(held)
