"""The lease of one worker: what it holds stays its own while it lives."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from smartworker.clock import Clock
from smartworker.logs import get_logger
from smartworker.store import keys
from smartworker.store.leases import Leases

log = get_logger(__name__)

#: Seconds that a lease lasts until somebody sets another length.
DEFAULT_LENGTH = 300.0
#: Seconds after which the server's clock is asked again; clocks drift by about a
#: second in three hours.
ASK_AGAIN = 3600.0
#: Seconds by which wall clock and monotonic clock may differ before a machine is
#: taken to have slept, or its clock to have been set.
JUMP = 1.0


@dataclass(frozen=True)
class Moment:
    """One instant on both clocks of this machine."""

    monotonic: float
    wall: float

    def since(self, earlier: "Moment") -> float:
        """Seconds that have passed at least as our peers see it.

        A machine that slept has a monotonic clock that did not: the larger counts.
        """
        return max(self.monotonic - earlier.monotonic, self.wall - earlier.wall)

    def jumped(self, earlier: "Moment") -> bool:
        """Whether the clocks disagree about the time between."""
        ran = self.monotonic - earlier.monotonic
        return abs((self.wall - earlier.wall) - ran) > JUMP


class Lease:
    """Knows which of our in-flight lists the server has on record, and until when.

    Taken with the first message (`entries` go along with the take), renewed by
    `beat` from a thread while something is held, dropped by the loop when nothing is.
    """

    def __init__(
        self,
        leases: Leases,
        worker: str,
        prefix: str,
        clock: Clock,
        held: Callable[[], Iterable[str]],
    ) -> None:
        self.length = DEFAULT_LENGTH
        self._leases = leases
        self._worker = worker
        self._prefix = prefix
        self._clock = clock
        #: The queue keys of which messages are held now; asked from any thread.
        self._held = held
        self._lock = threading.Lock()
        self._ends: dict[str, tuple[Moment, float]] = {}
        self._server: tuple[Moment, int] | None = None
        self._failing = False

    # -- what the courier asks ------------------------------------------------------

    def entries(self, queue_keys: Iterable[str]) -> dict[str, int]:
        """In-flight lists to put on record before a take, with their end in ms.

        Nothing while at least half of the lease is left. Asks the server's clock now
        and then: 1 command.
        """
        lists = {self._list(key) for key in queue_keys}
        now = self._now()
        with self._lock:
            old = {name for name in self._ends if self._left(name, now) < self._half}
            if not lists - self._ends.keys() and not lists & old:
                return {}
        # The others that will need it soon go along: one command serves them all.
        return self._until(lists | old)

    def recorded(self, entries: Iterable[str]) -> None:
        """The server has written these."""
        moment, length = self._now(), self.length
        with self._lock:
            self._ends.update(dict.fromkeys(entries, (moment, length)))

    def forget(self) -> None:
        """The server may have forgotten: put everything on record again."""
        with self._lock:
            self._ends.clear()
            self._server = None

    def covers(self, inflight_key: str) -> bool:
        """Whether an in-flight list is ours to know: held, or on record.

        A list of ours that is neither is nobody's: its lease was forgotten in an
        outage, and somebody has to clear it away.
        """
        with self._lock:
            recorded = inflight_key in self._ends
        return recorded or inflight_key in {self._list(key) for key in self._held()}

    @property
    def known(self) -> bool:
        """Whether the server has a lease of ours on record, as far as we know."""
        return bool(self._ends)

    # -- the thread's ---------------------------------------------------------------

    def beat(self) -> float | None:
        """Renew what is held and a third used up. At most 2 commands.

        Returns the seconds until the next look, None if nothing is held.
        """
        held = {self._list(key) for key in self._held()}
        if not held:
            return None
        now = self._now()
        with self._lock:
            old = [name for name in held if self._left(name, now) < 2 * self._third]
        if old:
            self._renew(old)
        return self._third / 2

    def _renew(self, lists: list[str]) -> None:
        try:
            self._leases.renew(self._until(lists))
        except Exception as error:
            # Whatever it is: the loop may just have closed the connection under us.
            if not self._failing:
                self._failing = True
                log.warning("lease_not_renewed", error=str(error)[:200])
        else:
            self._failing = False
            self.recorded(lists)

    # -- the loop's -----------------------------------------------------------------

    def idle_in(self) -> float | None:
        """Seconds until something may be dropped if it is not held by then.

        None if there is nothing to drop.
        """
        held = {self._list(key) for key in self._held()}
        now = self._now()
        with self._lock:
            left = [self._left(n, now) for n in self._ends if n not in held]
        return max(min(left) - self.length / 6, 0.0) if left else None

    def drop(self) -> None:
        """Take what is not held any more off the record, shortly before it ends.

        At most 1 command. Only from the thread that takes messages: a drop must not
        overtake a take.
        """
        held = {self._list(key) for key in self._held()}
        now = self._now()
        with self._lock:
            over = [
                name
                for name in self._ends
                if name not in held and self._left(name, now) <= self.length / 6
            ]
        self._take_off(over)

    def give_up(self) -> None:
        """Take everything that is not held off the record: the worker stops."""
        held = {self._list(key) for key in self._held()}
        with self._lock:
            over = [name for name in self._ends if name not in held]
        self._take_off(over)

    def _take_off(self, lists: list[str]) -> None:
        if lists:
            self._leases.drop(lists)
            with self._lock:
                for name in lists:
                    self._ends.pop(name, None)

    # -- clocks ---------------------------------------------------------------------

    def server_ms(self) -> int:
        """The server's clock now, in ms. 1 command, now and then."""
        now = self._now()
        if (
            self._server is None
            or now.jumped(self._server[0])
            or now.since(self._server[0]) > ASK_AGAIN
        ):
            self._server = (now, self._leases.now_ms())
        asked, then_ms = self._server
        return then_ms + int(1000 * (now.monotonic - asked.monotonic))

    def _until(self, lists: Iterable[str]) -> dict[str, int]:
        end = self.server_ms() + int(1000 * self.length)
        return dict.fromkeys(lists, end)

    def _left(self, name: str, now: Moment) -> float:
        if name not in self._ends:
            return 0.0
        moment, length = self._ends[name]
        return length - now.since(moment)

    def _now(self) -> Moment:
        return Moment(self._clock.monotonic(), self._clock.now().timestamp())

    def _list(self, queue_key: str) -> str:
        return self._prefix + keys.inflight(self._worker, queue_key)

    @property
    def _half(self) -> float:
        return self.length / 2

    @property
    def _third(self) -> float:
        return self.length / 3
