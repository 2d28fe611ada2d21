"""Child processes that are started together and stopped together."""

import contextlib
import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Self

from smartworker.clock import Clock, system_clock
from smartworker.leash import leashed

STDERR = 2  # our own stdout is for what we say ourselves
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Signals that end a wait, as a context manager; for the main thread.

    The numbers come through a socket, so a signal is never missed between two waits.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
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

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        quiet: bool = False,
    ) -> int:
        """Start a child, tied to this process; returns its process id."""
        child = subprocess.Popen(
            leashed(command),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if quiet else STDERR,
            start_new_session=True,
        )
        self._children[name] = child
        return child.pid

    def ended(self) -> Ended | None:
        """The first child that is not running any more."""
        for name, child in self._children.items():
            if (status := child.poll()) is not None:
                return Ended(name, status)
        return None

    def stop(self, patience: float) -> None:
        """Ask all children to stop, and kill those that have not after `patience`.

        A Ctrl-C that arrives meanwhile ends the patience at once.
        """
        deadline = self._clock.monotonic() + patience
        for child in self._running():
            child.terminate()
        while any(self._running()):
            rest = deadline - self._clock.monotonic()
            if rest <= 0 or signal.SIGINT in self._signals.wait(rest):
                break
        for child in self._running():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        for child in self._children.values():
            child.wait()

    def _running(self) -> Iterator[subprocess.Popen[bytes]]:
        return (child for child in self._children.values() if child.poll() is None)
