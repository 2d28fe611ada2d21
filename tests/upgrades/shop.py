"""The project of these tests: tasks that say on which release they run.

`SHOP_PREVIOUS`: the folder of the release before; `SHOP_RECORD`: where the tasks write;
`SHOP_GATES`: the folder of files that tasks wait for; `SHOP_SLOT`: a schedule.
"""

import os
import time
from pathlib import Path

from celery import Celery

import smartworker

OLD, NEW = "old", "new"
is_old = Path(smartworker.__file__).is_relative_to(os.environ["SHOP_PREVIOUS"])
RELEASE = OLD if is_old else NEW
RECORD = Path(os.environ["SHOP_RECORD"])
GATES = Path(os.environ["SHOP_GATES"])
#: Tasks that wait give up by themselves after so many seconds.
LONGEST_WAIT = 60

jobs = smartworker.Jobs()
for release in (OLD, NEW):
    jobs.declare(
        f"nightly-{release}",
        f"shop.nightly_{release}",
        schedule=os.environ["SHOP_SLOT"],
        zone="UTC",
    )
    jobs.declare(f"single-{release}", f"shop.single_{release}", overlap="skip")
app = smartworker.setup(Celery("shop"), jobs=jobs)
# Jobs have no queue of their own: their tasks do.
app.conf.task_routes = {f"shop.*_{release}": release for release in (OLD, NEW)}


def say(task, n):
    """One line, in one write: name, number, release, run, attempt and time."""
    request = task.request
    attempt = request.get("smartworker_attempts") or 0
    line = f"{task.name} {n} {RELEASE} {request.retries} {attempt} {time.time()}\n"
    with RECORD.open("a") as file:
        file.write(line)


def wait_at(gate):
    """Until the test opens it."""
    end = time.monotonic() + LONGEST_WAIT
    while not (GATES / gate).exists() and time.monotonic() < end:
        time.sleep(0.02)


@app.task(bind=True)
def note(self, n):
    """Says where it ran."""
    say(self, n)
    return RELEASE


@app.task(bind=True)
def late(self, n):
    """Waits at its gate, and says how far it is meanwhile."""
    say(self, n)
    smartworker.progress(1, 2)
    wait_at(n)
    return RELEASE


@app.task(bind=True)
def again(self, n, seconds):
    """Fails once, and asks to run again after so many seconds."""
    say(self, n)
    if not self.request.retries:
        raise self.retry(countdown=seconds)
    return RELEASE


@app.task
def fail(word):
    """Always fails."""
    raise ValueError(word)


@app.task
def add(x, y):
    """The sum of two."""
    return x + y


@app.task
def total(numbers):
    """The sum of all, and where it was made."""
    return [sum(numbers), RELEASE]


def nightly(self):
    """The run of a job."""
    say(self, "run")
    return RELEASE


def single(self):
    """The run of a job that must not overlap: waits at a gate."""
    say(self, "run")
    wait_at(self.name)
    return RELEASE


for release in (OLD, NEW):
    app.task(bind=True, name=f"shop.nightly_{release}")(nightly)
    app.task(bind=True, name=f"shop.single_{release}")(single)
