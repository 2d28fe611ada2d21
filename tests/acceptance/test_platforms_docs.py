"""`docs/platforms.md`: each command runs on what looks like Windows."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from smartworker.store.client import KEEPALIVE_IDLE, KEEPALIVE_PAUSE, KEEPALIVE_PROBES
from smartworker.store.server import free_port
from tests.commands import environment
from tests.processes import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LIKE = str(ROOT / "tests" / "windows_like.py")
PLATFORMS = (ROOT / "docs" / "platforms.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ smartworker (.+)$", PLATFORMS, re.MULTILINE)


@contextmanager
def running_there(
    words: list[str], env: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """The command on what looks like Windows."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, LIKE, "windows", "smartworker.cli.main", *words],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    """Whether the web process is there."""
    address = f"http://127.0.0.1:{port}/livez"
    with suppress(OSError), urllib.request.urlopen(address, timeout=2) as answer:
        return bool(answer.status == 200)
    return False


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_runs_until_ctrl_c(
    command: str, redis_url: str, tmp_path: Path
) -> None:
    """The page promises three that work on Windows."""
    port, log = free_port(), tmp_path / "log"
    env = environment(
        redis_url,
        PORT=str(port),
        SMARTWORKER_CRON_TOKENS="a-token-that-is-long-enough-for-all",
        SMARTWORKER_STATE_DIR=str(tmp_path),
    )
    words, home = command.split(), os.environ.get("HOME", "/")
    with running_there(words, {**env, "HOME": home}, log) as process:
        web = words[0] == "web"
        wait_until(
            lambda: answers(port) if web else "worker_ready" in log.read_text("utf-8"),
            what=f"{command}: {log.read_text('utf-8')}",
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == (0 if web else 1), log.read_text("utf-8")


def test_dev_is_a_sentence_on_windows(tmp_path: Path) -> None:
    """It cannot start and stop several processes there."""
    log = tmp_path / "log"
    with running_there(["dev"], dict(os.environ), log) as process:
        assert process.wait(30) == 1
    assert log.read_text("utf-8").startswith("smartworker: Windows cannot stop")


def test_the_page_is_right_about_the_link() -> None:
    """The seconds after which silence is taken for the end."""
    assert len(COMMANDS) == 3
    seconds = KEEPALIVE_IDLE + KEEPALIVE_PROBES * KEEPALIVE_PAUSE
    assert f"| after {seconds} s |" in PLATFORMS
