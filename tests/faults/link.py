"""One connection through the proxy: two pipes, and what the rules make of them."""

import random
import socket
import struct
from collections import Counter, deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.faults.resp import Replies, Request, Requests
from tests.faults.rules import BOTH, Direction, Line, Rules, Trap

CHUNK = 65_536
#: Seconds until a receiver whose buffers are full is tried again.
FULL_PAUSE = 0.005


@dataclass
class Counters:
    """What has passed through the proxy."""

    connections: int = 0
    commands: Counter[str] = field(default_factory=Counter)
    #: Bytes that were passed on, `up` and `down`.
    bytes: Counter[str] = field(default_factory=Counter)


class Pipe:
    """The bytes of one direction that are on their way."""

    def __init__(self, sink: socket.socket, rng: random.Random) -> None:
        self._sink = sink
        self._rng = rng
        self._queue: deque[tuple[float, bytes]] = deque()
        self._last_due = 0.0
        self._not_before = 0.0
        #: No more will come from the source.
        self.ended = False
        #: The sink has been told so.
        self.closed = False
        #: Bytes were thrown away: nothing may follow them.
        self.broken = False

    def put(self, data: bytes, due: float) -> None:
        """Send these bytes when they are due, and never before earlier ones."""
        self._last_due = max(due, self._last_due)
        self._queue.append((self._last_due, data))

    def swallow(self) -> None:
        """Throw away what is on its way."""
        self.broken = self.broken or bool(self._queue)
        self._queue.clear()

    def send(self, now: float, faults: list[Line]) -> tuple[int, float | None]:
        """Send what is due: how many bytes that was, and when to come back.

        Raises OSError.
        """
        total = 0
        while self._queue:
            due = max(self._queue[0][0], self._not_before)
            if due > now:
                return total, due
            _, data = self._queue.popleft()
            sent = self._send(data[: self._limit(len(data), now, faults)], now)
            total += sent
            if sent < len(data):
                self._queue.appendleft((due, data[sent:]))
        if self.ended and not self.closed:
            self.closed = True
            with suppress(OSError):
                self._sink.shutdown(socket.SHUT_WR)
        return total, None

    def _send(self, data: bytes, now: float) -> int:
        try:
            return self._sink.send(data)
        except BlockingIOError:
            self._not_before = now + FULL_PAUSE
            return 0

    def _limit(self, size: int, now: float, faults: list[Line]) -> int:
        """How many bytes may leave at once; sets when the next ones may."""
        self._not_before = now
        for rate in (fault.rate for fault in faults if fault.rate is not None):
            size = min(size, max(int(rate / 20), 1))
            self._not_before += size / rate
        for pieces in (fault.pieces for fault in faults if fault.pieces is not None):
            if self._rng.random() < pieces.share:
                size = min(size, self._rng.randint(1, pieces.most))
                self._not_before += pieces.pause
        return size


class Link:
    """Passes requests up and replies down; asks the rules about each."""

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        rules: Rules,
        counters: Counters,
        rng: random.Random,
        now: float,
    ) -> None:
        #: Which connection this is, from 1.
        self.number = counters.connections
        #: Its commands by name.
        self.seen: Counter[str] = Counter()
        self.sources: dict[Direction, socket.socket] = {"up": client, "down": server}
        #: Its sockets are to be closed; whoever opened them does it.
        self.done = False
        self._rules = rules
        self._counters = counters
        self._pipes = {"up": Pipe(server, rng), "down": Pipe(client, rng)}
        self._requests, self._replies = Requests(), Replies()
        # For each reply that is due the trap that waits for it.
        self._due: deque[Trap | None] = deque()
        self._active = now

    def read(self, direction: Direction, now: float) -> bool:
        """Take what has come; false once no more will."""
        try:
            data = self.sources[direction].recv(CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        self._active = now
        if not data:
            self._pipes[direction].ended = True
        elif direction == "up":
            for request in self._requests.feed(data):
                self._pass_up(request, now)
        else:
            for reply in self._replies.feed(data):
                self._pass_down(reply.raw, reply.pushed, now)
        return bool(data)

    def pump(self, now: float) -> float | None:
        """Send what is due; returns when to come back."""
        faults = self._rules.lines(self)
        moments = self._idle(now, faults)
        if not self.done:
            try:
                moments += [self._send(way, now, faults) for way in BOTH]
            except OSError:
                self.close()
        pipes = self._pipes.values()
        if all(pipe.closed or (pipe.broken and pipe.ended) for pipe in pipes):
            self.close()
        return min((moment for moment in moments if moment is not None), default=None)

    def close(self, *, reset: bool = False) -> None:
        """Have both sides closed; with `reset` the client sees an error at once."""
        self.done = True
        for end in self.sources.values() if reset else ():
            linger = struct.pack("ii", 1, 0)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def _idle(self, now: float, faults: Iterable[Line]) -> list[float | None]:
        """When the connection will have been idle for too long; closes it then."""
        limits = [fault.idle for fault in faults if fault.idle is not None]
        if any(now - self._active >= limit for limit in limits):
            self.close()
        return [self._active + limit for limit in limits]

    def _send(self, way: Direction, now: float, faults: list[Line]) -> float | None:
        pipe = self._pipes[way]
        if pipe.broken or any(way in fault.swallow for fault in faults):
            pipe.swallow()
            return None
        if any(way in fault.hold for fault in faults):
            return None
        sent, moment = pipe.send(now, faults)
        self._counters.bytes[way] += sent
        return moment

    def _pass_up(self, request: Request, now: float) -> None:
        self.seen[request.name] += 1
        self._counters.commands[request.name] += 1
        trap = self._rules.trap(self, request.name)
        if trap is not None and trap.answer is not None:
            self._due.append(trap)
            self._answer(now)
        elif trap is not None and trap.lose == "request":
            self._spring(trap)
        else:
            self._due.extend([trap] * request.replies)
            self._put("up", request.raw, now)

    def _pass_down(self, raw: bytes, pushed: bool, now: float) -> None:
        trap = self._due.popleft() if self._due and not pushed else None
        if trap is not None:
            self._spring(trap)
        else:
            self._put("down", raw, now)
        self._answer(now)

    def _answer(self, now: float) -> None:
        """Give the answers whose turn has come."""
        while self._due and (trap := self._due[0]) and trap.answer is not None:
            self._due.popleft()
            self._put("down", trap.answer, now)

    def _spring(self, trap: Trap) -> None:
        if trap.then == "silent":
            self._pipes["down"].broken = True
        elif trap.then != "pass":
            self.close(reset=trap.then == "reset")

    def _put(self, way: Direction, data: bytes, now: float) -> None:
        late = sum(fault.delay(way) for fault in self._rules.lines(self))
        self._pipes[way].put(data, now + late)
