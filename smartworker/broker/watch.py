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
        self._looked = clock.monotonic()
        #: When to look again, on the monotonic clock; None while nobody else is known
        #: to hold anything.
        self.due: float | None = None

    def keys(self, weight: int) -> list[str]:
        """What a poll asks for beside fewer than `weight` queues.

        EXISTS counts a key as often as it is named, so one sum tells three things.
        """
        stock = [self._adopter.index_key] * (2 * weight) if self._first else []
        return [self._leases.key] * weight + stock

    def explain(self, found: int, weight: int) -> int:
        """How many queues are among what a poll found.

        Rescues what is to be rescued. No command while nobody holds anything; while
        others do, 1 now and at the end of each lease; while we do, 1 for each lease.
        """
        rest, queues = divmod(found, weight)
        stock, leases = divmod(rest, 2)
        if stock and self._first:
            self._adopt()
        first, self._first = self._first, False
        if leases:
            if first or self._is_time():
                self.look()
        else:
            self.due = None
            if self._lease.known:
                # The server has forgotten it, and so maybe everything.
                self._lease.forget()
        return queues

    def _is_time(self) -> bool:
        """Whether leases that exist may be somebody's of whom we know nothing."""
        if self.due is not None:
            return False
        since = self._clock.monotonic() - self._looked
        return not self._lease.known or since >= self._lease.length

    def look(self) -> None:
        """Read the leases, and rescue where one has ended. 1 command and more."""
        self._looked = self._clock.monotonic()
        ends = self._leases.read()
        foreign = {n: end for n, end in ends.items() if not self._lease.covers(n)}
        self.due = None
        if foreign:
            self._look_after(foreign)

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
            self._refused(name, error)
            return server + int(1000 * self._lease.length)

    def _adopt(self) -> None:
        """Bring back what stock workers gave up; a refusal keeps us from no queue."""
        try:
            self._adopter.adopt(self._lease.server_ms())
        except ResponseError as error:
            if classify(error) not in (OTHER, DENIED):
                raise
            self._refused(self._adopter.index_key, error)

    def _refused(self, name: str, error: Exception) -> None:
        log.warning("rescue_refused", list=name, error=str(error)[:200])
