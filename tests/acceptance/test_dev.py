"""`smartworker dev` as a person uses it: start, three curl lines, Ctrl-C."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.programs import program

SMARTWORKER = str(Path(sys.executable).with_name("smartworker"))
FINAL = ("SUCCESS", "FAILURE", "REVOKED")
START_SECONDS = 60
STOP_SECONDS = 5

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


@dataclass
class Dev:
    """A running `smartworker dev`, its own output and that of its parts."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    directory: Path

    def curls(self) -> list[str]:
        """The printed lines to try."""
        return re.findall(r"^ +(curl .+)$", self.out.read_text(), re.MULTILINE)

    def wait_until_started(self) -> None:
        """Return when the greeting is there."""
        started = eventually(
            lambda: len(self.curls()) == 3 or self.process.poll() is not None,
            START_SECONDS,
        )
        assert started, self.err.read_text()
        assert self.process.poll() is None, self.err.read_text()

    def family(self) -> dict[int, str]:
        """All living processes that work in our directory or below it."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "cwd").readlink().is_relative_to(self.directory):
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = line.decode(errors="replace")
            except OSError:
                continue
        return found

    def member(self, words: str) -> int:
        """The process id of the one part whose command line has these words."""
        matching = [pid for pid, line in self.family().items() if words in line]
        assert matching, self.family()
        return min(matching)


def eventually(what: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(directory: Path, **environment: str) -> Iterator[Dev]:
    """`smartworker dev` in a directory and an environment of its own."""
    kept = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")
    out, err = directory / "out", directory / "err"
    clean = {name: os.environ[name] for name in kept if name in os.environ}
    clean["TMPDIR"] = str(directory)
    with out.open("wb") as out_file, err.open("wb") as err_file:
        process = subprocess.Popen(
            [SMARTWORKER, "dev"],
            cwd=directory,
            env={**clean, **environment},
            stdin=subprocess.DEVNULL,
            stdout=out_file,
            stderr=err_file,
            start_new_session=True,
        )
    try:
        yield Dev(process, out, err, directory)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    """A started `smartworker dev` on a free port."""
    with running(tmp_path, PORT=str(free_port())) as dev:
        dev.wait_until_started()
        yield dev


def curl(line: str) -> dict[str, object]:
    """The answer to a printed line, run as it stands."""
    words = shlex.split(line)
    program("curl")
    answer = subprocess.run(
        [*words, "--silent", "--fail-with-body", "--max-time", "20"],
        capture_output=True,
        check=True,
        timeout=30,
    )
    return dict(json.loads(answer.stdout))


def test_printed_lines_run_the_task(dev: Dev) -> None:
    """The three lines work as printed, and the triggered task books lanes."""
    trigger, status, alive = dev.curls()
    queued = curl(trigger)
    assert queued["status"] == "accepted"
    line = status.replace("<task_id>", str(queued["task_id"]))
    answers: list[dict[str, object]] = []

    def is_final() -> bool:
        answers.append(curl(line))
        return answers[-1].get("state", answers[-1].get("status")) in FINAL

    assert eventually(is_final, 30), dev.err.read_text()
    assert '"SUCCESS"' in json.dumps(answers[-1]), answers[-1]
    curl(alive)


def test_interrupt_stops_everything(dev: Dev) -> None:
    """Ctrl-C ends all processes within 5 seconds, and that is a success."""
    assert len(dev.family()) >= 5
    scratch = list(dev.directory.glob("smartworker-dev-*"))
    begin = time.monotonic()
    os.killpg(dev.process.pid, signal.SIGINT)
    assert dev.process.wait(STOP_SECONDS) == 0, dev.err.read_text()
    assert time.monotonic() - begin < STOP_SECONDS
    assert dev.family() == {}
    assert scratch
    assert not any(path.exists() for path in scratch)
    assert "Traceback" not in dev.err.read_text()


def test_terminate_stops_everything(dev: Dev) -> None:
    """SIGTERM to the command alone is enough."""
    dev.process.terminate()
    assert dev.process.wait(STOP_SECONDS) == 0
    assert dev.family() == {}


def test_second_interrupt_kills_at_once(dev: Dev) -> None:
    """A part that hangs does not survive the second Ctrl-C."""
    os.kill(dev.member("worker -c"), signal.SIGSTOP)
    dev.process.send_signal(signal.SIGINT)
    assert eventually(lambda: "Stopping" in dev.out.read_text())
    begin = time.monotonic()
    dev.process.send_signal(signal.SIGINT)
    dev.process.wait(STOP_SECONDS)
    assert time.monotonic() - begin < 2
    assert eventually(lambda: dev.family() == {}, 1)


def test_killed_dev_leaves_nothing(dev: Dev) -> None:
    """Even kill -9 leaves no process behind."""
    dev.process.kill()
    dev.process.wait()
    assert eventually(lambda: dev.family() == {}), dev.family()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("smartworker.cli.main web", "web"),
        ("worker -c", "worker"),
        ("facility", "swim facility"),
        ("valkey-server", "embedded server"),
    ],
)
def test_part_that_dies_is_named(dev: Dev, words: str, name: str) -> None:
    """When a part dies, the command says which, stops the rest, and fails."""
    os.kill(dev.member(words), signal.SIGKILL)
    assert dev.process.wait(STOP_SECONDS) == 1
    last = dev.err.read_text().strip().splitlines()[-1]
    assert last == (
        f"smartworker: The {name} was killed by SIGKILL, so the rest was stopped."
    )
    assert dev.family() == {}


def test_busy_port_is_one_sentence(tmp_path: Path) -> None:
    """A port that was asked for and is taken stops the start."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with running(tmp_path, PORT=str(port)) as dev:
            assert dev.process.wait(START_SECONDS) == 1
    lines = dev.err.read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"smartworker: PORT is {port}, and nothing can be")


def test_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    """A wrong setting stops the start before anything runs."""
    with running(tmp_path, SMARTWORKER_WINDOWS="whenever") as dev:
        assert dev.process.wait(START_SECONDS) == 78
    lines = dev.err.read_text().splitlines()
    assert len(lines) == 1
    assert "SMARTWORKER_WINDOWS" in lines[0]


def test_own_server_and_token_are_used(tmp_path: Path, redis_url: str) -> None:
    """With REDIS_URL no server is started, and a given token is not printed."""
    token = "a" * 40
    environment = {"REDIS_URL": redis_url, "SMARTWORKER_CRON_TOKENS": token}
    with running(tmp_path, PORT="0", **environment) as dev:
        dev.wait_until_started()
        assert not any("valkey-server" in line for line in dev.family().values())
        assert token not in dev.out.read_text() + dev.err.read_text()
        trigger = dev.curls()[0].replace("<token>", token)
        assert curl(trigger)["status"] == "accepted"
        dev.process.send_signal(signal.SIGINT)
        assert dev.process.wait(STOP_SECONDS) == 0
