"""An interpreter that looks like the one of Windows or macOS, as far as Linux can.

`python tests/windows_like.py windows MODULE ARGUMENTS` runs a module with it, as
`python -m` would. Its limits: libraries were imported as on Linux, paths and processes
are those of Linux, and a signal stands in for the console's Ctrl-Break.
"""

import asyncio
import errno
import importlib
import os
import pkgutil
import platform
import runpy
import select
import selectors
import signal
import socket
import stat
import sys
import threading
from importlib.abc import MetaPathFinder
from typing import Any, NoReturn

from celery.app.base import Celery
from celery.worker import components
from kombu.utils import eventio

POSIX_MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")
#: What the documentation of Python marks as Unix, by module.
POSIX_NAMES = {
    "os": "chown chroot fchmod fchown fork forkpty getegid geteuid getgid getloadavg "
    "getpgid getsid getuid initgroups killpg mkfifo nice openpty register_at_fork "
    "sched_getaffinity set_blocking setgid setpgid setsid setuid sysconf uname wait "
    "wait3 wait4 waitid",
    "signal": "SIGALRM SIGCHLD SIGHUP SIGKILL SIGQUIT SIGUSR1 SIGUSR2 alarm getitimer "
    "pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigwait",
    "socket": "AF_UNIX SO_REUSEPORT TCP_DEFER_ACCEPT TCP_USER_TIMEOUT recv_fds",
    "select": "epoll kqueue poll",
}
#: macOS has all of POSIX, but these of Linux; TCP_KEEPALIVE is its TCP_KEEPIDLE.
LINUX_NAMES = {
    "os": "memfd_create pidfd_open posix_fadvise sched_getaffinity",
    "socket": "TCP_DEFER_ACCEPT TCP_KEEPIDLE TCP_USER_TIMEOUT",
    "select": "epoll",
}
PACKAGE = "smartworker"
#: What brings in the libraries that a program of ours uses.
PROGRAMS = ("worker.setup", "worker.program", "worker.results", "web.app", "web.serve")


class Absent(MetaPathFinder):
    """Modules that this system does not have."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Refuse them by name; others are none of our business."""
        if name in POSIX_MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def modules() -> list[str]:
    """The names of all modules of the package."""
    package = importlib.import_module(PACKAGE)
    found = pkgutil.walk_packages(package.__path__, f"{PACKAGE}.")
    return [PACKAGE, *(each.name for each in found if "__main__" not in each.name)]


def take_away(names: dict[str, str]) -> None:
    """Delete names that this system does not have."""
    for module, gone in names.items():
        for name in gone.split():
            vars(sys.modules[module]).pop(name, None)


def forget() -> None:
    """Have the package imported anew, by an interpreter that knows its libraries."""
    for name in [each for each in sys.modules if each.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def become_windows() -> None:
    """Look like Windows from now on; only from the main thread."""
    console()
    signal.SIGBREAK = signal.SIGUSR1
    for name in POSIX_MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, Absent())
    take_away(POSIX_NAMES)
    os.kill = _kill
    socket.socketpair = _pair
    select.select = _sockets_only(select.select)
    selectors.DefaultSelector = selectors.SelectSelector
    # Its loop of sockets stands in for that of completion ports.
    asyncio.ProactorEventLoop = asyncio.SelectorEventLoop
    sys.platform = "win32"
    platform.system = lambda: "Windows"
    celery_knows()


def become_macos() -> None:
    """Look like macOS from now on."""
    socket.TCP_KEEPALIVE = socket.TCP_KEEPIDLE
    take_away(LINUX_NAMES)
    eventio.epoll = None
    sys.platform = "darwin"


def celery_knows() -> None:
    """Celery and kombu looked at the system when they were imported."""
    Celery.IS_WINDOWS = components.IS_WINDOWS = True
    eventio.epoll = eventio.kqueue = eventio.xpoll = None
    eventio._selectf = select.select


def console() -> None:
    """Ctrl-C and Ctrl-Break come in another thread, and interrupt no call of ours."""
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGUSR1})


def _kill(pid: int, number: int) -> NoReturn:
    raise AssertionError(
        f"os.kill({pid}, {number}) would end the process, or its group"
    )


def _pair(*_: Any) -> tuple[socket.socket, socket.socket]:
    """Two connected sockets over TCP, which is how Python does it there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        return one, listener.accept()[0]


def _sockets_only(really: Any) -> Any:
    def wait(*lists: Any) -> Any:
        if not any(lists[:3]):
            raise OSError(errno.EINVAL, "Windows waits for no empty lists")
        for each in {each for found in lists[:3] for each in found}:
            number = each if isinstance(each, int) else each.fileno()
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                raise AssertionError(f"{each!r} is no socket, and Windows wants one")
        return really(*lists)

    return wait


def main(system: str, module: str, *arguments: str) -> None:
    """Become that system, and run a module or import all of them (`-`)."""
    programs = [f"{PACKAGE}.{name}" for name in PROGRAMS]
    names = modules() if module == "-" else programs
    for name in names:
        importlib.import_module(name)
    forget()
    become_windows() if system == "windows" else become_macos()
    if module == "-":
        for name in names:
            importlib.import_module(name)
        print(len(names))  # noqa: T201 - for the test
        return
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder has names of its own
    main(*sys.argv[1:])
