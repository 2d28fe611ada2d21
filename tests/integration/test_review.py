"""The review of what a real worker and a real web process have logged."""

import gzip
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.commands import ENTRY, environment
from tests.integration.conftest import Counter, StartWorker
from tests.processes import wait_until

HERE = Path(__file__).parent
TOKEN = "t" * 40
WRONG = "w" * 40
PROJECT = {
    "PYTHONPATH": str(HERE),
    "SMARTWORKER_TASKS": "nightshift",
    "SMARTWORKER_CRON_TOKENS": TOKEN,
}


@dataclass
class Web:
    """A web process, a client for it, and its log."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    log: Path

    def trigger(self, job: str, token: str = TOKEN, key: str = "1") -> int:
        """The status of one call."""
        headers = {
            "Authorization": f"Bearer {token}",
            "Idempotency-Key": f"{job}-{key}",
        }
        return self.client.post(f"/api/cron/{job}", headers=headers).status_code

    def stop(self) -> None:
        """SIGTERM, and wait until it has ended."""
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def web(redis_url: str, tmp_path: Path) -> Iterator[Web]:
    """A web process that answers."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    log = tmp_path / "web.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*ENTRY, "web", "--no-doctor", "--host", "127.0.0.1"],
            env=environment(redis_url, PORT=str(port), **PROJECT),
            stderr=out,
        )
    address = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=address, trust_env=False, timeout=10) as client:
        wait_until(lambda: answers(client))
        found = Web(process, client, log)
        yield found
        found.stop()


def answers(client: httpx.Client) -> bool:
    """Whether the web process is there."""
    try:
        return client.get("/livez").is_success
    except httpx.TransportError:
        return False


def reviewed(*files: Path, status: int) -> dict[str, Any]:
    """What `review --today --json` says, without Redis and without an application."""
    env = environment("", SMARTWORKER_TIMEZONE="UTC")
    del env["REDIS_URL"]
    done = subprocess.run(
        [*ENTRY, "review", "--today", "--json", *map(str, files)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_review_of_both_halves(
    start_worker: StartWorker,
    counter: Counter,
    web: Web,
    tmp_path: Path,
) -> None:
    """Runs, refusals, delays and commands, as they were; one file is packed."""
    # A day must not end between the first line and the last one.
    time.sleep(max(0.0, 120 - (86_400 - time.time() % 86_400)))
    worker = start_worker("-c", "1", app="smartworker.app", **PROJECT)
    worker.wait_for("worker_ready")
    assert web.trigger("refresh") == 202
    assert web.trigger("refresh") == 202  # a duplicate
    assert web.trigger("refresh", key="2") == 202
    assert web.trigger("fail") == 202
    assert web.trigger("refresh", token=WRONG) == 401
    worker.wait_for("task_finished", 2)
    worker.wait_for("task_failed", 1)
    assert worker.stop() == 0
    worker.wait_for("worker_report")
    (said,) = worker.events("worker_report")
    web.stop()
    sent = counter.billed()
    billed = sum(sent.values())
    packed = tmp_path / "worker.log.gz"
    packed.write_bytes(gzip.compress(worker.text.encode()))

    report = reviewed(packed, web.log, status=1)
    day = report["day"]
    jobs = {job["job"]: job for job in day["jobs"]}
    assert (jobs["refresh"]["ok"], jobs["refresh"]["duplicate"]) == (2, 1)
    assert (jobs["fail"]["ok"], jobs["fail"]["failed"]) == (0, 1)
    assert jobs["refresh"]["start_delay"]["count"] == 2
    assert 0 <= jobs["refresh"]["start_delay"]["longest"] < 20
    tasks = {task["task"]: task for task in day["tasks"]}
    assert tasks["nightshift.add"]["ok"] == 2
    (group,) = [one for one in day["errors"] if one["event"] == "task_failed"]
    assert group["cause"].startswith("ValueError: the printer is on fire")
    (refusal,) = day["refusals"]
    assert (refusal["address"], refusal["count"]) == ("127.0.0.1", 1)
    assert [start["how"] for start in day["starts"]] == ["ready", "stopping"]
    assert day["polls"]["made"] == said["polls"] >= 1
    # Nothing is sent by anybody that does not stand in the report.
    assert day["commands"]["total"] == billed, (sent, day["commands"])
    assert day["commands"]["by_cause"]["poll"] == said["polls"]
    assert [reason["kind"] for reason in report["reasons"]] == ["failed"]
    assert report["reading"]["broken"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_that_stops_says_what_it_cost(
    start_worker: StartWorker, counter: Counter, number: int, pool: str
) -> None:
    """Once, warm or cold, and it leaves out none of its commands."""
    counter.billed()
    worker = start_worker("-c", "1", "-P", pool)
    worker.send(number)
    worker.process.wait(20)
    worker.wait_for("worker_report")
    (said,) = worker.events("worker_report")
    assert said["billed"] == sum(counter.billed().values())
