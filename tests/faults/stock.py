"""Celery as it is, with the same tasks: a producer and a worker of another house.

    python -m tests.faults.stock 20 0.05

publishes so many tasks with so many seconds in between, and prints when.
"""

import os
import sys
import time
from pathlib import Path

from celery import Celery

from tests.faults.record import Record

url = os.environ["REDIS_URL"]
app = Celery("stock", broker=url, backend=url)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_transport_options={
        "visibility_timeout": float(os.environ.get("STOCK_VISIBILITY", "3600"))
    },
)
record = Record(Path(os.environ["FAULTY_LOG"]))
gate = Path(os.environ["FAULTY_GATE"])


@app.task(name="tests.faults.faulty.note")
def note(n, seconds=0):
    """Takes so many seconds."""
    record.start(n, 1)
    time.sleep(seconds)
    record.end(n)


@app.task(name="tests.faults.faulty.late")
def late(n):
    """Waits at the gate."""
    record.start(n, 1)
    end = time.monotonic() + 120
    while not gate.exists() and time.monotonic() < end:
        time.sleep(0.02)
    record.end(n)


if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        print(time.time())  # noqa: T201 - read by the test
        note.delay(f"stock-{number}")
        time.sleep(float(sys.argv[2]))
