"""`smartworker web --with-worker`: real processes, started and stopped as one."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from celery import Celery

import smartworker
from smartworker.settings import Settings
from smartworker.store.server import free_port
from tests.commands import ENTRY, environment
from tests.processes import wait_until

HERE = Path(__file__).parent
TOKEN = "t" * 40
BOTH = ("web", "worker")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@dataclass
class Pair:
    """A running command, the folder of its marks, and what it has written."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    @property
    def said(self) -> str:
        """All that came on stderr."""
        return (self.folder / "err").read_text()

    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines of both, without the last sentence of the command itself."""
        found = self.said.splitlines()
        return [json.loads(line) for line in found if not line.startswith("smartw")]

    def sentence(self) -> str:
        """What the command says when it fails."""
        return self.said.splitlines()[-1]

    def family(self) -> dict[int, str]:
        """All living processes that work in our folder, by their command lines."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (entry / "cwd").readlink() == self.folder:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = line.decode(errors="replace")
        return found

    def part(self, name: str) -> int:
        """The main process of a half."""
        words = f"smartworker.cli.main {name} -A paired"
        found = [pid for pid, line in self.family().items() if words in line]
        return min(set(found) - {self.process.pid})

    def has(self, mark: str) -> bool:
        """Whether a task has left its mark."""
        return (self.folder / mark).exists()

    def wait_until_ready(self) -> None:
        """Until the web process answers and the worker takes tasks."""

        def is_ready() -> bool:
            assert self.process.poll() is None, self.said
            with suppress(httpx.TransportError):
                answer = httpx.get(f"http://127.0.0.1:{self.port}/livez")
                return answer.status_code == 200 and '"worker_ready"' in self.said
            return False

        wait_until(is_ready)

    def call(self) -> str:
        """Trigger the job over HTTP; gives the id of its task."""
        url = f"http://127.0.0.1:{self.port}/api/cron/greet"
        answer = httpx.post(url, headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["task_id"])

    def how_it_stopped(self) -> list[str]:
        """What the worker took each signal for."""
        said = [line for line in self.lines() if line["event"] == "worker_stopping"]
        return [line["how"] for line in said]

    def is_gone(self) -> bool:
        """Whether nothing is left of it."""
        return self.family() == {}


Start = Callable[..., Pair]


