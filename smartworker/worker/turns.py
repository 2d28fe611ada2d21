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
    #: Whether the run may have the lease already: by its trigger, or from before.
    perhaps: bool


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

    `ask` takes the lease of a job, or says that another has it. `later` calls a
    function after some seconds and returns something that `cancel` takes.
    """

    def __init__(
        self,
        clock: Clock,
        ask: Callable[[Turn], bool],
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
        if not sure and self._runs_here(turn.job):
            return False
        # Who may have the lease must not wait for those who wait for it.
        if not sure and not turn.perhaps and turn.job in self._lines:
            return False
        return self._begins(turn, sure=sure)

    def wait(self, turn: Turn, what: Any) -> None:
        """Put a run into the line of its job."""
        waiting = self._lines.setdefault(turn.job, Line()).waiting
        (waiting.appendleft if turn.perhaps else waiting.append)((turn, what))
        self._arm(turn.job)

    def left(self, job: str, owner: str) -> None:
        """A run of the job is not here any more; the next one asks at once."""
        if job in self._here and self._here[job].turn.owner == owner:
            del self._here[job]
        self.proceed(job)

    def proceed(self, job: str) -> None:
        """Let the first in line ask again."""
        line = self._lines.get(job)
        if line is None:
            return
        self._disarm(line)
        while line.waiting and self.is_over(line.waiting[0][1]):
            line.waiting.popleft()
        if not line.waiting:
            del self._lines[job]
        elif not self._runs_here(job) and self._begins(line.waiting[0][0]):
            _, what = line.waiting.popleft()
            line.pauses = pauses(FIRST_PAUSE, LONGEST_PAUSE)
            if not line.waiting:
                del self._lines[job]
            self.on_turn(what)
        else:
            self._arm(job)

    def aging(self) -> list[Turn]:
        """Those whose lease is half over: it has to be renewed. Any thread may ask."""
        now = self._clock.monotonic()
        return [
            hold.turn
            for hold in [*self._here.values()]
            if hold.ends - now < hold.turn.seconds / 2
        ]

    def renewed(self, turn: Turn) -> None:
        """The lease lasts its whole time again; any thread may say so."""
        hold = self._here.get(turn.job)
        if hold is not None and hold.turn == turn:
            hold.ends = self._clock.monotonic() + turn.seconds

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

    def _begins(self, turn: Turn, *, sure: bool = False) -> bool:
        begun = self._clock.monotonic()
        if not sure and not self._ask(turn):
            return False
        self._here[turn.job] = Hold(turn, begun + turn.seconds)
        return True

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
