"""Whose turn it is where runs of a job must not overlap: who runs here, who waits."""

from collections import deque
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from typing import Any

from smartworker.backoff import pauses
from smartworker.clock import Clock

#: Seconds between two questions for a lease that another worker's run has.
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 60.0


@dataclass(frozen=True)
class Turn:
    """One run of a job that must not overlap."""

    job: str
    owner: str
    #: Lifetime of the lease.
    seconds: int
    #: Whether it is likely that the run has the lease: by its trigger, or from before.
    perhaps: bool = False


@dataclass
class Hold:
    """A run here that has the lease of its job, and until when at least."""

    turn: Turn
    ends: float


@dataclass
class Line:
    """Those who wait for a job here, the first one first."""

    waiting: deque[tuple[Turn, Any]] = field(default_factory=deque)
    pauses: Iterator[float] = field(
        default_factory=lambda: pauses(FIRST_PAUSE, LONGEST_PAUSE)
    )
    timer: Any = None


class Turns:
    """Decides for each run whether it begins or waits; asks as little as possible.

    `ask` takes the lease of a job if it is free, and says which run has it then.
    `later` calls a function after some seconds and returns something that `cancel`
    takes.
    """

    def __init__(
        self,
        clock: Clock,
        ask: Callable[[Turn], str],
        later: Callable[[float, Callable[[str], None], str], Any],
        cancel: Callable[[Any], None],
    ) -> None:
        self._clock = clock
        self._ask = ask
        self._later = later
        self._cancel = cancel
        self._here: dict[str, Hold] = {}
        self._lines: dict[str, Line] = {}
        #: Called with what may begin now, and with what turned out to be over.
        self.on_turn: Callable[[Any], None] = _nothing
        self.is_over: Callable[[Any], bool] = bool

    def may_begin(self, turn: Turn, *, sure: bool = False) -> bool:
        """Whether a run begins now. 0 commands if it is `sure` that it has the lease,
        or if it waits behind others; else what `ask` costs.
        """
        if sure:
            self._hold(turn, self._clock.monotonic())
            return True
        if self._runs_here(turn.job):
            return False
        # Who has the lease should not wait for those who wait for it.
        if turn.job in self._lines and not turn.perhaps:
            return False
        return self._asks(turn) == turn.owner

    def wait(self, turn: Turn, what: Any) -> None:
        """Put a run into the line of its job."""
        self._lines.setdefault(turn.job, Line()).waiting.append((turn, what))
        self._arm(turn.job)

    def left(self, job: str, owner: str) -> None:
        """A run of the job is not here any more; any thread may say so."""
        hold = self._here.get(job)
        if hold is not None and hold.turn.owner == owner:
            self._here.pop(job, None)

    def proceed(self, job: str) -> None:
        """Let those in line ask again."""
        line = self._lines.get(job)
        if line is None:
            return
        self._disarm(line)
        for over in [each for each in line.waiting if self.is_over(each[1])]:
            line.waiting.remove(over)
        next_one = None
        if line.waiting and not self._runs_here(job):
            next_one = self._next(line)
        if next_one is not None:
            line.waiting.remove(next_one)
            line.pauses = pauses(FIRST_PAUSE, LONGEST_PAUSE)
        if not line.waiting:
            del self._lines[job]
        self._arm(job)
        if next_one is not None:
            self.on_turn(next_one[1])

    def aging(self) -> list[Turn]:
        """Those whose lease is half over: it has to be renewed. Any thread may ask."""
        now = self._clock.monotonic()
        return [
            hold.turn
            for hold in [*self._here.values()]
            if hold.ends - now < hold.turn.seconds / 2
        ]

    def renewed(self, turn: Turn) -> bool:
        """The lease lasts its whole time again; false if the run has left meanwhile.

        Any thread may say so.
        """
        hold = self._here.get(turn.job)
        if hold is None or hold.turn != turn:
            return False
        hold.ends = self._clock.monotonic() + turn.seconds
        return True

    def clear(self, running: Container[str]) -> None:
        """Nobody waits here any more, and only these still run: messages go back."""
        lines, self._lines = self._lines, {}
        for line in lines.values():
            self._disarm(line)
        self._here = {
            job: hold for job, hold in self._here.items() if hold.turn.owner in running
        }

    def _runs_here(self, job: str) -> bool:
        hold = self._here.get(job)
        return hold is not None and hold.ends > self._clock.monotonic()

    def _next(self, line: Line) -> tuple[Turn, Any] | None:
        """The first in line if the job is free, or who turns out to have it already.

        That one went back to its queue from a worker that had no room for it.
        """
        first = line.waiting[0]
        holder = self._asks(first[0])
        for each in line.waiting:
            if each[0].owner == holder:
                begins = each is first or self._asks(each[0]) == holder
                return each if begins else None
        return None

    def _asks(self, turn: Turn) -> str:
        begun = self._clock.monotonic()
        holder = self._ask(turn)
        if holder == turn.owner:
            self._hold(turn, begun)
        return holder

    def _hold(self, turn: Turn, begun: float) -> None:
        self._here[turn.job] = Hold(turn, begun + turn.seconds)

    def _arm(self, job: str) -> None:
        line = self._lines.get(job)
        # One that runs here tells when it ends.
        if line is not None and line.timer is None and not self._runs_here(job):
            line.timer = self._later(next(line.pauses), self._ring, job)

    def _ring(self, job: str) -> None:
        if job in self._lines:
            self._lines[job].timer = None
        self.proceed(job)

    def _disarm(self, line: Line) -> None:
        timer, line.timer = line.timer, None
        if timer is not None:
            self._cancel(timer)


def _nothing(what: Any) -> None:
    """Nobody listens."""