@pytest.fixture
def start(redis_url: str, tmp_path: Path) -> Iterator[Start]:
    """Starts the command in a folder of its own; ends it with the test."""
    started: list[Pair] = []

    def run(*options: str, port: int | None = None) -> Pair:
        port = port or free_port()
        given = {
            "PORT": str(port),
            "PYTHONPATH": str(HERE),
            "PAIRED_MARKS": str(tmp_path),
            "SMARTWORKER_CRON_TOKENS": TOKEN,
        }
        with (tmp_path / "err").open("wb") as errors:
            process = subprocess.Popen(
                [*ENTRY, "web", "-A", "paired", "--host", "127.0.0.1", *options],
                env=environment(redis_url, **given),
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        started.append(Pair(process, port, tmp_path))
        return started[-1]

    yield run
    for pair in started:
        pair.process.kill()
        pair.process.wait()
        wait_until(pair.is_gone)


def queue(url: str, *marks: str, seconds: float = 0.0) -> None:
    """Messages of tasks that leave these marks."""
    made = Celery("producer", set_as_current=False)
    with smartworker.setup(made, Settings(redis_url=url)) as app:
        for mark in marks:
            app.send_task("paired.mark", (mark, seconds), ignore_result=True)


def waiting(url: str) -> int:
    """How many messages are in the queue."""
    with redis.Redis.from_url(url) as client:
        return int(client.llen("celery"))


# -- as it should be -------------------------------------------------------------------


def test_a_day_from_start_to_sigterm(start: Start, redis_url: str) -> None:
    """Work that waited is done, a call runs its task, and SIGTERM ends both well."""
    queue(redis_url, "waited")
    pair = start("--with-worker")
    pair.wait_until_ready()
    wait_until(lambda: pair.has("waited.done"))
    task_id = pair.call()
    wait_until(lambda: pair.has("greeted.done"))
    pair.process.terminate()
    assert pair.process.wait(20) == 0, pair.said
    assert pair.is_gone()
    events = {line["event"]: line for line in pair.lines()}
    assert events["trigger_accepted"]["task_id"] == task_id
    assert events["worker_stopping"]["how"] == "warm"
    assert {"task_finished", "web_report", "worker_report"} <= events.keys()


def test_running_tasks_end_and_others_go_back(start: Start, redis_url: str) -> None:
    """SIGTERM gives the worker the time that it needs, and takes nothing more."""
    pair = start("--with-worker", "--", "-c", "1")
    pair.wait_until_ready()
    queue(redis_url, "one", "two", seconds=1)
    wait_until(lambda: pair.has("one.begun"))
    pair.process.terminate()
    assert pair.process.wait(20) == 0, pair.said
    assert pair.has("one.done")
    assert not pair.has("two.begun")
    assert waiting(redis_url) == 1


def test_a_signal_for_all_processes_is_one(start: Start, redis_url: str) -> None:
    """Some platforms signal every process; a worker takes two for `at once`."""
    pair = start("--with-worker", "--", "-P", "threads", "-c", "1")
    pair.wait_until_ready()
    queue(redis_url, "one", seconds=1)
    wait_until(lambda: pair.has("one.begun"))
    for pid in pair.family():
        os.kill(pid, signal.SIGTERM)
    assert pair.process.wait(20) == 0, pair.said
    assert pair.has("one.done")
    assert pair.how_it_stopped() == ["warm"]


def test_a_second_signal_is_passed_on(start: Start, redis_url: str) -> None:
    """Running tasks are dropped and go back."""
    pair = start("--with-worker", "--", "-c", "1")
    pair.wait_until_ready()
    queue(redis_url, "long", seconds=60)
    wait_until(lambda: pair.has("long.begun"))
    pair.process.terminate()
    wait_until(lambda: '"worker_stopping"' in pair.said)
    # What comes sooner counts as the same signal.
    wait_until(lambda: '"Finished server process' in pair.said)
    pair.process.terminate()
    pair.process.wait(15)
    assert pair.is_gone()
    assert not pair.has("long.done")
    assert pair.how_it_stopped()[-1] == "cold"
    assert waiting(redis_url) == 1


# -- as it should not be ---------------------------------------------------------------


@pytest.mark.parametrize("name", BOTH)
def test_a_half_that_is_killed_takes_the_other_along(start: Start, name: str) -> None:
    """The command says which, and fails, so that the platform starts it anew."""
    pair = start("--with-worker")
    pair.wait_until_ready()
    os.kill(pair.part(name), signal.SIGKILL)
    assert pair.process.wait(20) == 1
    assert pair.sentence() == (
        f"smartworker: The {name} was killed by SIGKILL, so the rest was stopped."
    )
    assert pair.is_gone()


def test_nothing_outlives_the_command(start: Start) -> None:
    """Not even if it is killed with SIGKILL."""
    pair = start("--with-worker")
    pair.wait_until_ready()
    assert len(pair.family()) == 5
    pair.process.kill()
    pair.process.wait()
    wait_until(pair.is_gone, 5)


def test_a_wrong_option_of_the_worker(start: Start) -> None:
    """Celery says what is wrong with it, and the exit status is Celery's."""
    pair = start("--with-worker", "--", "--conkurrency", "1")
    assert pair.process.wait(20) == 2
    assert "No such option" in pair.said
    assert pair.sentence() == (
        "smartworker: The worker ended with status 2, so the rest was stopped."
    )
    assert pair.is_gone()


def test_a_port_that_is_in_use(start: Start) -> None:
    """The web process says so, and the worker does not stay behind."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        pair = start("--with-worker", port=port)
        assert pair.process.wait(20) == 78
    assert f"smartworker: PORT is {port}, which cannot be opened" in pair.said
    assert pair.is_gone()
    assert pair.sentence() == (
        "smartworker: The web ended with status 78, so the rest was stopped."
    )
