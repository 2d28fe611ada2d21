"""The release before this one: its wheel, built from git and kept in build/."""

import io
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
#: What a wheel is built from.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "smartworker")


class NoRelease(Exception):
    """Git does not have it."""


def previous_release() -> str:
    """The commit or tag, from pyproject.toml."""
    project = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text("utf-8"))
    return str(project["tool"]["smartworker"]["previous-release"])


def previous_wheel() -> Path:
    """The folder with its package, to be put first on PYTHONPATH.

    Raises NoRelease, with what to do, where git does not have it.
    """
    revision = previous_release()
    try:
        root = Path(_git(HERE, "rev-parse", "--show-toplevel").decode().strip())
        commit = _git(root, "rev-parse", "--verify", f"{revision}^{{commit}}")
        folder = root / "build" / "releases" / commit.decode().strip()
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            archive = _git(root, "archive", revision, *SOURCES)
            with TemporaryDirectory(dir=folder.parent) as scratch:
                _build(archive, Path(scratch)).rename(folder)
    except NoRelease as error:
        raise NoRelease(
            f"The release {revision} cannot be had ({error}): run this in a clone with "
            "its whole history, which `git fetch --unshallow` gets."
        ) from error
    return folder


def _git(where: Path, *words: str) -> bytes:
    """What git says of the clone around a folder, also of somebody else's clone."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", "-c", "safe.directory=*", *words]
    try:
        done = subprocess.run(command, cwd=where, env=kept, capture_output=True)
    except FileNotFoundError as error:
        raise NoRelease("git is not installed") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise NoRelease(lines[-1] if lines else f"git {words[0]} failed")
    return done.stdout


def _build(archive: bytes, scratch: Path) -> Path:
    """The contents of the wheel that these sources make, in a folder."""
    sources, contents = scratch / "sources", scratch / "contents"
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(sources, filter="data")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", ".."]
    done = subprocess.run(command, cwd=sources, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(contents)  # noqa: S202 - made two lines ago
    return contents
