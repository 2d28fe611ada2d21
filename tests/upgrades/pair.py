"""Two releases on one server: a worker, a web process and a hand of each."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from smartworker.store.server import free_port
from tests.commands import environment
from tests.faults.stage import never_open
from tests.processes import WorkerProcess, wait_until

HERE = Path(__file__).parent
OLD, NEW = RELEASES = ("old", "new")
TOKEN = "t" * 40
START_SECONDS = 40


@dataclass
class Stage:
    """A server, and the folders of the release before and of what the tasks write."""

    url: str
    previous: Path
    folder: Path
    lease: str = "10s"
    workers: list[WorkerProcess] = field(default_factory=list)
    #: When the nightly jobs are due: three minutes ago, for all processes.
    slot: datetime = field(
        default_factory=lambda: datetime.now(UTC) - timedelta(minutes=3)
    )

    def __post_init__(self) -> None:
        """Nothing is written yet."""
        self.gates.mkdir(parents=True)
        self.record.touch()

    @property
    def record(self) -> Path:
        """What the tasks write."""
        return self.folder / "record"

    @property
    def gates(self) -> Path:
        """Where tasks wait."""
        return self.folder / "gates"

    def environment(self, release: str) -> dict[str, str]:
        """Of a process of this release."""
        path = [str(self.previous)] * (release == OLD) + [str(HERE)]
        return environment(
            self.url,
            PYTHONPATH=os.pathsep.join(path),
            SHOP_PREVIOUS=str(self.previous),
            SHOP_RECORD=str(self.record),
            SHOP_GATES=str(self.gates),
            SHOP_SLOT=f"{self.slot:%M %H} * * *",
            SMARTWORKER_LEASE=self.lease,
            SMARTWORKER_QUIET_POLL="2s",
            SMARTWORKER_WINDOWS=never_open(),
            SMARTWORKER_CRON_TOKENS=TOKEN,
        )

    def spawn(self, release: str, name: str, *args: str) -> WorkerProcess:
        """A worker of this release that has just been started."""
        given = self.environment(release)
        args = ("-n", f"{name}@here", "-c", "2", *args)
        worker = WorkerProcess(
            HERE, self.url, *args, app="shop", cwd=self.folder, **given
        )
        self.workers.append(worker)
        return worker

    def lines(self) -> list[list[str]]:
        """What the tasks have said: name, number, release, run, attempt, time."""
        return [line.split() for line in self.record.read_text().splitlines()]

    def ran(self, number: str) -> list[str]:
        """The releases on which this number began, in order."""
        return [line[2] for line in self.lines() if line[1] == number]

    def began(self, number: str) -> float:
        """When this number began last, in seconds of the wall clock."""
        return max(float(line[5]) for line in self.lines() if line[1] == number)

    def wait_for(self, *numbers: str, seconds: float = 30) -> None:
        """Until each of these has begun."""
        wait_until(
            lambda: set(numbers) <= {line[1] for line in self.lines()},
            seconds,
            f"the start of {numbers}",
        )

    def close(self) -> None:
        """End whatever is left."""
        for worker in self.workers:
            worker.kill()


class Hand:
    """A process that does what it is told, as a producer of one release."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "hand.py")],
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def say(self, expression: str) -> None:
        """Begin something; `hear` has its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(expression + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        """The answer to what was said."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the hand has ended: its error is above"
        return json.loads(line)

    def ask(self, expression: str) -> Any:
        """What an expression is, over there."""
        self.say(expression)
        return self.hear()

    def close(self) -> None:
        """End it."""
        with self._process as process:
            process.kill()


@dataclass
class Release:
    """One release: who works, who serves, who does what the test says."""

    name: str
    worker: WorkerProcess
    hand: Hand
    web: httpx.Client


@contextmanager
def web(environment: dict[str, str], folder: Path) -> Iterator[httpx.Client]:
    """A web process, and a client that may trigger everything."""
    port = free_port()
    command = [sys.executable, "-m", "smartworker.cli.main", "web", "-A", "shop"]
    with ExitStack() as stack:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1"],
            env={**environment, "PORT": str(port)},
            cwd=folder,
            stderr=stack.enter_context((folder / f"web-{port}").open("wb")),
        )
        stack.callback(process.wait, 10)
        stack.callback(process.terminate)
        yield stack.enter_context(
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}",
                headers={"Authorization": f"Bearer {TOKEN}"},
                timeout=30,
                trust_env=False,
            )
        )


def is_up(client: httpx.Client) -> bool:
    """Whether a web process answers."""
    try:
        return client.get("/livez").is_success
    except httpx.TransportError:
        return False


@contextmanager
def both(stage: Stage) -> Iterator[dict[str, Release]]:
    """Both releases at work; each worker consumes the queue with its name."""
    with ExitStack() as stack:
        stack.callback(stage.close)
        found: dict[str, Release] = {}
        for name in RELEASES:
            given = stage.environment(name)
            worker = stage.spawn(name, name, "-Q", name)
            hand = Hand(given, stage.folder)
            stack.callback(hand.close)
            client = stack.enter_context(web(given, stage.folder))
            found[name] = Release(name, worker, hand, client)
        for release in found.values():
            assert release.hand.ask("RELEASE") == release.name
            release.worker.wait_for("worker_ready", seconds=START_SECONDS)
            wait_until(lambda client=release.web: is_up(client), START_SECONDS)
        yield found
