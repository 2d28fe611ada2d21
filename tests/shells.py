"""Command lines as a user types them: to their end, or going on beside the test."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BIN = str(Path(sys.executable).parent)
OURS = ("SMARTWORKER_", "REDIS_", "UPSTASH_", "SWIM_")


def environment(directory: Path) -> dict[str, str]:
    """What a fresh shell has: none of our settings."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(OURS) and name not in ("PORT", "DATABASE_URL", "COLUMNS")
    }
    path = f"{BIN}{os.pathsep}{clean['PATH']}"
    return {**clean, "PATH": path, "PYTHONPATH": str(directory)}


def run(
    command: str, directory: Path, **settings: str
) -> subprocess.CompletedProcess[str]:
    """A command line, to its end; `> file` writes what it prints there."""
    command, _, target = command.partition(" > ")
    done = subprocess.run(
        shlex.split(command),
        cwd=directory,
        env={**environment(directory), **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if target:
        (directory / target).write_text(done.stdout, encoding="utf-8")
    return done


def spawn(
    command: str, directory: Path, said: str = "output", **settings: str
) -> subprocess.Popen[bytes]:
    """A command line that goes on; what it says is kept in the file `said`."""
    with (directory / said).open("ab") as output:
        return subprocess.Popen(
            shlex.split(command),
            cwd=directory,
            env={**environment(directory), **settings},
            stdout=output,
            stderr=output,
        )


def stop(process: subprocess.Popen[bytes]) -> int:
    """SIGTERM; returns the exit status."""
    process.terminate()
    try:
        return process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        pytest.fail(f"{process.args} did not end")


@contextmanager
def running(
    command: str, directory: Path, said: str = "output", *, until: str, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A command line that goes on, from the moment when it has said `until`."""
    process = spawn(command, directory, said, **settings)
    output = directory / said
    try:
        eventually(
            lambda: until in output.read_text() or process.poll() is not None,
            what=f"{command} has said {until!r}",
        )
        assert until in output.read_text(), output.read_text()
        yield process
    finally:
        if process.poll() is None:
            stop(process)


def fetch(*arguments: str) -> str:
    """What curl prints; empty if it fails."""
    done = subprocess.run(
        ["curl", "-s", "-m", "10", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def eventually(
    condition: Callable[[], object], seconds: float = 40, what: str = "it"
) -> None:
    """Until it is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: never within {seconds} s"
        time.sleep(0.1)
