"""A server that can be killed, started again where it was, and made silent."""

import os
import signal
from typing import Any

from smartworker.store.server import EmbeddedServer, NoServer, valkey_binary


class FaultServer(EmbeddedServer):
    """An embedded server for tests that hurt it; see `EmbeddedServer`."""

    def kill(self) -> None:
        """End it as a crash does: at once, and without a word to its clients."""
        os.kill(self.pid, signal.SIGKILL)
        self._running.wait()

    def restart(self) -> None:
        """Start it again on its old port, with the same options, and wait for it.

        What it remembers is what its options made it write down.
        """
        self._running.wait()
        self._process = self._spawn(self._binary or valkey_binary())
        if not self._answers(self._process):
            raise NoServer(f"The server does not come back on port {self.port}.")

    def pause(self) -> None:
        """Silence: its connections stay open, and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """The end of the silence."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Stop it, even while it is paused."""
        if self.status is None and self._process is not None:
            self.resume()
        super().stop()

    @property
    def _running(self) -> Any:
        if self._process is None:
            raise NoServer("The server was never started.")
        return self._process
