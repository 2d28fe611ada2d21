"""Writing files that did not exist before: all of them, or none."""

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from smartworker.errors import SmartworkerError

#: As a new file gets it from a usual umask; temporary ones are for their owner alone.
_MODE = 0o644


class NotWritten(SmartworkerError):
    """A file is there already, or cannot be written; nothing was changed."""


@dataclass(frozen=True)
class File:
    """A text, and where it goes below a folder."""

    path: PurePosixPath
    text: str


def write_all(folder: Path, files: Iterable[File], *, force: bool) -> None:
    """Write the files below the folder, each at once.

    `force`: replace what is there. Raises NotWritten, without it also for one file
    that exists, and then has written none.
    """
    wanted = {folder / file.path: file.text for file in files}
    if not force:
        _refuse_existing(list(wanted))
    ready: dict[Path, Path] = {}
    target = folder
    try:
        for target, text in wanted.items():
            ready[target] = _prepared(target, text)
        for target, prepared in ready.items():
            prepared.replace(target)
    except OSError as error:
        raise NotWritten(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        for prepared in ready.values():
            prepared.unlink(missing_ok=True)


def _refuse_existing(paths: list[Path]) -> None:
    there = [str(path) for path in paths if os.path.lexists(path)]
    if there:
        raise NotWritten(
            f"Nothing was written, for {_listed(there)} there already: look at what "
            "you would lose, then give --force, or another folder with --into."
        )


def _listed(paths: list[str]) -> str:
    if len(paths) == 1:
        return f"{paths[0]} is"
    return f"{', '.join(paths[:-1])} and {paths[-1]} are"


def _prepared(target: Path, text: str) -> Path:
    """A complete file beside its target, still under another name."""
    if target.is_dir():
        raise IsADirectoryError(None, "it is a folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".tmp")
    prepared = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        prepared.chmod(_MODE)
    except BaseException:
        prepared.unlink(missing_ok=True)
        raise
    return prepared
