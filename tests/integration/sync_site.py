"""The sync example as real processes whose every part can be hurt."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import redis

from smartworker.examples.sync.changes import State
from smartworker.examples.sync.database import Database
from smartworker.examples.sync.outbox import Outbox
from smartworker.store import keys
from smartworker.store.server import free_port
from tests.faults.server import FaultServer
from tests.processes import WorkerProcess, wait_until

APP = "smartworker.examples.sync.app"
TOKEN = "t" * 40
BEARER = {"Authorization": f"Bearer {TOKEN}"}
#: How often a refresh is asked for, 20 s each.
TRIES = 3
OPEN = (State.WAITING.value, State.QUEUED.value)


class Process:
    """A module as a process that is ready when its port takes requests."""

    def __init__(
        self, *command: str, port: int, log: Path, probe: str, **env: str
    ) -> None:
        self.port = port
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env={**os.environ, **env},
                stdout=subprocess.DEVNULL,
                stderr=file,
                start_new_session=True,
            )
        wait_until(lambda: self._answers(probe), what=command[-1])

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def threads(self) -> int:
        """How many threads it has."""
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def kill(self) -> None:
        """SIGKILL."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def _answers(self, probe: str) -> bool:
        try:
            return httpx.get(self.url + probe, trust_env=False).status_code < 500
        except httpx.HTTPError:
            return False


