"""A TCP proxy that injects faults into the traffic between Redis clients and a server.

Everything happens in one thread; what a test asks for is done in that thread too, so a
fault is in force for all connections as soon as the call returns.
"""

import random
import selectors
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from tests.faults.link import Counters, Link
from tests.faults.rules import BOTH, Direction, Fault, Line, Rules, Then, Trap, Where
from tests.faults.rules import everywhere as all_of_them

HOST = "127.0.0.1"
BACKLOG = 512
CONNECT_SECONDS = 2.0
STOP_SECONDS = 5.0

Answer = TypeVar("Answer")


class FaultProxy:
    """Listens on a free port and passes everything on to a server on this machine.

    Faults are added live and for the connections that `where` chooses; they end with
    `end(fault)`, or all of them with `clear()`. `close` and `refuse` act at once.
    """

    def __init__(self, upstream_port: int, *, seed: int = 1) -> None:
        self.counters = Counters()
        self.port = 0
        self._upstream = (HOST, upstream_port)
        self._rng = random.Random(seed)
        self._rules = Rules()
        self._links: list[Link] = []
        self._selector = selectors.DefaultSelector()
        self._listener: socket.socket | None = None
        self._asked: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._bell, self._ringer = socket.socketpair()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="fault-proxy")
        self._stopping = False
        self._error: BaseException | None = None

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"redis://{HOST}:{self.port}/0"

    # -- what a test asks for ------------------------------------------------------

    def line(self, where: Where = all_of_them, **faults: Any) -> Line:
        """Add a fault of the line; the keywords are those of `Line`."""
        return self._add(Line(where=where, **faults))

    def trap(
        self,
        *commands: str,
        where: Where = all_of_them,
        lose: Literal["reply", "request"] = "reply",
        times: int | None = 1,
        then: Then = "silent",
    ) -> Trap:
        """Lose the reply of the next such command, or the command itself."""
        names = frozenset(commands)
        return self._add(
            Trap(commands=names, where=where, lose=lose, times=times, then=then)
        )

    def answer(
        self,
        reply: str,
        *commands: str,
        where: Where = all_of_them,
        times: int | None = None,
    ) -> Trap:
        """Answer such commands, or all, with a line such as `-ERR no`, unforwarded."""
        names, raw = frozenset(commands), f"{reply}\r\n".encode()
        return self._add(Trap(commands=names, where=where, answer=raw, times=times))

    def end(self, fault: Fault) -> None:
        """Let a fault be over."""
        self._do(lambda: self._rules.faults.remove(fault))

    def clear(self) -> None:
        """No faults any more, and connections are accepted."""
        self._do(self._rules.faults.clear)
        self.accept()

    def close(self, where: Where = all_of_them, *, reset: bool = False) -> int:
        """Close connections now, with `reset` by RST; how many that were."""
        return self._do(lambda: self._close(where, reset=reset))

    def refuse(self) -> None:
        """Refuse new connections, as when nothing listens."""
        self._do(self._stop_listening)

    def accept(self) -> None:
        """Accept new connections again, on the same port."""
        self._do(self._listen)

    def wait_for(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        """Until something that passes through makes it true."""
        with self._changed:
            seen = self._changed.wait_for(condition, seconds)
        assert seen, f"it never came through within {seconds} s: {self.counters}"

    @property
    def connections(self) -> int:
        """How many are open now."""
        return self._do(lambda: len(self._links))

    # -- its life ------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._listen()
        self._selector.register(self._bell, selectors.EVENT_READ, self._answer_bell)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(RuntimeError):
            self._do(self._stop)
        self._thread.join(STOP_SECONDS)
        assert not self._thread.is_alive(), "the proxy does not stop"
        if self._error is not None:
            raise self._error

    def _do(self, act: Callable[[], Answer]) -> Answer:
        """Have it done by the proxy's own thread; raises what it raises."""
        future: Future[Answer] = Future()

        def run() -> None:
            try:
                future.set_result(act())
            except Exception as error:
                future.set_exception(error)

        if not self._thread.is_alive():
            raise RuntimeError("the proxy does not run") from self._error
        self._asked.put(run)
        self._ringer.send(b"!")
        return future.result(STOP_SECONDS)

    def _add(self, fault: Any) -> Any:
        self._do(lambda: self._rules.faults.append(fault))
        return fault

    # -- the thread ----------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        except BaseException as error:
            self._error = error
        finally:
            self._close(all_of_them)
            self._stop_listening()
            self._selector.close()
            self._bell.close()
            self._ringer.close()

    def _turn(self) -> None:
        """Pump all connections, then wait until there is something to do."""
        now = time.monotonic()
        moments = [link.pump(now) for link in self._links]
        self._sweep()
        with self._changed:
            self._changed.notify_all()
        due = min((moment for moment in moments if moment is not None), default=None)
        timeout = None if due is None else max(due - time.monotonic(), 0)
        for key, _ in self._selector.select(timeout):
            key.data()

    def _answer_bell(self) -> None:
        self._bell.recv(1)
        self._asked.get()()

    def _listen(self) -> None:
        if self._listener is None:
            # Not create_server: the port must be free again at once after a refusal.
            self._listener = socket.create_server((HOST, self.port), backlog=BACKLOG)
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            self._selector.register(
                self._listener, selectors.EVENT_READ, self._on_connection
            )

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            self._selector.unregister(listener)
            listener.close()

    def _on_connection(self) -> None:
        assert self._listener is not None
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        try:
            server = socket.create_connection(self._upstream, CONNECT_SECONDS)
        except OSError:
            client.close()
            return
        self.counters.connections += 1
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        now = time.monotonic()
        link = Link(client, server, self._rules, self.counters, self._rng, now)
        self._links.append(link)
        for way in BOTH:
            self._watch(link, way)

    def _watch(self, link: Link, way: Direction) -> None:
        source = link.sources[way]

        def on_readable() -> None:
            if not link.done and not link.read(way, time.monotonic()):
                self._selector.unregister(source)

        self._selector.register(source, selectors.EVENT_READ, on_readable)

    def _close(self, where: Where, *, reset: bool = False) -> int:
        chosen = [link for link in self._links if where(link)]
        for link in chosen:
            link.close(reset=reset)
        self._sweep()
        return len(chosen)

    def _sweep(self) -> None:
        """Close the connections that are to be closed."""
        for link in [link for link in self._links if link.done]:
            self._links.remove(link)
            for source in link.sources.values():
                if source in self._selector.get_map():
                    self._selector.unregister(source)
                source.close()

    def _stop(self) -> None:
        self._stopping = True
