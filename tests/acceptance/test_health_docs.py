"""`docs/health.md`: every command in it is run, and every figure held to the code."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from smartworker.store.server import EmbeddedServer
from smartworker.web.blocking import FAILURE_COUNTS
from smartworker.worker import stuck
from tests.commands import environment
from tests.processes import WorkerProcess

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "health.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (smartworker .*)$", TEXT, re.MULTILINE)
(CHECK,) = re.findall(r"^HEALTHCHECK .* CMD (smartworker .*)$", TEXT, re.MULTILINE)


def shell(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    """A line of the document, as typed."""
    path = str(Path(sys.executable).parent)
    return subprocess.run(
        ["/bin/sh", "-c", f'PATH="{path}:$PATH"; {command}'],
        env={
            **environment("redis://127.0.0.1:1/0", HOSTNAME=socket.gethostname()),
            "SMARTWORKER_STATE_DIR": str(home),
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_every_command_answers(tmp_path: Path) -> None:
    """Beside a worker: ready; after its stop and before it: not."""
    home = tmp_path / "states"
    assert shell(CHECK, home).returncode == 1
    integration = ROOT / "tests" / "integration"
    with EmbeddedServer() as server:
        worker = WorkerProcess(
            integration, server.url, "-c", "1", SMARTWORKER_STATE_DIR=str(home)
        )
        try:
            worker.wait_for("worker_ready")
            for command in (*COMMANDS, CHECK):
                done = shell(command, home)
                assert done.returncode == 0, (command, done.stderr)
                assert "ready" in done.stdout
            assert worker.stop() == 0
        finally:
            worker.kill()
    assert len(COMMANDS) == 2
    assert shell(CHECK, home).returncode == 1
    assert shell(CHECK, Path("off")).returncode == 78


def test_the_figures_are_those_of_the_code() -> None:
    """The exit status, the patience, the looks, and how long a failure counts."""
    assert f"**exit status {stuck.STUCK_STATUS}**" in TEXT
    assert (stuck.PATIENCE, "five minutes without" in TEXT) == (300.0, True)
    assert f"looks each {stuck.LOOK:.0f} s" in TEXT
    assert f"503 for {FAILURE_COUNTS:.0f} s" in TEXT
