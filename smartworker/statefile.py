"""The state files of workers: a sign of life that costs no command and no port.

One small JSON file for each worker, in a directory that its own user alone may write.
"""

import hashlib
import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartworker.vitals import Vitals, read_vitals

#: The value of SMARTWORKER_STATE_DIR with which no file is written.
OFF = "off"
LONGEST_NAME = 100
#: Bytes; no state is longer.
LONGEST_FILE = 65_536


@dataclass(frozen=True)
class State:
    """What the file of a worker says."""

    worker: str
    pid: int
    #: When the process began, in ticks since the machine did; None: unknown.
    born: int | None
    vitals: Vitals
    path: Path

    @property
    def is_alive(self) -> bool:
        """Whether that very process still runs; a later one may have its id."""
        return _runs(self.pid) and self.born in (None, born(self.pid))


def directory(setting: str = "") -> Path | None:
    """Where the files are: as the setting says; None where it says `off`."""
    if setting == OFF:
        return None
    uid = os.getuid() if hasattr(os, "getuid") else 0
    return Path(setting or Path(tempfile.gettempdir()) / f"smartworker-{uid}")


def path_of(home: Path, worker: str) -> Path:
    """The file of a worker, whose name may have any characters."""
    plain = re.sub(r"[^A-Za-z0-9@._-]", "_", worker)[:LONGEST_NAME]
    if plain != worker or plain.startswith("."):
        plain = f"_{plain}-{hashlib.sha256(worker.encode()).hexdigest()[:8]}"
    return home / f"{plain}.json"


def write(home: Path, worker: str, vitals: Vitals) -> Path:
    """Write the state of this process, all or nothing. Raises OSError."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_owner(home)
    path, pid = path_of(home, worker), os.getpid()
    state = {"worker": worker, "pid": pid, "born": born(pid), **vitals.as_json()}
    handle, name = tempfile.mkstemp(dir=home, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(state, file)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def remove(path: Path) -> None:
    """This worker has stopped; the file of a later one of its name stays."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        if _read(path).pid == os.getpid():
            path.unlink()


def read_all(home: Path) -> Iterator[State]:
    """The states in a directory, by the names of their files. Raises OSError.

    A file that is no state is left out.
    """
    if not home.exists():
        return
    # Root looks into the directory of the user that the worker runs as.
    check_owner(home, root_may=True)
    for path in sorted(home.glob("[!.]*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            yield _read(path)


def check_owner(home: Path, *, root_may: bool = False) -> None:
    """Refuse a directory in which others may put files. Raises PermissionError.

    `root_may`: root may look into that of another user, and must not write there.
    """
    found = home.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{home} is no directory")
    users = {found.st_uid, 0} if root_may else {found.st_uid}
    if not hasattr(os, "getuid"):
        return  # Windows: its lists of who may do what are not in the mode
    if os.getuid() not in users:
        raise PermissionError(f"{home} belongs to another user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"other users may write in {home}")


def born(pid: int) -> int | None:
    """When a process began, in ticks since the machine did; None: nobody knows."""
    fields = _stat(pid)
    return int(fields[19]) if len(fields) > 19 else None


def _runs(pid: int) -> bool:
    if _stat(pid)[:1] == ["Z"]:  # it has ended, and its parent has not asked how
        return False
    if sys.platform == "win32":
        return True  # os.kill would end it there; its last poll tells when it is gone
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on; none where there is none."""
    with suppress(OSError):
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return text.rpartition(")")[2].split()
    return []


def _read(path: Path) -> State:
    with path.open(encoding="utf-8") as file:
        told: Any = json.loads(file.read(LONGEST_FILE))
    mark = told["born"]
    return State(
        worker=str(told["worker"]),
        pid=int(told["pid"]),
        born=None if mark is None else int(mark),
        vitals=read_vitals(told),
        path=path,
    )
