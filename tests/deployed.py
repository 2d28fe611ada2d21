"""A small project of a user, its deployment files, and commands run as platforms do."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.commands import environment, run_command
from tests.processes import wait_until

BIN = Path(sys.executable).parent
NOWHERE = "redis://127.0.0.1:1/0"
#: As Render makes them: 32 bytes in base64.
TOKEN = "q83vEjRWeJq83vASNFZ4mrze8BI0VniavN7wEjRWeJo="
SHOP = """
from pathlib import Path

from celery import Celery

import smartworker

jobs = smartworker.Jobs()
jobs.declare(
    "nightly-sum", "shop.add", args=(2, 3), schedule="0 21 * * mon-fri",
    only_when_due=True,
)
jobs.declare("each-minute", "shop.add", args=(1, 1), schedule="* * * * *")
jobs.declare(
    "odd-days", "shop.add", schedule="15 5 1-7 * sun", zone="Europe/Berlin",
    args=(1, 2), only_when_due=True,
)
jobs.declare("by-hand", "shop.add", args=(1, 1))
app = smartworker.setup(Celery("shop"), jobs=jobs)


@app.task
def add(x, y):
    with Path("sums").open("a") as file:
        file.write(f"{x + y}\\n")
    return x + y
"""


def make_shop(folder: Path) -> Path:
    """A project with four jobs, and its virtual environment."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy2(BIN / "smartworker", folder / ".venv" / "bin" / "smartworker")
    (folder / "shop.py").write_text(SHOP)
    (folder / "requirements.txt").write_text("smartworker[web]\n")
    return folder


def init(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`smartworker init` in a folder; no server is there."""
    return run_command(NOWHERE, "init", *words, cwd=home)


def run_all(home: Path, commands: Sequence[Sequence[str]]) -> None:
    """Commands of ours that must not fail, one after the other in one process."""
    script = (
        "import json, sys\n"
        "from smartworker.cli.main import main\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    main(words, standalone_mode=False)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(commands)],
        cwd=home,
        env=environment(NOWHERE),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def settings(url: str, home: Path, **extra: str) -> dict[str, str]:
    """The environment that a platform gives to processes."""
    made = environment(
        url,
        PATH=f"{BIN}:{os.environ['PATH']}",
        SMARTWORKER_CRON_TOKENS=TOKEN,
        SMARTWORKER_ADMIN_TOKEN=TOKEN[::-1],
        SMARTWORKER_STATE_DIR=str(home / "states"),
    )
    return {**made, "PYTHONUNBUFFERED": "1", **extra}


def shell(command: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A command of a file, run to its end by the shell."""
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=home,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def running(
    commands: Mapping[str, str], home: Path, env: Mapping[str, str]
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The processes of a deployment, each begun by a shell; what they say is in
    NAME.log."""
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            with (home / f"{name}.log").open("wb") as log:
                started[name] = subprocess.Popen(
                    ["/bin/sh", "-c", f"exec {command}"],
                    cwd=home,
                    env=dict(env),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        yield started
    finally:
        for process in started.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def stop(process: subprocess.Popen[bytes], seconds: float = 30) -> int:
    """SIGTERM, as every platform sends it; the exit status."""
    process.terminate()
    return process.wait(seconds)


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_ready(address: str, home: Path) -> None:
    """Until web process and worker take work."""
    wait_until(lambda: answers(f"{address}/livez"), 40, "the web process")
    states = home / "states"
    wait_until(lambda: any(states.glob("*.json")), 40, "the worker")


def sums(home: Path) -> list[str]:
    """What the tasks of the shop have written."""
    path = home / "sums"
    return path.read_text().split() if path.exists() else []