class SyncSite:
    """Broker, roster service, web process and workers, each on its own."""

    def __init__(self, stack: ExitStack, home: Path, **env: str) -> None:
        self.home = home
        self.broker = stack.enter_context(FaultServer(directory=home / "broker"))
        self.env = {
            "DATABASE_URL": f"sqlite:///{home / 'sync.sqlite3'}",
            "REDIS_URL": self.broker.url,
            "SYNC_ROSTER_URL": "",
            "SYNC_FIRST_RETRY_SECONDS": "0.1",
            "SMARTWORKER_CRON_TOKENS": TOKEN,
            "SMARTWORKER_LEASE": "2s",
            **env,
        }
        self.outbox = Outbox(Database(self.env["DATABASE_URL"]))
        self.workers: list[WorkerProcess] = []
        self._ports = free_port(), free_port()
        self.roster = self.start_roster()
        self.env["SYNC_ROSTER_URL"] = self.roster.url
        self.web = self.start_web()
        stack.callback(self.close)

    def close(self) -> None:
        """End what still runs."""
        for worker in self.workers:
            worker.kill()
        for process in (self.web, self.roster):
            if process.process.poll() is None:
                process.kill()

    def start_roster(self) -> Process:
        """The roster service, which has a journal and is in a good mood."""
        port = self._ports[0]
        return Process(
            "smartworker.examples.sync.roster",
            *("--port", str(port), "--mood", "good"),
            *("--journal", str(self.home / "journal")),
            port=port,
            log=self.home / "roster.log",
            probe="/log",
        )

    def start_web(self) -> Process:
        """The web process."""
        port = self._ports[1]
        self.web = Process(
            "smartworker.examples.serve",
            f"{APP.removesuffix('.app')}.web:app",
            *("--port", str(port)),
            port=port,
            log=self.home / "web.log",
            probe="/worker/livez",
            **self.env,
        )
        return self.web

    def start_worker(self, concurrency: int = 4, **env: str) -> WorkerProcess:
        """A worker that is ready."""
        options = ("-c", str(concurrency), "-n", f"w{len(self.workers)}@%h")
        settings = {**self.env, **env}
        url = settings.pop("REDIS_URL")
        worker = WorkerProcess(self.home, url, *options, app=APP, **settings)
        self.workers.append(worker)
        worker.wait_for("worker_ready")
        return worker

    def stop_worker(self, worker: WorkerProcess) -> int:
        """SIGTERM; the exit status."""
        self.workers.remove(worker)
        status = worker.stop()
        worker.kill()
        return status

    def call(self, method: str, path: str, **body: Any) -> httpx.Response:
        """A request to the web process."""
        return httpx.request(
            method, self.web.url + path, json=body, trust_env=False, timeout=10
        )

    def save(self, event: str, employee: str = "ann") -> dict[str, Any]:
        """A new schedule."""
        answer = self.call(
            "POST",
            "/save_schedule",
            event_id=event,
            employee_id=employee,
            start="2026-11-21T09:30",
        )
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def move(self, number: int, minute: int) -> dict[str, Any]:
        """Another time for a schedule."""
        start = f"2026-11-22T{minute // 60:02}:{minute % 60:02}"
        answer = self.call("POST", "/api/reschedule", schedule_id=number, start=start)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def refresh(self) -> dict[str, Any]:
        """The hourly job, now; its result."""
        key = {"Idempotency-Key": str(time.monotonic_ns())}
        queued = httpx.post(
            f"{self.web.url}/worker/api/cron/refresh",
            headers=BEARER | key,
            trust_env=False,
        )
        assert queued.status_code == 202, queued.text
        status: dict[str, Any] = {"state": "RETRY"}
        for _ in range(TRIES):
            # The roster service may have been in a bad mood: it is asked again.
            if status["state"] == "RETRY":
                status = self._status(queued.json()["task_id"])
        assert status["state"] == "SUCCESS", status
        # A broker that is killed before would keep the job's lease for a minute.
        with redis.Redis.from_url(self.broker.url) as client:
            wait_until(lambda: not client.exists(keys.running("refresh")))
        found: dict[str, Any] = status["result"]
        return found

    def _status(self, task_id: str) -> dict[str, Any]:
        """What became of a task, after 20 s at the latest."""
        answer = httpx.get(
            f"{self.web.url}/worker/api/tasks/{task_id}?wait=20",
            trust_env=False,
            timeout=30,
        )
        return dict(answer.json())

    def mood(self, mood: str, share: float = 1.0, **weather: Any) -> None:
        """How the roster service treats requests from now on."""
        answer = httpx.put(
            f"{self.roster.url}/mood",
            json={"mood": mood, "share": share, "rate": None, **weather},
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text

    def heard(self, number: int | None = None) -> list[dict[str, Any]]:
        """What the roster service has done, of one schedule or in all."""
        events = httpx.get(f"{self.roster.url}/log", trust_env=False).json()["events"]
        start = "" if number is None else f"schedule-{number}-"
        return [event for event in events if event["key"].startswith(start)]

    def replays(self) -> int:
        """How often it was asked again for what it had done."""
        log = httpx.get(f"{self.roster.url}/log", trust_env=False).json()
        return int(log["replays"])

    def wait_until_drained(self, seconds: float = 20) -> float:
        """Until no change is on its way."""
        return wait_until(lambda: not self.on_their_way(), seconds, "an empty outbox")

    def settle(self, seconds: float = 60) -> None:
        """The same; what rests because luck was bad four times is taken up again."""

        def is_empty() -> bool:
            counts = self.outbox.counts()
            if counts["waiting"] and not counts["queued"] and not self.due():
                self.refresh()
            return not self.on_their_way()

        wait_until(is_empty, seconds, "an empty outbox")

    def on_their_way(self) -> int:
        """How many changes are."""
        counts = self.outbox.counts()
        return sum(counts[state] for state in OPEN)

    def due(self) -> int:
        """How many changes a message should be sent for."""
        return len(self.outbox.ready(datetime.now(UTC)))


def sequences(events: list[dict[str, Any]]) -> dict[str, list[int]]:
    """The numbers of each object's changes, in the order in which they were made."""
    found: dict[str, list[int]] = {}
    for event in events:
        name, number, _ = event["key"].rsplit("-", 2)
        found.setdefault(name, []).append(int(number))
    return found


@contextmanager
def sync_site(home: Path, **env: str) -> Iterator[SyncSite]:
    """A site without workers."""
    with ExitStack() as stack:
        yield SyncSite(stack, home, **env)


def timed(call: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    begun = time.monotonic()
    call()
    return time.monotonic() - begun
