"""The state files: whole or not at all, and in nobody else's directory."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from smartworker import statefile
from smartworker.vitals import Vitals

VITALS = Vitals(started=datetime(2026, 11, 25, tzinfo=UTC), poll_seconds=30.0)


def test_a_state_comes_back(tmp_path: Path) -> None:
    """With who wrote it; its directory is the user's own."""
    home = tmp_path / "deep" / "states"
    path = statefile.write(home, "celery@host", VITALS)
    assert path == home / "celery@host.json"
    assert home.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    (state,) = statefile.read_all(home)
    assert (state.worker, state.pid) == ("celery@host", os.getpid())
    assert state.vitals == VITALS
    assert state.is_alive
    statefile.remove(path)
    assert [*home.iterdir()] == []
    statefile.remove(path)


def test_the_file_of_another_process_is_not_removed(tmp_path: Path) -> None:
    """A worker of the same name has come after this one."""
    path = statefile.write(tmp_path / "s", "celery@host", VITALS)
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**told, "pid": told["pid"] + 1}), encoding="utf-8")
    statefile.remove(path)
    assert path.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_process_that_is_gone_is_not_alive(tmp_path: Path) -> None:
    """Gone, a zombie, or another process with its id."""
    path = statefile.write(tmp_path / "s", "celery@host", VITALS)
    told = json.loads(path.read_text(encoding="utf-8"))
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        for change in (
            {"born": told["born"] + 1},
            {"pid": child.pid, "born": statefile.born(child.pid)},
        ):
            path.write_text(json.dumps({**told, **change}), encoding="utf-8")
            (state,) = statefile.read_all(path.parent)
            assert not state.is_alive
    path.write_text(json.dumps({**told, "pid": child.pid, "born": None}))
    (state,) = statefile.read_all(path.parent)
    assert not state.is_alive


def test_names_cannot_leave_the_directory(tmp_path: Path) -> None:
    """Nor can two names meet in one file."""
    names = ("../../etc/passwd", "a/b", "a_b", "a b", ".hidden", "x" * 300, "é@host")
    paths = [statefile.write(tmp_path / "s", name, VITALS) for name in names]
    assert {path.parent for path in paths} == {tmp_path / "s"}
    assert len(set(paths)) == len(names)
    assert {state.worker for state in statefile.read_all(tmp_path / "s")} == set(names)


def test_what_is_no_state_is_left_out(tmp_path: Path) -> None:
    """Half a file, another kind of JSON, and a temporary file."""
    home = tmp_path / "s"
    path = statefile.write(home, "celery@host", VITALS)
    (home / "half.json").write_text(path.read_text(encoding="utf-8")[:-9])
    (home / "list.json").write_text("[]")
    (home / ".x.tmp").write_text("{")
    assert [state.path for state in statefile.read_all(home)] == [path]
    assert [*statefile.read_all(tmp_path / "nowhere")] == []


def test_a_reader_never_sees_half_a_state(tmp_path: Path) -> None:
    """While another thread writes all the time."""
    home = tmp_path / "s"
    statefile.write(home, "celery@host", VITALS)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            statefile.write(home, "celery@host", VITALS)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(len([*statefile.read_all(home)]) == 1 for _ in range(300))
    finally:
        stop.set()
        writer.join()
    assert len([*home.iterdir()]) == 1


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_directory_of_others_is_refused(tmp_path: Path, mode: int) -> None:
    """Whoever can write there could say that all is well."""
    tmp_path.chmod(mode)
    with pytest.raises(PermissionError, match="other users may write"):
        statefile.write(tmp_path, "celery@host", VITALS)
    with pytest.raises(PermissionError, match="other users may write"):
        [*statefile.read_all(tmp_path)]
    link = tmp_path / "link"
    tmp_path.chmod(0o700)
    link.symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="no directory"):
        statefile.write(link, "celery@host", VITALS)


@pytest.mark.skipif(sys.platform == "win32", reason="has no users by number")
def test_a_directory_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody was there first, in a directory that all may write to."""
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="belongs to another user"):
        statefile.write(tmp_path, "celery@host", VITALS)


@pytest.mark.skipif(sys.platform == "win32", reason="has no users by number")
def test_root_looks_and_does_not_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns the directory could turn root's writing elsewhere."""
    home = tmp_path / "s"
    statefile.write(home, "celery@host", VITALS)
    if home.stat().st_uid == 0:
        os.chown(home, 4711, 4711)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert len([*statefile.read_all(home)]) == 1
    with pytest.raises(PermissionError, match="belongs to another user"):
        statefile.write(home, "celery@host", VITALS)


def test_the_setting_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing: beside other temporary files; `off`: nowhere."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/scratch")
    assert statefile.directory() == Path(f"/scratch/smartworker-{os.getuid()}")
    assert statefile.directory("/run/shop") == Path("/run/shop")
    assert statefile.directory("off") is None
