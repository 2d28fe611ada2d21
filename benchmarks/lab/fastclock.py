"""A clock that runs faster, for all processes that are given its environment.

libfaketime (Debian's package `faketime`) scales clocks, sleeps, polls and socket
time-outs; `clockwait.c` beside this file adds the time-outs of CPython's locks.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.lab.peers import Unavailable

SOURCE = Path(__file__).with_name("clockwait.c")
#: Tells which clock is shared, then what that clock says, and lives on to keep it.
ANCHOR = 'echo "$FAKETIME_SHARED"; date +%s.%N; exec cat'


class FastClock:
    """Shows `begin` when it is entered, and from then on runs `factor` times as fast.

    All processes with its `environment` see the same time. Raises Unavailable where
    libfaketime or a C compiler is missing.
    """

    def __init__(self, begin: datetime, factor: int) -> None:
        self.factor = factor
        self._spec = f"@{begin.astimezone(UTC):%Y-%m-%d %H:%M:%S} x{factor}"

    def __enter__(self) -> Self:
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        faketime, compiler = shutil.which("faketime"), shutil.which("cc")
        if not libraries or faketime is None:
            raise Unavailable("libfaketime is not here: apt-get install faketime")
        if compiler is None:
            raise Unavailable("there is no C compiler: apt-get install gcc libc6-dev")
        self._folder = tempfile.TemporaryDirectory(prefix="fastclock-")
        waits = Path(self._folder.name) / "clockwait.so"
        words = ["-shared", "-fPIC", "-O2", "-o", str(waits), str(SOURCE), "-ldl"]
        subprocess.run([compiler, *words], check=True)
        self.environment = {
            "LD_PRELOAD": f"{waits}:{libraries[0]}",
            "CLOCK_FACTOR": str(self.factor),
            "FAKETIME": self._spec,
            # A process goes on with the time that all share, not from the begin.
            "FAKETIME_DONT_RESET": "1",
            "TZ": "UTC",
        }
        self._drop_anchor(faketime)
        return self

    def _drop_anchor(self, faketime: str) -> None:
        self._anchor = subprocess.Popen(
            [faketime, "-f", self._spec, "sh", "-c", ANCHOR],
            env={**os.environ, "TZ": "UTC"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._anchor.stdout is not None
        self.environment["FAKETIME_SHARED"] = self._anchor.stdout.readline().strip()
        self._shown = float(self._anchor.stdout.readline())
        self._read = time.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # With its input closed it ends by itself, and takes the shared memory along.
        assert self._anchor.stdin is not None
        assert self._anchor.stdout is not None
        self._anchor.stdin.close()
        self._anchor.wait()
        self._anchor.stdout.close()
        self._folder.cleanup()

    def now(self) -> datetime:
        """What it shows, to about a second."""
        passed = (time.monotonic() - self._read) * self.factor
        return datetime.fromtimestamp(self._shown + passed, UTC)

    def real(self, span: timedelta) -> float:
        """The seconds that so much of its time takes."""
        return span.total_seconds() / self.factor

    def wait_until(self, moment: datetime) -> None:
        """Sleep until it shows this; not at all if it has."""
        time.sleep(max(self.real(moment - self.now()), 0.0))

    @contextmanager
    def inherited(self) -> Iterator[None]:
        """Processes that are started inside the block live by this clock."""
        kept = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name, value in kept.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
