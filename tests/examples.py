"""Examples as a person starts them: `python -m smartworker.examples.<name>`."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import redis

from smartworker.budget import simulate
from smartworker.cron.registry import Jobs
from smartworker.cron.slots import slot_of
from smartworker.policy import Policy
from smartworker.settings import Settings
from smartworker.store.meter import UNBILLED
from smartworker.store.server import EmbeddedServer, free_port
from smartworker.testing import commandstats
from smartworker.worker.overview import declared
from tests.processes import wait_until
from tests.programs import program

#: What clients send who wait for a task, and a worker that has nothing to do.
WATCHING = {"get", "exists", "subscribe", "unsubscribe", "psubscribe", "punsubscribe"}
#: A day without a change of the clocks.
DAY = datetime(2026, 11, 21, 5, tzinfo=UTC)

TOKEN = "t" * 40
BEARER = {"Authorization": f"Bearer {TOKEN}"}
STOP_SECONDS = 10
README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
KEPT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Cost:
    """A row of the table that the README shows; all but the first are commands."""

    application: str
    idle_day: int
    per_trigger: int
    per_task: int
    jobs_a_month: int

    @property
    def figures(self) -> str:
        """The row's figures as they stand in the README."""
        return (
            f"| {self.idle_day:,} | {self.per_trigger:,} | {self.per_task:,} "
            f"| {self.jobs_a_month:,} |"
        )

    def is_in_the_readme(self) -> bool:
        """Whether the main README says the same of this application."""
        link = f"(smartworker/examples/{self.application}/README.md)"
        lines = README.splitlines()
        rows = [line for line in lines if line.startswith("| [") and link in line]
        return [line.endswith(self.figures) for line in rows] == [True]

    @classmethod
    def planned(
        cls, application: str, jobs: Jobs, *, trigger: int, task: int, workers: int = 1
    ) -> "Cost":
        """What was measured, and beside it what is planned for a day and the jobs."""
        settings = Settings()
        policy = Policy(settings.windows, settings.quiet_poll)
        day = simulate(policy, DAY, DAY + timedelta(days=1), workers=workers)
        rows = declared(jobs, settings, DAY, workers=workers)
        month = sum(row.month_commands or 0 for row in rows)
        return cls(application, day.commands, trigger, task, month)


@dataclass
class Example:
    """A running example, its own server, and a client that asks its web process."""

    process: subprocess.Popen[str]
    client: httpx.Client
    redis: "redis.Redis[Any]"
    err: Path
    greeting: list[str] = field(default_factory=list)
    _before: dict[str, int] = field(default_factory=dict)

    def wait_until_started(self) -> None:
        """Return when the greeting is there to its end."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.greeting.append(line.rstrip("\n"))
            if len(self.greeting) > 2 and not line.strip() and "curl" in self.text():
                return
        raise AssertionError(self.log())

    def text(self) -> str:
        """What was greeted with so far."""
        return "\n".join(self.greeting)

    def log(self) -> str:
        """What the parts have written."""
        return self.err.read_text()

    def billed(self) -> dict[str, int]:
        """The billed commands since the last call, by name.

        Without the rows of the processes, which come whenever enough was sent, and
        without what these tests look with.
        """
        now = commandstats(self.redis)
        before, self._before = self._before, now
        return {
            name: count - before.get(name, 0)
            for name, count in now.items()
            if count != before.get(name, 0)
            and name.partition("|")[0] not in {*UNBILLED, "config", "hset", "keys"}
        }

    def settle(self) -> None:
        """Return once no message waits or is under way: its last command was sent."""
        wait_until(
            lambda: not self.redis.keys("smartworker:inflight:*"), what="an idle worker"
        )

    @contextmanager
    def stopped(self, words: str) -> Iterator[None]:
        """The part whose command line has these words does nothing meanwhile."""
        pid = self.part(words)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def part(self, words: str) -> int:
        """The process id of the first part whose command line has these words."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if (entry / "cwd").readlink() == self.err.parent and words in line:
                    found.append(int(entry.name))
        return min(found)

    def final(self, task_id: str, seconds: float = 30) -> dict[str, Any]:
        """The status of a task once it is final."""
        deadline = time.monotonic() + seconds
        status: dict[str, Any] = {}
        while time.monotonic() < deadline:
            # Answered as soon as there is another state.
            answer = self.client.get(f"/api/tasks/{task_id}", params={"wait": 10})
            status = answer.json()
            if status.get("state") in {"SUCCESS", "FAILURE", "REVOKED"}:
                return status
        raise AssertionError(f"{status}\n{self.log()}")


def slot_records(jobs: Jobs, name: str) -> int:
    """How many commands more a call with a key costs now: it may count for a slot."""
    slot = slot_of(jobs.get(name), datetime.now(UTC))
    return int(slot is not None and slot.scheduled)


def curl(line: str) -> dict[str, Any]:
    """The answer to a printed line, run as it stands."""
    program("curl")
    words = [*shlex.split(line), "--silent", "--fail-with-body", "--max-time", "20"]
    done = subprocess.run(words, capture_output=True, check=True, timeout=30)
    return dict(json.loads(done.stdout))


@contextmanager
def running(name: str, directory: Path, **environment: str) -> Iterator[Example]:
    """An example that is ready, in a directory of its own, with a server of its own.

    It ends with SIGTERM, and must do so within some seconds and with status 0.
    """
    port = free_port()
    clean = {key: os.environ[key] for key in KEPT if key in os.environ}
    err = directory / "err"
    with (
        EmbeddedServer() as server,
        err.open("wb") as err_file,
        redis.Redis.from_url(server.url) as client,
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=35, trust_env=False
        ) as web,
        subprocess.Popen(
            [sys.executable, "-m", f"smartworker.examples.{name}"],
            cwd=directory,
            env={
                **clean,
                "TMPDIR": str(directory),
                "PORT": str(port),
                "REDIS_URL": server.url,
                "SMARTWORKER_CRON_TOKENS": TOKEN,
                "SMARTWORKER_LOG_FORMAT": "json",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=err_file,
            text=True,
        ) as process,
    ):
        example = Example(process, web, client, err)
        try:
            example.wait_until_started()
            example.billed()
            yield example
            process.terminate()
            assert process.wait(STOP_SECONDS) == 0, example.log()
        finally:
            process.kill()
