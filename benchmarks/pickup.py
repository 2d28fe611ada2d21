"""Pick-up latency beside stock Celery, in one run on one server.

Method: one worker of each kind (threads pool, concurrency 2, each on its own queue),
smartworker in quiet hours, so that its next poll is 30 minutes away. Three series,
one task of each in turn, with random gaps: stock to stock, smartworker to smartworker,
and a stock sender to a smartworker worker. A sample is the time from just before
`.delay()` to the first line of the task. The notes go to a second server. Only the
ratios of the medians are worth quoting.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import redis

from smartworker.store.server import EmbeddedServer

HERE = Path(__file__).parent
SAMPLES = int(sys.argv[1]) if len(sys.argv) > 1 else 300
WARM_UP = 20
# (series, module of the sender, queue)
SERIES = (
    ("stock to stock", "tasks_stock", "stock"),
    ("smart to smart", "tasks_smart", "smart"),
    ("stock to smart", "tasks_stock", "smart"),
)


def main() -> None:
    """Measure, print a table, write the raw numbers."""
    with EmbeddedServer() as broker, EmbeddedServer() as notebook:
        notes = redis.Redis.from_url(notebook.url)
        base = {**os.environ, "REDIS_URL": broker.url, "NOTES_URL": notebook.url}
        started = []
        try:
            for module, queue in (("tasks_stock", "stock"), ("tasks_smart", "smart")):
                started.append(start_worker(module, {**base, "BENCH_QUEUE": queue}))
            senders = {}
            for series, module, queue in SERIES:
                environment = {**base, "BENCH_QUEUE": queue}
                senders[series] = start_sender(module, environment)
            started += senders.values()
            time.sleep(5)
            measure(notes, senders)
        finally:
            for process in started:
                process.kill()
                process.wait()
        report({series: samples(notes, series) for series, _, _ in SERIES})


def start_worker(module: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """A worker; smartworker's windows are closed for the whole run."""
    hour = datetime.now(UTC) + timedelta(hours=6)
    environment["SMARTWORKER_WINDOWS"] = f"{hour:%H:00}-{hour:%H:30}=30s@UTC"
    queue = environment["BENCH_QUEUE"]
    command = [sys.executable, "-m", "celery", "-A", module, "worker", "-P", "threads"]
    return subprocess.Popen(
        [*command, "-c", "2", "-Q", queue, "-n", f"{queue}@bench"],
        cwd=HERE,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def start_sender(module: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """A process that publishes when it is told to."""
    return subprocess.Popen(
        [sys.executable, "send.py", module],
        cwd=HERE,
        env=environment,
        stdin=subprocess.PIPE,
    )


def measure(notes: redis.Redis, senders: dict[str, subprocess.Popen[bytes]]) -> None:
    """One task of each series in turn, each awaited before the next."""
    gap = random.Random(7)
    for number in range(SAMPLES + WARM_UP):
        for series, sender in senders.items():
            assert sender.stdin is not None
            sender.stdin.write(f"{series}\n".encode())
            sender.stdin.flush()
            deadline = time.monotonic() + 10
            while notes.llen(series) <= number:
                if time.monotonic() > deadline:
                    raise SystemExit(f"{series}: task {number} was not picked up")
                time.sleep(0.001)
            time.sleep(gap.uniform(0.005, 0.03))


def samples(notes: redis.Redis, series: str) -> list[float]:
    """Milliseconds, without the warm-up."""
    found = notes.lrange(series, WARM_UP, -1)
    return [float(text) * 1000 for text in found]


def report(series: dict[str, list[float]]) -> None:
    """A row per series; the ratio is to the first."""
    first = statistics.median(next(iter(series.values())))
    print(f"{'series':16} {'p50 ms':>8} {'p95 ms':>8} {'max ms':>8} {'ratio p50':>10}")
    for name, values in series.items():
        cuts = statistics.quantiles(values, n=20)
        median = statistics.median(values)
        print(
            f"{name:16} {median:8.2f} {cuts[18]:8.2f} {max(values):8.2f} "
            f"{median / first:10.2f}"
        )
    (HERE / "pickup.json").write_text(json.dumps(series, indent=1))


if __name__ == "__main__":
    main()
