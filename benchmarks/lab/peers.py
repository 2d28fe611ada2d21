"""Who is measured: each peer's own virtual environment, worker and settings."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).parent.parent
FOLDERS = HERE / "peers"
#: Where the virtual environments are made; not part of the repository.
ENVIRONMENTS = HERE / ".venvs"


class Unavailable(Exception):
    """A peer that cannot be measured on this machine, and why."""


@dataclass(frozen=True)
class Peer:
    """One program as somebody would run it.

    `folder` holds its `requirements.txt` (pinned) and its `app.py`; `worker` is what
    follows `python` on the command line. In both, `{queues}`, `{concurrency}` and
    `{name}` are filled in. `python` is the version it needs, `None` for this one.
    """

    name: str
    title: str
    folder: str
    worker: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    python: str | None = None
    #: Tasks that a worker runs at a time: `{concurrency}`.
    concurrency: int = 2
    #: Whether one worker takes from several queues; if not, from the first alone.
    several_queues: bool = True
    #: Instead of an environment of its own, as in the tests of this project.
    environment_python: Path | None = None

    @property
    def directory(self) -> Path:
        """Where its processes run."""
        return FOLDERS / self.folder

    def interpreter(self) -> Path:
        """The Python of its environment, made at the first call.

        Raises Unavailable where the version of Python it needs is missing.
        """
        if self.environment_python is not None:
            return self.environment_python
        home = ENVIRONMENTS / self.folder
        found = home / "bin" / "python"
        wanted = self.directory / "requirements.txt"
        stamp = home / "requirements.txt"
        if stamp.exists() and stamp.read_text() == wanted.read_text():
            return found
        base = sys.executable if self.python is None else shutil.which(self.python)
        if base is None or not _runs(base):
            raise Unavailable(f"{self.title} needs {self.python}, which is not here")
        subprocess.run([base, "-m", "venv", "--clear", str(home)], check=True)
        pip = [str(found), "-m", "pip", "install", "--quiet", "--no-input"]
        pip.append("--disable-pip-version-check")
        # `-e ../../..` in a file is taken from where pip runs.
        subprocess.run([*pip, "-r", str(wanted)], cwd=self.directory, check=True)
        shutil.copy(wanted, stamp)
        return found

    def command(self, queues: str, name: str) -> list[str]:
        """What follows `python` for a worker of that name; commas between queues."""
        words = {"queues": queues, "concurrency": self.concurrency, "name": name}
        return [word.format_map(words) for word in self.worker]

    def environment(
        self, url: str, notes: Path, queues: str, *, results: bool
    ) -> dict[str, str]:
        """What its processes find in their environment."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SMARTWORKER")}
        return {
            **clean,
            "BENCH_URL": url,
            "BENCH_NOTES": str(notes),
            "BENCH_QUEUES": queues,
            "BENCH_RESULTS": str(int(results)),
            "BENCH_CONCURRENCY": str(self.concurrency),
            "PYTHONPATH": f"{self.directory}{os.pathsep}{FOLDERS}",
            **self.settings,
        }


_CELERY = ("-m", "celery", "-A", "app", "worker", "-l", "INFO", "-n", "{name}@bench")
CELERY = (*_CELERY, "-Q", "{queues}", "-c", "{concurrency}")
FRUGAL = (*CELERY, "--without-gossip", "--without-mingle", "--without-heartbeat")

# Where a peer can have processes and threads, one process with threads: that is the
# fewest commands and the least memory for the same number of tasks at a time. RQ has
# processes only; arq and SAQ read the number in their `app.py`.
_RQ = ("-m", "rq.cli", "worker-pool", "--config", "app")
RQ = (*_RQ, "--worker-class", "app.Announced", "--num-workers", "{concurrency}")
DRAMATIQ = ("-m", "dramatiq", "app", "--processes", "1", "--threads", "{concurrency}")
HUEY = ("-m", "huey.bin.huey_consumer", "app.huey", "--workers", "{concurrency}")
_TASKIQ = ("-m", "taskiq", "worker", "app:broker", "--workers", "1")
TASKIQ = (*_TASKIQ, "--max-async-tasks", "{concurrency}")

#: Open all day: smartworker polls each 30 s.
ALWAYS = {"SMARTWORKER_WINDOWS": "00:00-24:00=30s"}


def _runs(python: str) -> bool:
    """Whether this Python starts: a version manager may know a name and lack it."""
    tried = subprocess.run([python, "-c", ""], capture_output=True, check=False)
    return tried.returncode == 0


def quiet() -> dict[str, str]:
    """Settings with which smartworker's windows are closed for the next hours."""
    hour = datetime.now(UTC) + timedelta(hours=12)
    return {
        "SMARTWORKER_TIMEZONE": "UTC",
        "SMARTWORKER_WINDOWS": f"{hour:%H:00}-{hour:%H:30}=30s",
    }


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("smartworker", "smartworker", "smartworker", CELERY, quiet()),
        Peer(
            "smartworker-window",
            "smartworker, window all day",
            "smartworker",
            CELERY,
            ALWAYS,
        ),
        Peer("celery", "Celery 5.7, default flags", "celery", CELERY),
        Peer(
            "celery-frugal-30",
            "Celery 5.7, frugal, 30 s",
            "celery",
            FRUGAL,
            {"BENCH_POLLING_INTERVAL": "30"},
        ),
        Peer(
            "celery-frugal-1800",
            "Celery 5.7, frugal, 30 min",
            "celery",
            FRUGAL,
            {"BENCH_POLLING_INTERVAL": "1800"},
        ),
        Peer(
            "celery-redis-plus",
            "celery-redis-plus",
            "celery-redis-plus",
            CELERY,
            python="python3.13",
        ),
        Peer("rq", "RQ, worker pool", "rq", RQ),
        Peer(
            "arq",
            "arq",
            "arq",
            ("-m", "arq", "app.WorkerSettings"),
            several_queues=False,
        ),
        Peer("dramatiq", "Dramatiq", "dramatiq", DRAMATIQ),
        Peer("huey", "Huey", "huey", HUEY, several_queues=False),
        Peer("saq", "SAQ", "saq", ("-m", "saq", "app.settings"), several_queues=False),
        Peer("taskiq", "taskiq, streams", "taskiq", TASKIQ),
    )
}
