"""Workers and senders of a peer as real processes, and what they use."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.lab.peers import Peer
from smartworker.leash import leashed

#: Seconds after which a worker counts as one that does not start.
PATIENCE = 60.0
STOP_SECONDS = 5.0


@dataclass
class Bench:
    """One peer on one server: its workers, its sender, its notebook.

    Tasks note what they did in files: `noop` a byte in `ticks`, `stamp` a line of
    seconds in the file of its series. A byte costs two microseconds and no command.
    """

    peer: Peer
    url: str
    notes: Path
    queues: str = "bench"
    results: bool = True
    workers: list["Worker"] = field(default_factory=list)

    def start_worker(self, url: str | None = None) -> "Worker":
        """One more worker; `url` is where it finds the server if a link is between."""
        number = len(self.workers)
        worker = Worker(self, number, url or self.url)
        self.workers.append(worker)
        return worker

    def start(self, count: int = 1) -> None:
        """So many workers, each of which runs tasks when this returns.

        Each tells by a file of its own that it takes tasks.
        """
        for _ in range(count):
            self.start_worker()
        self.wait_until(lambda: all(w.is_up() for w in self.workers), "the workers")

    def ticks(self) -> int:
        """How many `noop` tasks have run so far."""
        path = self.notes / "ticks"
        return path.stat().st_size if path.exists() else 0

    def stamps(self, series: str) -> list[float]:
        """Seconds from the call that sent a `stamp` to its first line, in order."""
        path = self.notes / series
        return [float(x) for x in path.read_text().split()] if path.exists() else []

    def wait_until(
        self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE
    ) -> None:
        """Look each millisecond. Raises SystemExit with the workers' last words."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                said = "\n".join(worker.said() for worker in self.workers)
                raise SystemExit(
                    f"{self.peer.title}: {what} did not come in {seconds:.0f} s\n{said}"
                )
            time.sleep(0.001)

    def wait_for_ticks(self, count: int, seconds: float = PATIENCE) -> None:
        """Until so many `noop` tasks have run in all."""
        self.wait_until(lambda: self.ticks() >= count, f"task {count}", seconds)

    def environment(self, url: str) -> dict[str, str]:
        """Of a process at this end of a link."""
        return self.peer.environment(url, self.notes, self.queues, results=self.results)


class Worker:
    """A worker process with its children."""

    def __init__(self, bench: Bench, number: int, url: str) -> None:
        command = bench.peer.command(bench.queues, f"w{number}")
        self._log = bench.notes / f"worker-{number}.log"
        self._mark = bench.notes / f"up-{number}"
        self.begun = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                leashed([str(bench.peer.interpreter()), *command]),
                cwd=bench.peer.directory,
                env={**bench.environment(url), "BENCH_MARK": str(self._mark)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def is_up(self) -> bool:
        """Whether it has said that it takes tasks now: its app touches a file."""
        return self._mark.exists()

    def said(self, characters: int = 2000) -> str:
        """The end of what it wrote."""
        return self._log.read_text(errors="replace")[-characters:]

    def pids(self) -> list[int]:
        """Its process id and those of all its descendants."""
        parents = dict(_parents())
        found = [self._process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def pss(self) -> int:
        """Proportional set size of all its processes, in bytes."""
        return sum(map(_pss, self.pids()))

    def cpu(self) -> float:
        """Seconds of processor time of all its processes, the ended ones included."""
        return sum(map(_cpu, self.pids()))

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """SIGTERM, then SIGKILL for what is left after so many seconds."""
        left = self.pids()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


class Sender:
    """A process that queues tasks with the peer's own client, as a web process does."""

    def __init__(self, bench: Bench, url: str | None = None) -> None:
        self._log = bench.notes / "sender.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                leashed([str(bench.peer.interpreter()), "../driver.py"]),
                cwd=bench.peer.directory,
                env=bench.environment(url or bench.url),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.ask(do="ready")

    def ask(self, **order: Any) -> dict[str, Any]:
        """Send one order of `peers/driver.py` and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            said = self._log.read_text(errors="replace")[-2000:]
            raise SystemExit(f"the sender died of {order}\n{said}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def noop(self, count: int = 1, size: int = 0, *, group: bool = False) -> float:
        """Queue so many tasks with payloads of `size` bytes; the seconds it took."""
        order = {"do": "noop", "count": count, "size": size, "group": group}
        return float(self.ask(**order)["seconds"])

    def stamp(self, series: str) -> None:
        """Queue one task that notes how late it began."""
        self.ask(do="stamp", series=series)

    def close(self) -> None:
        """End it."""
        with self._process:
            self._process.kill()


@contextmanager
def bench(
    peer: Peer, url: str, *, queues: int = 1, results: bool = True
) -> Iterator[Bench]:
    """A bench in a folder of its own; its workers end with it."""
    names = ",".join(["bench", *(f"bench{n}" for n in range(2, queues + 1))])
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        made = Bench(peer, url, Path(folder), names, results)
        try:
            yield made
        finally:
            for worker in made.workers:
                worker.stop()


@contextmanager
def sender(bench: Bench, url: str | None = None) -> Iterator[Sender]:
    """A sender that ends with the block."""
    with ExitStack() as stack:
        made = Sender(bench, url)
        stack.callback(made.close)
        yield made


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            yield int(entry.parent.name), int(_fields(entry)[1])


def _fields(stat: Path) -> Sequence[str]:
    # After the name in parentheses, which may hold spaces: state, parent, ...
    return stat.read_text().rpartition(")")[2].split()


def _pss(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _cpu(pid: int) -> float:
    with suppress(OSError):
        # The processor clock of a process (clock_getcpuclockid(3)) counts nanoseconds;
        # /proc/PID/stat counts ticks of 10 ms, and only there stand ended children.
        own = time.clock_gettime(~pid << 3 | 2)
        fields = _fields(Path(f"/proc/{pid}/stat"))
        return own + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return 0.0
