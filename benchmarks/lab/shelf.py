"""A backlog that is there at once, before a worker that is warm and idle."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from benchmarks.lab.backlog import fill
from benchmarks.lab.billing import Server
from benchmarks.lab.peers import Peer
from benchmarks.lab.processes import Bench, Sender, bench, sender

QUEUE, SHELF = "bench", "shelf"
#: A script, because an answer of LMOVE would carry the message and count as traffic.
RELEASE = """
redis.call("rename", KEYS[1], KEYS[2])
redis.call("lmove", KEYS[2], KEYS[2], "RIGHT", "LEFT")
"""
#: The worker is idle when it has begun nothing for so many seconds.
CALM_SECONDS = 0.2


@dataclass(frozen=True)
class Drained:
    """Tasks that ran within so many seconds, and what the server heard and said.

    The bytes are those of all tasks, the seconds without the first of them.
    """

    tasks: int
    seconds: float
    message_bytes: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True)
class Shelf:
    """One worker of a Celery app; tasks are laid up beside its queue."""

    server: Server
    bench: Bench
    sender: Sender

    def drain(self, backlog: int, most: int, size: int = 0) -> Drained:
        """Put `backlog` tasks before the worker, and look until `most` have begun.

        They are copied into another list (`benchmarks.lab.backlog`), which then takes
        the queue's name; turning it by one element rings for smartworker as an LPUSH
        would, and wakes a BRPOP. The clock runs from the first task that is seen to the
        last; the queue is thrown away then, and what the worker holds runs out.
        """
        client = self.server.client
        fill(self.sender, client, backlog, size, SHELF)
        message = len(str(client.lindex(SHELF, 0)))
        heard, said = self._traffic()
        before = self.bench.ticks()
        client.eval(RELEASE, 2, SHELF, QUEUE)
        self.bench.wait_for_ticks(before + 1)
        begun, first = time.perf_counter(), self.bench.ticks()
        self.bench.wait_for_ticks(before + min(most, backlog))
        seconds, last = time.perf_counter() - begun, self.bench.ticks()
        client.unlink(QUEUE)
        self._calm()
        more_heard, more_said = self._traffic()
        return Drained(
            last - first, seconds, message, more_heard - heard, more_said - said
        )

    def _traffic(self) -> tuple[int, int]:
        facts = self.server.client.info("stats")
        return facts["total_net_input_bytes"], facts["total_net_output_bytes"]

    def _calm(self) -> None:
        seen = -1
        while self.bench.ticks() > seen:
            seen = self.bench.ticks()
            time.sleep(CALM_SECONDS)


@contextmanager
def shelf(peer: Peer) -> Iterator[Shelf]:
    """A worker that has run its first tasks, on a server of its own."""
    with (
        Server() as server,
        bench(peer, server.url) as made,
        sender(replace(made, queues=SHELF)) as sends,
    ):
        made.start()
        found = Shelf(server, made, sends)
        found.drain(20, 20)
        yield found
