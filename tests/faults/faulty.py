"""The user's project of the fault tests: tasks that write down what they do.

Not shared with other apps: the tests import this anew, each time as another app.
"""

import os
import resource
import select
import signal
import sys
import time
from pathlib import Path

from celery import Celery

import smartworker
from tests.faults import inside
from tests.faults.record import Record

app = smartworker.setup(Celery("faulty"))
inside.adjust(app)
record = Record(Path(os.environ["FAULTY_LOG"]))
#: Tasks that wait do so until this file is there.
gate = Path(os.environ["FAULTY_GATE"])
#: Seconds of a soft shutdown; 0 for none.
app.conf.worker_soft_shutdown_timeout = float(os.environ.get("FAULTY_SOFT", "0"))
#: Tasks that wait give up by themselves after so many seconds.
LONGEST_WAIT = 120


def begin(task, n):
    """Write down that a task begins, and which attempt it is."""
    record.start(n, 1 + (task.request.get("smartworker_attempts") or 0))


def wait_at_gate():
    """Until the test opens it."""
    end = time.monotonic() + LONGEST_WAIT
    while not gate.exists() and time.monotonic() < end:
        select.select([], [], [], 0.02)  # libfaketime breaks time.sleep


@app.task(shared=False, bind=True)
def note(self, n, seconds=0):
    """Takes so many seconds; acknowledged late, as all tasks by default."""
    begin(self, n)
    time.sleep(seconds)
    record.end(n)


@app.task(shared=False, bind=True, ignore_result=True)
def quiet(self, n):
    """Leaves no result that could tell a second run of the first."""
    begin(self, n)
    record.end(n)


@app.task(shared=False, bind=True)
def late(self, n):
    """Waits at the gate; acknowledged late."""
    begin(self, n)
    wait_at_gate()
    record.end(n)


@app.task(shared=False, bind=True, acks_late=False)
def early(self, n):
    """Waits at the gate; acknowledged when it begins."""
    begin(self, n)
    wait_at_gate()
    record.end(n)


@app.task(shared=False, bind=True)
def carry(self, n="", payload=""):
    """Its result is what it was given; `n` may be missing."""
    begin(self, n or "empty")
    record.end(n or "empty")
    return [n, payload]


@app.task(shared=False, bind=True)
def fatal(self, n):
    """Kills its own process, as the kernel does when memory runs out."""
    begin(self, n)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(shared=False, bind=True)
def eat(self, n, megabytes=64):
    """Wants more memory than its process may have from now on."""
    begin(self, n)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    room = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (room, hard))
    try:
        kept = []
        while True:
            kept.append(bytearray(2**20))
    finally:
        kept.clear()
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@app.task(shared=False, bind=True)
def short(self, n):
    """Has run out of memory, without touching any."""
    begin(self, n)
    raise MemoryError


@app.task(shared=False, bind=True)
def leave(self, n):
    """Wants to end the process that it runs in."""
    begin(self, n)
    sys.exit(3)


@app.task(shared=False, bind=True)
def parent(self, n, children=1):
    """Publishes subtasks."""
    begin(self, n)
    for child in range(children):
        note.delay(f"{n}.{child}")
    record.end(n)


if os.environ.get("FAULTY_RELEASE") != "old":

    @app.task(shared=False, bind=True)
    def novel(self, n):
        """Only the new release knows it."""
        begin(self, n)
        record.end(n)
