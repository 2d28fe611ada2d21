"""`smartworker review` of 1 GB: lines a second of one core, and the memory it takes.

Method: made-up logs of two days as a worker, a web process and another service write
them, eight lines of ten being events, piped into the command through standard input;
the time is the processor time of the command alone, the memory its highest resident
set. Beside it stands what `json.loads` of the standard library needs for the same
lines and nothing else.
"""

import json
import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).parent
MEGABYTES = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
BEGIN = datetime(2026, 11, 23, 5, tzinfo=UTC)
BLOCK = 20_000  # lines that are made once; they are repeated with other ids
ZEROS = b"00000000-0000-4000-8000-000000000000"


def main() -> None:
    """Measure, print, write the figures."""
    block = lines(BLOCK)
    repeats = MEGABYTES * 1_000_000 // sum(map(len, block)) + 1
    command = subprocess.Popen(
        [sys.executable, "-m", "smartworker.cli.main", "review", "--json", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "SMARTWORKER_TIMEZONE": "America/New_York"},
    )
    assert command.stdin is not None
    assert command.stdout is not None
    total = size = 0
    for number in range(repeats):
        tag = b"%08x" % number
        data = b"".join(block).replace(ZEROS[:8], tag)
        command.stdin.write(data)
        total, size = total + len(block), size + len(data)
    command.stdin.close()
    report = json.loads(command.stdout.read())
    _, _, used = os.wait4(command.pid, 0)
    assert report["reading"]["lines"] == total
    seconds = used.ru_utime + used.ru_stime
    rate = total / seconds
    figures = {
        "megabytes": round(size / 1e6),
        "lines": total,
        "processor_seconds": round(seconds, 1),
        "lines_a_second": round(rate),
        "resident_megabytes": round(used.ru_maxrss / 1024),
        "json_loads_lines_a_second": round(plain(block)),
    }
    for name, value in figures.items():
        print(f"{name}: {value:,}")
    if "-" not in sys.argv:
        (HERE / "review.json").write_text(json.dumps(figures, indent=1) + "\n")


def lines(count: int) -> list[bytes]:
    """Log lines of two days, in order."""
    rng = random.Random(1)
    found: list[bytes] = []
    for number in range(count):
        at = BEGIN + timedelta(days=2) * (number / count)
        found.append(_line(number, at, rng) + b"\n")
    return found


def _line(number: int, at: datetime, rng: random.Random) -> bytes:
    stamp = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    kind, run = number % 10, number // 10
    common = {
        "task_id": ZEROS.decode()[:24] + f"{run:012x}",
        "task": f"shop.task_{run % 40}",
        "job": f"job-{run % 20}",
        "trigger_id": f"{rng.getrandbits(64):016x}",
        "level": "info",
        "timestamp": stamp,
    }
    if kind in (0, 5):
        return b'10.214.0.7 - - "GET /static/app.css HTTP/1.1" 200 5120 "-" "Mozilla"'
    if kind == 1:
        fields = {"event": "trigger_accepted", "slot": stamp, "address": "10.0.0.3"}
    elif kind == 2 and run % 50 == 0:
        fields = {"event": "worker_report", "worker": f"celery@{run % 3}", "polls": 2}
        fields |= {"since": (at - timedelta(hours=1)).isoformat(), "billed": 5}
        return json.dumps(
            {**fields, "commands": {"poll": 2, "take": 3}, "timestamp": stamp}
        ).encode()
    elif kind == 3 and run % 7 == 0:
        error = f"TimeoutError: lane {rng.randrange(99)} is busy, try {run}"
        fields = {"event": "task_failed", "attempt": 1, "error": error}
        fields |= {"seconds": round(rng.expovariate(1), 3)}
    elif kind % 2:
        fields = {"event": "task_finished", "state": "SUCCESS"}
        fields |= {"seconds": round(rng.expovariate(1), 3)}
    else:
        fields = {"event": "task_started"}
    return json.dumps({**common, **fields}).encode()


def plain(block: list[bytes]) -> float:
    """Lines a second of the standard library's reader, on those that are JSON."""
    mine = [each for each in block if each[:1] == b"{"] * 5
    begin = time.process_time()
    for each in mine:
        json.loads(each)
    return len(mine) / (time.process_time() - begin)


if __name__ == "__main__":
    main()
