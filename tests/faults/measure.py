"""What a fault costs: commands, connections, and what the operating system sees."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

from smartworker.store.meter import is_billed
from smartworker.testing import commandstats
from tests.faults.proxy import FaultProxy
from tests.processes import WorkerProcess

#: Commands of a task that a worker takes, runs, and stores the result of.
PER_TASK = Counter({"LMOVE": 1, "LREM": 1, "SET": 1})


class Spent:
    """The billed commands through a proxy since this was made."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self._before = self._counts()
        self._connections = proxy.counters.connections

    def _counts(self) -> Counter[str]:
        return Counter(self._proxy.counters.commands)

    def commands(self, tasks: int = 0) -> Counter[str]:
        """By name, without what so many tasks cost anyway."""
        found = self._counts() - self._before
        for name in list(found):
            if not is_billed(name.lower()):
                del found[name]
        for name, count in PER_TASK.items():
            found[name] -= count * tasks
        return +found

    def total(self, tasks: int = 0) -> int:
        """All of them."""
        return self.commands(tasks).total()

    @property
    def connections(self) -> int:
        """Connections that were opened."""
        return self._proxy.counters.connections - self._connections


class Seen:
    """The billed commands that the server has seen since this was made.

    Without those that only tests send.
    """

    OURS = frozenset(
        {"client|list", "client|kill", "client|id", "keys", "llen", "zrange", "time"}
    )

    def __init__(self, client: Any) -> None:
        self._client = client
        self._before = Counter(commandstats(client))

    def commands(self) -> Counter[str]:
        """By name, as `INFO commandstats` writes it."""
        found = Counter(commandstats(self._client)) - self._before
        for name in list(found):
            if name in self.OURS or not is_billed(name):
                del found[name]
        return found


def processor_seconds(pid: int) -> float:
    """What a process has used of a processor so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(worker: WorkerProcess) -> int:
    """The files and sockets that a worker's main process has open."""
    return len(list(Path(f"/proc/{worker.process.pid}/fd").iterdir()))


def threads(worker: WorkerProcess) -> int:
    """The threads of a worker's main process."""
    return len(list(Path(f"/proc/{worker.process.pid}/task").iterdir()))
