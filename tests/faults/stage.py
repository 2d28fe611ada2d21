"""The stage of one fault test: its workers, their record, and questions to a server."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import redis

from smartworker.store import keys
from smartworker.store.dead import DeadLetter, DeadLetters
from smartworker.store.leases import Leases
from tests.faults.record import Record
from tests.processes import WorkerProcess, wait_until

ROOT = Path(__file__).parent.parent.parent
PROJECT = "tests.faults.faulty"
#: Seconds that a message is a worker's without a sign of life, `L` of the matrix.
LEASE = 6.0
#: Seconds between two polls, `I` of the matrix: in a window.
PEAK = 2.0
QUEUE = "celery"
#: A boot takes about a second; several at once on a busy machine take longer.
READY_SECONDS = 30.0


class Stage:
    """Everything that a row of the matrix needs."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.record = Record(folder / "record")
        self.gate = folder / "gate"
        self.client = redis.Redis.from_url(url, socket_timeout=5)
        self.workers: list[WorkerProcess] = []
        #: The project as a producer; the fixture fills it in.
        self.project: Any = None

    # -- workers -------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """What the project reads."""
        return {
            "FAULTY_LOG": str(self.record.path),
            "FAULTY_GATE": str(self.gate),
            "SMARTWORKER_LEASE": f"{LEASE:g}s",
            "SMARTWORKER_QUIET_POLL": f"{PEAK:g}s",
            "SMARTWORKER_WINDOWS": never_open(),
        }

    def spawn(self, *args: str, url: str | None = None, **env: str) -> WorkerProcess:
        """A worker that has just been started."""
        environment = {**self.environment, **env}
        worker = WorkerProcess(ROOT, url or self.url, *args, app=PROJECT, **environment)
        self.workers.append(worker)
        return worker

    def start(self, *args: str, url: str | None = None, **env: str) -> WorkerProcess:
        """A worker that is ready."""
        worker = self.spawn(*args, url=url, **env)
        worker.wait_for("worker_ready", seconds=READY_SECONDS)
        return worker

    def close(self) -> None:
        """End whatever is left."""
        for worker in self.workers:
            worker.kill()
        self.client.close()

    # -- tasks ---------------------------------------------------------------------

    def publish(self, task: str, numbers: Iterable[object], **arguments: Any) -> None:
        """Queue a task once for each number."""
        for number in numbers:
            getattr(self.project, task).delay(number, **arguments)

    def open_gate(self) -> None:
        """Let the tasks that wait go on."""
        self.gate.touch()

    def started(self, count: int, seconds: float = 20.0) -> float:
        """Until so many tasks have begun; how many seconds that took."""
        return wait_until(
            lambda: len(self.record.runs()) >= count, seconds, f"{count} starts"
        )

    def done(self, numbers: Iterable[object], seconds: float = 20.0) -> float:
        """Until all of these were done; how many seconds that took."""
        wanted = list(numbers)
        return wait_until(
            lambda: not self.record.lost(wanted), seconds, f"all of {len(wanted)} done"
        )

    # -- the server ----------------------------------------------------------------

    def queue(self) -> list[bytes]:
        """What waits, the next one to be taken first."""
        return list(reversed(self.client.lrange(QUEUE, 0, -1)))

    def in_flight(self) -> dict[str, int]:
        """The in-flight lists, and how much is in each."""
        names = self.client.keys(f"{keys.INFLIGHT}*")
        return {name.decode(): self.client.llen(name) for name in names}

    def held(self) -> int:
        """How many messages are in flight."""
        return sum(self.in_flight().values())

    def unreachable(self) -> set[str]:
        """In-flight lists that no lease names: nobody would ever look there."""
        # Read in this order: a lease is written before its list, and goes after it.
        lists = self.in_flight()
        return set(lists) - set(Leases(self.client).read())

    def dead(self) -> list[DeadLetter]:
        """The dead letters."""
        return list(DeadLetters(self.client).all())

    def settled(self, seconds: float = 20.0) -> None:
        """Until nothing waits and nothing is in flight."""
        wait_until(
            lambda: not self.client.llen(QUEUE) and not self.in_flight(),
            seconds,
            "an empty queue and nothing in flight",
        )


def never_open() -> str:
    """A window that is not open now and will not open during the test."""
    start = datetime.now(UTC) + timedelta(hours=6)
    return f"{start:%H:00}-{start + timedelta(hours=1):%H:00}=30s@UTC"
