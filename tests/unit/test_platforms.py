"""No module needs POSIX: each is imported by an interpreter that has none."""

import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery

import smartworker
from smartworker import statefile
from smartworker.cli.processes import NoGroup, Signals
from smartworker.errors import SettingsError
from smartworker.settings import Settings
from smartworker.store.client import KEEPALIVE_IDLE, keepalive_options
from smartworker.vitals import Vitals
from smartworker.worker import program
from smartworker.worker.configuration import check_pool
from smartworker.worker.program import Worker

TESTS = Path(__file__).parents[1]
PACKAGE = Path(smartworker.__file__).parent
LIKE = (sys.executable, str(TESTS / "windows_like.py"))


@pytest.mark.parametrize("system", ["windows", "macos"])
def test_every_module_is_imported(system: str) -> None:
    """Without fork, fcntl, SIGHUP, Unix sockets; or without what only Linux has."""
    done = subprocess.run([*LIKE, system, "-"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules = [*PACKAGE.rglob("*.py")]
    left_out = [path for path in modules if path.name == "__main__.py"]
    assert int(done.stdout.splitlines()[-1]) == len(modules) - len(left_out)


def test_the_stand_in_has_nothing_of_posix(tmp_path: Path) -> None:
    """A module that used one of these would not be imported, or would fail."""
    (tmp_path / "posix_only.py").write_text(
        """
for line in (
    "import fcntl",
    "import resource",
    "import os; os.fork",
    "import os; os.kill(1, 0)",
    "import signal; signal.SIGHUP",
    "import socket; socket.AF_UNIX",
    "import os, select; select.select([os.pipe()[0]], [], [], 0)",
):
    try:
        exec(line)
    except (AssertionError, AttributeError, ImportError):
        continue
    print(line)
print("done")
""",
        encoding="utf-8",
    )
    done = subprocess.run(
        [*LIKE, "windows", "posix_only"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_dead_link_is_found_on_macos_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP_KEEPIDLE has another name there; without it a probe would come after 2 h."""
    monkeypatch.delattr(socket, "TCP_KEEPIDLE", raising=False)
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)
    monkeypatch.setattr(socket, "TCP_KEEPALIVE", 0x10, raising=False)
    assert keepalive_options()[0x10] == KEEPALIVE_IDLE


def test_a_state_file_is_of_use_on_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mode says nothing there, and a look with os.kill would end the process."""
    home = tmp_path / "states"
    home.mkdir()
    home.chmod(0o777)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr("os.getuid")
    monkeypatch.delattr("os.kill")
    statefile.write(home, "celery@host", Vitals(started=None, poll_seconds=30.0))
    (state,) = statefile.read_all(home)
    assert state.is_alive


@pytest.mark.parametrize("pool", [None, "threads", "prefork"])
def test_the_pool_of_windows_is_solo(
    pool: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless somebody chooses threads; prefork is refused with a sentence."""
    monkeypatch.setattr(Celery, "IS_WINDOWS", True)
    app = smartworker.setup(Celery("shop", set_as_current=False), Settings())
    if pool is not None:
        app.conf.worker_pool = pool
    if pool == "prefork":
        with pytest.raises(SettingsError, match="solo or threads"):
            check_pool(app)
    else:
        check_pool(app)
        assert app.conf.worker_pool == (pool or "solo")


def test_celerys_loop_runs_on_windows_unless_gevent_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stock Celery has none there, and comes back every two seconds instead."""
    worker = Worker.__new__(Worker)
    worker.app = SimpleNamespace(IS_WINDOWS=True)
    assert worker.should_use_eventloop()
    monkeypatch.setattr(program, "detect_environment", lambda: "gevent")
    assert not worker.should_use_eventloop()


def test_several_processes_as_one_is_a_sentence_on_windows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`smartworker dev` says what to start instead."""
    monkeypatch.delattr("signal.SIGCHLD")
    with pytest.raises(NoGroup, match="-P solo"), Signals():
        pass


def test_letters_of_all_kinds_are_written_where_the_encoding_lacks_them() -> None:
    """Logs are UTF-8 in a pipe of Windows (cp1252); a table has `?` for a letter."""
    code = (
        "from smartworker import logs; logs.configure(); "
        "logs.get_logger('x').warning('tls_unverified', setting='łódź'); "
        "from smartworker.cli.main import main; import click; "
        "main.callback = lambda: click.echo('łódź'); "
        "main(['windows'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONIOENCODING": "cp1252", "REDIS_URL": "redis://127.0.0.1:1/0"},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert "łódź" in done.stderr.decode("utf-8")
    assert "?ód?" in done.stdout.decode("cp1252")


def test_every_text_file_is_opened_as_utf8() -> None:
    """The usual encoding of Windows is another one."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ruff", "check", "--preview"),
            *("--select", "PLW1514", "--no-cache", str(PACKAGE)),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
