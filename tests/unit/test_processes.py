"""The group of child processes, without Celery and without a server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smartworker.cli.processes import Ended, Group, Signals

PYTHON = [sys.executable, "-ISc"]
SLEEPS = [*PYTHON, "import time; time.sleep(60)"]
STUBBORN = [
    *PYTHON,
    "import pathlib, signal, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "pathlib.Path(sys.argv[1]).touch()\n"
    "time.sleep(60)",
]


@pytest.fixture
def signals() -> Iterator[Signals]:
    """Signals of this process, put back afterwards."""
    with Signals() as signals:
        yield signals


@pytest.fixture
def group(signals: Signals) -> Iterator[Group]:
    """An empty group that leaves nothing behind."""
    group = Group(signals)
    yield group
    group.stop(0)


def is_alive(pid: int) -> bool:
    """Whether a process exists that is more than a zombie."""
    answer = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True
    )
    return answer.stdout.strip()[:1] not in ("", "Z")


def eventually(what: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_stop_ends_all_children(group: Group) -> None:
    """A polite child ends at SIGTERM, long before the patience is over."""
    pids = [group.start(name, SLEEPS, os.environ) for name in ("one", "two")]
    begin = time.monotonic()
    group.stop(30)
    assert time.monotonic() - begin < 10
    assert not any(map(is_alive, pids))


def test_stop_kills_a_child_that_ignores_it(group: Group, tmp_path: Path) -> None:
    """After the patience a child is killed."""
    ready = tmp_path / "ready"
    pid = group.start("stubborn", [*STUBBORN, str(ready)], os.environ)
    assert eventually(ready.exists)
    group.stop(0.1)
    assert not is_alive(pid)
    assert group.ended() == Ended("stubborn", -signal.SIGKILL)


def test_second_interrupt_kills_at_once(group: Group, tmp_path: Path) -> None:
    """Ctrl-C while children are asked to stop ends the patience."""
    ready = tmp_path / "ready"
    pid = group.start("stubborn", [*STUBBORN, str(ready)], os.environ)
    assert eventually(ready.exists)
    os.kill(os.getpid(), signal.SIGINT)
    begin = time.monotonic()
    group.stop(60)
    assert time.monotonic() - begin < 10
    assert not is_alive(pid)


def test_child_that_ends_is_noticed(group: Group, signals: Signals) -> None:
    """The wait ends when a child ends, and its status is told."""
    group.start("short", [*PYTHON, "raise SystemExit(3)"], os.environ)
    begin = time.monotonic()
    assert signals.wait(60) == set()
    assert time.monotonic() - begin < 10
    ended = group.ended()
    assert ended == Ended("short", 3)
    assert ended.how == "ended with status 3"


def test_ended_names_the_signal() -> None:
    """A child that was killed is told by the name of the signal."""
    assert Ended("one", -9).how == "was killed by SIGKILL"


def test_running_children_have_not_ended(group: Group) -> None:
    """A running child is no reason to stop."""
    group.start("one", SLEEPS, os.environ)
    assert group.ended() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_wait_tells_the_stop_signal(signals: Signals, number: int) -> None:
    """A stop signal ends a wait, also one that came before it."""
    os.kill(os.getpid(), number)
    assert signals.wait(60) == {number}
    assert signals.wait(0) == set()


def test_signals_are_put_back() -> None:
    """After the context the handlers are what they were before."""
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGCHLD)]
    with Signals():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGCHLD)] == before


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux only")
def test_killed_parent_takes_its_children_along(tmp_path: Path) -> None:
    """A child does not outlive a parent that was killed with SIGKILL."""
    pid_file = tmp_path / "pid"
    code = (
        "import os, sys, pathlib, time\n"
        "from smartworker.cli.processes import Group, Signals\n"
        "with Signals() as signals:\n"
        "    pid = Group(signals).start('one', sys.argv[2:], os.environ)\n"
        "    pathlib.Path(sys.argv[1]).write_text(str(pid) + '.')\n"
        "    time.sleep(60)\n"
    )
    ready = tmp_path / "ready"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(pid_file), *STUBBORN, str(ready)]
    ) as parent:
        assert eventually(ready.exists)
        assert eventually(lambda: pid_file.read_text().endswith("."))
        parent.kill()
    pid = int(pid_file.read_text().rstrip("."))
    assert eventually(lambda: not is_alive(pid))
