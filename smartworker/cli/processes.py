"""Child processes that are started together and stopped together."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from smartworker.clock import Clock, system_clock
from smartworker.errors import SmartworkerError
from smartworker.leash import leashed

STDERR = 2  # our own stdout is for what we say ourselves
# By name: Windows has only the first two, and this module is imported there too.
STOPPING = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    if name in signal.Signals.__members__
)
# Some platforms signal every process of a service, not the first one alone. So long
# a child has to say that it has heard of it: twice would mean at once.
HEARD_SECONDS = 0.3
IDLE_SECONDS = 60.0


class NoGroup(SmartworkerError):
    """This system cannot start and stop several processes as one."""


class Signals:
    """Signals that end a wait, as a context manager; for the main thread.

    The numbers come through a socket, so a signal is never missed between two waits.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Raises NoGroup on Windows, which tells no process that a child has ended."""
        if not hasattr(signal, "SIGCHLD"):
            raise NoGroup(
                "Windows cannot stop several processes as one: start `smartworker "
                "worker -P solo` and `smartworker web` in two terminals."
            )
        self._inbox, self._outbox = socket.socketpair()
        self._inbox.setblocking(False)
        self._outbox.setblocking(False)
        self._before_fd = signal.set_wakeup_fd(self._outbox.fileno())
        for number in (*STOPPING, signal.SIGCHLD):
            self._before[number] = signal.signal(number, _note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._before_fd)
        self._inbox.close()
        self._outbox.close()

    def wait(self, seconds: float) -> set[int]:
        """Sleep until a signal comes or the time is over; the stop signals seen.

        A child that ends also wakes the caller, with an empty set.
        """
        select.select([self._inbox], [], [], max(seconds, 0))
        try:
            return set(self._inbox.recv(4096)).intersection(STOPPING)
        except BlockingIOError:
            return set()


def _note(number: int, frame: FrameType | None) -> None:
    """Do nothing: the number is already on its way through the socket."""


@dataclass(frozen=True)
class Ended:
    """A child that ended by itself, and how."""

    name: str
    status: int

    @property
    def how(self) -> str:
        """The status in words."""
        if self.status < 0:
            return f"was killed by {signal.Signals(-self.status).name}"
        return f"ended with status {self.status}"


class Group:
    """Child processes in sessions of their own, so that only we signal them.

    A Ctrl-C of the terminal would reach a Celery worker next to our own signal, and
    the second one makes it drop its tasks.
    """

    def __init__(self, signals: Signals, clock: Clock = system_clock) -> None:
        self._signals = signals
        self._clock = clock
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._notes: dict[str, Path] = {}

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        stdout: int | None = STDERR,
        note: Path | None = None,
    ) -> int:
        """Start a child, tied to this process; returns its process id.

        `stdout` is what Popen takes, None for our own. `note`: a file into which the
        child writes when it is told to stop.
        """
        child = subprocess.Popen(
            leashed(command),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            start_new_session=True,
        )
        self._children[name] = child
        if note is not None:
            self._notes[name] = note
        return child.pid

    def ended(self) -> Ended | None:
        """The first child that is not running any more."""
        for name, child in self._children.items():
            if (status := child.poll()) is not None:
                return Ended(name, status)
        return None

    def end(self, asked: Collection[int] = ()) -> None:
        """Tell all children to stop, and wait for as long as they need.

        `asked`: the signals that asked for it. Later ones are passed on. A SIGQUIT
        arrives as such, any other one as SIGTERM.
        """
        deadline = self._clock.monotonic() + HEARD_SECONDS
        while (rest := deadline - self._clock.monotonic()) > 0:
            self._signals.wait(rest)
        self._send(asked, self._has_heard)
        while any(self._running()):
            if more := self._signals.wait(IDLE_SECONDS):
                self._send(more)

    def stop(self, patience: float, again: float = 0) -> None:
        """Ask all children to stop, and kill those that have not after `patience`.

        With `again` they are asked once more, and killed so many seconds later. A
        Ctrl-C that arrives meanwhile ends the patience at once.
        """
        for seconds in (patience, again):
            if not self._stop_within(seconds):
                break
        for child in self._running():
            with contextlib.suppress(ProcessLookupError):
                if sys.platform != "win32":  # never reached there: see Signals
                    os.killpg(child.pid, signal.SIGKILL)
        for child in self._children.values():
            child.wait()

    def _stop_within(self, seconds: float) -> bool:
        """Ask once; true when the time is over and a child still runs."""
        if seconds <= 0:
            return True
        deadline = self._clock.monotonic() + seconds
        self._send()
        while any(self._running()):
            rest = deadline - self._clock.monotonic()
            if rest <= 0:
                return True
            if signal.SIGINT in self._signals.wait(rest):
                return False
        return False

    def _send(
        self,
        asked: Collection[int] = (),
        spared: Callable[[str], bool] = lambda _name: False,
    ) -> None:
        number = signal.SIGTERM
        if sys.platform != "win32" and signal.SIGQUIT in asked:
            number = signal.SIGQUIT
        for name, child in self._children.items():
            if child.poll() is None and not spared(name):
                child.send_signal(number)

    def _has_heard(self, name: str) -> bool:
        """Whether a child has noted that it was told to stop, by whomever."""
        note = self._notes.get(name)
        return note is not None and note.exists() and bool(note.read_text())

    def _running(self) -> Iterator[subprocess.Popen[bytes]]:
        return (child for child in self._children.values() if child.poll() is None)
