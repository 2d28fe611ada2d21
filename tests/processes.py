"""Real worker processes, and waiting for what they do."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any


class WorkerProcess:
    """A worker of the project in a folder; its log lines are read as they come."""

    def __init__(
        self,
        home: Path,
        url: str,
        *args: str,
        app: str = "project",
        cwd: Path | None = None,
        program: Sequence[str] = ("-m", "celery"),
        **env: str,
    ) -> None:
        self.lines: list[dict[str, Any]] = []
        self.text = ""
        self._changed = threading.Condition()
        self._all_read = False
        self.process = subprocess.Popen(
            [sys.executable, *program, "-A", app, "worker", "-l", "info", *args],
            env={**os.environ, "PYTHONPATH": str(home), "REDIS_URL": url, **env},
            cwd=cwd,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.text += line
                try:
                    self.lines.append(json.loads(line))
                except ValueError:
                    self.lines.append({"event": "", "text": line})
                self._changed.notify_all()
        with self._changed:
            self._all_read = True
            self._changed.notify_all()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines with this event name."""
        return [line for line in self.lines if line.get("event") == name]

    def wait_for(self, name: str, count: int = 1, seconds: float = 20) -> None:
        """Until the event was logged so many times."""
        with self._changed:
            seen = self._changed.wait_for(
                lambda: len(self.events(name)) >= count or self._all_read,
                seconds,
            )
        assert seen, f"no {name} within {seconds} s:\n{self.text}"
        assert len(self.events(name)) >= count, self.text

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.process.wait(20)

    def send(self, number: int) -> None:
        """A signal for the main process alone."""
        os.kill(self.process.pid, number)

    def kill_all(self) -> None:
        """SIGKILL for the main process and all that it has started."""
        # They are still there when the main process has gone without them.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def kill(self) -> None:
        """Whatever is left."""
        self.kill_all()
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()


def wait_until(
    condition: Callable[[], object], seconds: float = 20.0, what: str = "it"
) -> float:
    """Until it is true; returns how many seconds that took."""
    begun = time.monotonic()
    while not condition():
        waited = time.monotonic() - begun
        assert waited < seconds, f"{what} never became true within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - begun
