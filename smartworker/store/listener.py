"""A held subscription with a thread of its own; silent while nothing happens.

The thread does all reading and writing, so TLS never sees two threads at once.
"""

import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress
from typing import Any

from smartworker.logs import get_logger
from smartworker.store.client import LOST, ConnectionError
from smartworker.store.meter import because

log = get_logger(__name__)

#: Seconds within which a subscription must be confirmed, connecting included.
CONFIRMED_WITHIN = 5.0


def _nothing() -> None:
    """Nobody wants to know."""


class Listener:
    """Hears channels from its first `add` until it is closed or loses its connection.

    Both callbacks come from its thread and must not wait. After a loss `on_lost` is
    called once; it does not try by itself: the next `add` connects anew.
    """

    def __init__(
        self,
        open_client: Callable[[], Any],
        on_message: Callable[[str, bytes], None],
        on_lost: Callable[[], None] = _nothing,
        *,
        name: str = "listener",
        cause: str = "wait",
    ) -> None:
        """`open_client` gives a redis-py client, whose pool lends one connection."""
        self._make: Callable[[], _Session] = lambda: _Session(
            open_client, on_message, on_lost, name, cause
        )
        self._lock = threading.Lock()
        self._session: _Session | None = None

    @property
    def listening(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._session is not None and not self._session.ended

    def add(self, *channels: str, timeout: float = CONFIRMED_WITHIN) -> None:
        """Hear these channels too; the server has confirmed it when this returns.

        1 command, none if it heard them already. Raises what redis-py raises.
        """
        with self._lock:
            session = self._session
            if session is None or not (confirmed := session.ask(channels)):
                self._session = session = self._make()
                confirmed = session.begin(channels)
        try:
            confirmed.result(timeout)
        except NotInTime as error:
            session.end(quietly=False)
            raise ConnectionError(
                f"The subscription is not confirmed after {timeout:g} seconds."
            ) from error

    def close(self) -> None:
        """Hang up: hear nothing any more. Costs no command; `add` begins again."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.end(quietly=True)


class _Session:
    """One connection and its thread, from the first subscription to its end."""

    def __init__(
        self,
        open_client: Callable[[], Any],
        on_message: Callable[[str, bytes], None],
        on_lost: Callable[[], None],
        name: str,
        cause: str,
    ) -> None:
        self._open_client = open_client
        self._on_message = on_message
        self._on_lost = on_lost
        self._cause = cause
        self._lock = threading.Lock()
        self._asked: deque[tuple[frozenset[str], Future[None]]] = deque()
        self._waiting: list[tuple[frozenset[str], Future[None]]] = []
        self._sent: set[str] = set()
        self._confirmed: set[str] = set()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        self._stopping = self._quietly = False
        self.ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def begin(self, channels: Iterable[str]) -> "Future[None]":
        """Connect; what is returned is done when the channels are heard."""
        confirmed: Future[None] = Future()
        self._asked.append((frozenset(channels), confirmed))
        self._thread.start()
        return confirmed

    def ask(self, channels: Iterable[str]) -> "Future[None] | None":
        """What is done when the channels are heard; None if this session is over."""
        confirmed: Future[None] = Future()
        with self._lock:
            if self.ended or self._stopping:
                return None
            self._asked.append((frozenset(channels), confirmed))
            self._ring()
        return confirmed

    def end(self, *, quietly: bool) -> None:
        """Hang up soon; quietly is without a word to those who listened."""
        with self._lock:
            if not self.ended:
                self._stopping = True
                self._quietly |= quietly
                self._ring()

    def _ring(self) -> None:
        # A full buffer wakes the thread as well as one byte does.
        with suppress(BlockingIOError):
            self._wake.send(b"!")

    def _run(self) -> None:
        error: BaseException = ConnectionError("The listener has hung up.")
        try:
            self._listen()
        except Exception as caught:
            # Also one of a callback's: whatever it was, nobody listens any more.
            error = caught
        if self._has_lost(error):
            log.warning("subscription_lost", error=str(error)[:200])
            self._on_lost()

    def _has_lost(self, error: BaseException) -> bool:
        """Clear up; whether a subscription is gone that somebody counts on."""
        with self._lock:
            self.ended = True
            self._wake.close()
            self._woken.close()
            waiting = [*self._waiting, *self._asked]
        for _, confirmed in waiting:
            with suppress(InvalidStateError):
                confirmed.set_exception(error)
        return bool(self._confirmed) and not self._quietly

    def _listen(self) -> None:
        pool = self._open_client().connection_pool
        with because(self._cause):
            connection = pool.get_connection()
        try:
            with selectors.DefaultSelector() as ready:
                ready.register(connection._sock, selectors.EVENT_READ)
                ready.register(self._woken, selectors.EVENT_READ)
                while not self._stopping:
                    self._subscribe(connection)
                    while connection.can_read(timeout=0):
                        self._sort(connection.read_response())
                    ready.select()
                    self._rest()
        finally:
            with suppress(*LOST):
                connection.disconnect()
            pool.release(connection)

    def _rest(self) -> None:
        """Take what woke us out of its socket."""
        with suppress(BlockingIOError):
            self._woken.recv(4096)

    def _subscribe(self, connection: Any) -> None:
        while self._asked:
            channels, confirmed = self._asked.popleft()
            self._waiting.append((channels, confirmed))
            wanted = channels - self._sent
            if wanted:
                with because(self._cause):
                    connection.send_command(
                        "SUBSCRIBE", *sorted(wanted), check_health=False
                    )
                self._sent |= wanted
        self._settle()

    def _sort(self, response: Any) -> None:
        kind, channel = response[0], response[1].decode()
        if kind == b"subscribe":
            self._confirmed.add(channel)
            self._settle()
        elif kind == b"message":
            self._on_message(channel, response[2])

    def _settle(self) -> None:
        """Tell those whose channels are all confirmed."""
        waiting, self._waiting = self._waiting, []
        for channels, confirmed in waiting:
            if channels <= self._confirmed:
                with suppress(InvalidStateError):
                    confirmed.set_result(None)
            else:
                self._waiting.append((channels, confirmed))
