"""Our place in kombu's event loop: a way in from anywhere, and timers that hold."""

import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from smartworker.clock import Clock

#: Seconds after which the hub comes up on Windows, where no Ctrl-C ends its sleep.
COME_UP = 1.0


class Alarm:
    """One timer that is set again and again; without a loop it never rings.

    It may ring too early: a timer that is armed stays, for the hub keeps each cancelled
    one until it would have been due. Whoever is woken looks, and sets it again.
    """

    def __init__(self, ring: Callable[[], None], clock: Clock) -> None:
        self.loop: Loop | None = None
        self._ring = ring
        self._clock = clock
        self._due: float | None = None
        self._cancel: Callable[[], None] = _nothing

    @property
    def armed(self) -> bool:
        """Whether it will ring."""
        return self._due is not None

    def set(self, seconds: float | None) -> None:
        """Ring in so many seconds at the latest; None: not any more."""
        if seconds is None:
            self._cancel()
            self._due = None
            return
        due = self._clock.monotonic() + seconds
        if self.loop is not None and (self._due is None or due < self._due):
            self._cancel()
            self._due = due
            self._cancel = self.loop.later(seconds, self._rang)

    def leave(self) -> None:
        """Ring no more, and belong to no loop."""
        self.set(None)
        self.loop = None

    def _rang(self) -> None:
        self._due = None
        self._ring()


class Loop:
    """A hub, entered by a socket of our own.

    The hub computes its sleep before it runs callbacks added from its own thread,
    so those may wait up to 10 s; and a signal only interrupts it. A readable socket
    always wakes it, from any thread and from a signal handler.
    """

    def __init__(self, hub: Any, on_wake: Callable[[], None]) -> None:
        self._hub = hub
        self._on_wake = on_wake
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        hub.add_reader(self._reader, self._woken)
        self._cancel: Callable[[], None] = _nothing
        if sys.platform == "win32":
            self._cancel = hub.call_repeatedly(COME_UP, _nothing).cancel

    def wake(self) -> None:
        """Have `on_wake` called soon."""
        # Full: a wake-up is on its way already. Closed: there is nothing to wake.
        with suppress(OSError):
            self._writer.send(b"\0")

    def watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call back whenever the descriptor can be read."""
        self._hub.add_reader(descriptor, callback)

    def unwatch(self, descriptor: int) -> None:
        """Stop watching; unknown descriptors are no error."""
        with suppress(KeyError, ValueError, OSError, AttributeError):
            self._hub.remove_reader(descriptor)

    def later(self, seconds: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after some seconds; returns the way to cancel it."""
        entry = self._hub.call_later(max(seconds, 0.0), callback)
        cancel: Callable[[], None] = entry.cancel
        return cancel

    def close(self) -> None:
        """Leave the hub."""
        self._cancel()
        self.unwatch(self._reader.fileno())
        self._reader.close()
        self._writer.close()

    def _woken(self) -> None:
        with suppress(OSError):
            while self._reader.recv(4096):
                pass
        self._on_wake()


def _nothing() -> None:
    """What cancelling does before anything was armed."""
