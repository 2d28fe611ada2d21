"""Workers that stand still, so that only their producer is counted."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.lab.processes import Bench

#: Seconds in which a blocking read of one second has returned.
QUIET = 1.2


@contextmanager
def standstill(bench: Bench) -> Iterator[None]:
    """All processes of all workers are stopped (SIGSTOP), and go on after the block."""
    pids = [pid for worker in bench.workers for pid in worker.pids()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(QUIET)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
