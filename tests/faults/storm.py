"""A storm: workers that are killed all the time, and connections that are cut.

    python -m tests.faults.storm redis://127.0.0.1:6379/0 --seed 7
    python -m tests.faults.storm redis://127.0.0.1:6379/0 --seed 7 --stock

Prints one JSON object: what was lost, and what was done twice. A worker boots for
longer than it would live here, so all are forked from a process that has imported
everything: real Celery workers, with a short childhood.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

import smartworker
from smartworker.settings import Settings
from tests.faults.record import Record

#: Seconds between two SIGKILLs.
PAUSES = (0.05, 0.25)
#: A connection is cut after so many kills.
CUT_EACH = 3
#: Seconds after which held messages of a killed worker come back.
LEASE = 2
#: Seconds that it storms at the most; then the workers that live may finish, and are
#: waited for while something happens once in so many seconds.
LONGEST = 120.0
CALM = 30.0


@dataclass
class Storm:
    """What a storm has done, and what became of the tasks."""

    kind: str
    seed: int
    tasks: int
    kills: int = 0
    cuts: int = 0
    lost: int = 0
    duplicates: int = 0
    interrupted: int = 0
    left_behind: int = 0
    seconds: float = 0.0


def make_app(kind: str, url: str, record: Record, seconds: float) -> Celery:
    """The app of one kind, with one task that writes down what it does."""
    app = Celery("storm", broker=url, backend=url)
    if kind == "smart":
        settings = Settings(
            redis_url=url,
            lease=timedelta(seconds=LEASE),
            quiet_poll=timedelta(seconds=1),
            max_deliveries=1000,
        )
        smartworker.setup(app, settings)
    else:
        app.conf.update(
            task_acks_late=True,
            task_reject_on_worker_lost=True,
            broker_transport_options={"visibility_timeout": LEASE},
        )

    @app.task(name="storm.note")
    def note(number: int) -> int:
        record.start(number, 1)
        time.sleep(seconds)
        record.end(number)
        return number

    return app


def fork_worker(app: Celery) -> int:
    """A new worker; its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        app.worker_main(["worker", "-P", "solo", "-l", "CRITICAL"])
    finally:
        os._exit(0)


def blow(app: Celery, url: str, record: Record, storm: Storm, workers: int) -> None:
    """Kill until everything is done, then wait until nothing is left."""
    rng = random.Random(storm.seed)
    client = redis.Redis.from_url(url)
    numbers = range(storm.tasks)
    for number in numbers:
        app.send_task("storm.note", (number,))
    alive = [fork_worker(app) for _ in range(workers)]
    begun = time.monotonic()
    while record.lost(numbers) and time.monotonic() - begun < LONGEST:
        time.sleep(rng.uniform(*PAUSES))
        slot = rng.randrange(workers)
        os.kill(alive[slot], signal.SIGKILL)
        os.waitpid(alive[slot], 0)
        alive[slot] = fork_worker(app)
        storm.kills += 1
        if storm.kills % CUT_EACH == 0:
            storm.cuts += int(client.client_kill_filter(_type=rng.choice(TYPES)))
    wait_for_calm(client, record)
    storm.seconds = round(time.monotonic() - begun, 1)
    for pid in alive:
        os.kill(pid, signal.SIGTERM)
    for pid in alive:
        os.waitpid(pid, 0)
    storm.left_behind = held(client)
    client.close()


def wait_for_calm(client: Any, record: Record) -> None:
    """Until nothing is held any more, or nothing has happened for a while."""
    seen, since = -1, time.monotonic()
    while held(client) and time.monotonic() - since < CALM:
        done = sum(record.ends().values())
        if done != seen:
            seen, since = done, time.monotonic()
        time.sleep(0.2)


TYPES = ("normal", "pubsub")


def held(client: Any) -> int:
    """Messages that wait or that somebody holds, of either kind of worker."""
    lists = [b"celery", *client.scan_iter("smartworker:inflight:*", count=1000)]
    return sum(client.llen(name) for name in lists) + client.hlen("unacked")


def run(
    url: str, kind: str, seed: int, tasks: int, workers: int = 6, seconds: float = 0.02
) -> Storm:
    """One storm on an empty server; fork-safe only in a process without threads."""
    storm = Storm(kind, seed, tasks)
    with tempfile.TemporaryDirectory() as folder:
        record = Record(Path(folder) / "record")
        stock = dict(TRANSPORT_ALIASES)
        try:
            blow(make_app(kind, url, record, seconds), url, record, storm, workers)
        finally:
            TRANSPORT_ALIASES.update(stock)
        ends = record.ends()
        storm.lost = len(record.lost(range(tasks)))
        storm.duplicates = sum(ends.values()) - len(ends)
        storm.interrupted = sum(record.starts().values()) - sum(ends.values())
    return storm


def main() -> None:
    """Read the options, run the storm, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--stock", action="store_true", help="Celery as it is")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--tasks", type=int, default=6000)
    parser.add_argument("--workers", type=int, default=6)
    options = parser.parse_args()
    kind = "stock" if options.stock else "smart"
    with suppress(KeyboardInterrupt):
        storm = run(options.url, kind, options.seed, options.tasks, options.workers)
        sys.stdout.write(json.dumps(asdict(storm)) + "\n")


if __name__ == "__main__":
    main()
