"""The group of child processes, without Celery and without a server."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smartworker.cli.processes import (
    HEARD_SECONDS,
    STOPPING,
    Ended,
    Group,
    Signals,
)
from smartworker.cli.together import PartEnded

# Writes each signal into the file that it is given, and leaves at the second one.
NOTES = """
import pathlib, signal, sys, time
heard = []
def note(number, frame):
    heard.append(signal.Signals(number).name)
    pathlib.Path(sys.argv[1]).write_text(" ".join(heard))
    if len(heard) == 2:
        sys.exit(0)
for number in (signal.SIGTERM, signal.SIGQUIT):
    signal.signal(number, note)
pathlib.Path(sys.argv[1]).touch()
while True:
    time.sleep(60)
"""
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


def test_stop_asks_twice(group: Group, tmp_path: Path) -> None:
    """A child that has the time to leave at the second request is not killed."""
    note = tmp_path / "note"
    group.start("one", [*PYTHON, NOTES, str(note)], os.environ)
    assert eventually(note.exists)
    group.stop(0.1, 30)
    assert note.read_text() == "SIGTERM SIGTERM"
    assert group.ended() == Ended("one", 0)


@pytest.mark.parametrize(
    ("asked", "later", "heard"),
    [
        (signal.SIGHUP, signal.SIGINT, "SIGTERM SIGTERM"),
        (signal.SIGTERM, signal.SIGQUIT, "SIGTERM SIGQUIT"),
        (signal.SIGQUIT, signal.SIGTERM, "SIGQUIT SIGTERM"),
    ],
)
def test_end_waits_and_passes_signals_on(
    group: Group,
    tmp_path: Path,
    asked: signal.Signals,
    later: signal.Signals,
    heard: str,
) -> None:
    """It returns when the child has ended, whatever was needed for that."""
    note = tmp_path / "note"
    group.start("one", [*PYTHON, NOTES, str(note)], os.environ)
    assert eventually(note.exists)

    def once_more() -> None:
        if eventually(lambda: bool(note.read_text())):
            os.kill(os.getpid(), later)

    helper = threading.Thread(target=once_more)
    helper.start()
    group.end({asked})
    helper.join()
    assert note.read_text() == heard
    assert group.ended() == Ended("one", 0)


def test_end_spares_who_has_heard_of_it(group: Group, tmp_path: Path) -> None:
    """A child that was signalled by others, too, does not hear it a second time."""
    note = tmp_path / "note"
    pid = group.start("one", [*PYTHON, NOTES, str(note)], os.environ, note=note)
    assert eventually(note.exists)
    os.kill(pid, signal.SIGTERM)

    def once_more() -> None:
        # Within the time in which children say what they have heard, it is the same.
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(2 * HEARD_SECONDS)
        seen.append(note.read_text())
        os.kill(os.getpid(), signal.SIGTERM)

    seen: list[str] = []
    helper = threading.Thread(target=once_more)
    helper.start()
    group.end()
    helper.join()
    assert seen == ["SIGTERM"]
    assert note.read_text() == "SIGTERM SIGTERM"


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


@pytest.mark.parametrize(("status", "expected"), [(78, 78), (2, 2), (0, 1), (-9, 1)])
def test_the_status_of_who_ended_is_ours(status: int, expected: int) -> None:
    """It tells why; what was not meant to end has failed, whatever its status is."""
    assert PartEnded(Ended("worker", status)).exit_status == expected


def test_running_children_have_not_ended(group: Group) -> None:
    """A running child is no reason to stop."""
    group.start("one", SLEEPS, os.environ)
    assert group.ended() is None


@pytest.mark.parametrize("number", STOPPING)
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
