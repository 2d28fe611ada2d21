"""Triggers of a real web process: round trips, a storm of one slot, and idling.

Method: `smartworker web` with the swim example on a server of its own, asked over
HTTP/1.1 with kept connections. Round trips are sent 20 a second, evenly, each a run of
its own (an Idempotency-Key each), so each costs three commands. The storm is 1,000
calls of one slot from 50 connections. Idle is a minute in which nobody asks.
"""

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import redis

from smartworker.store.server import HOST, EmbeddedServer, free_port
from smartworker.testing import commandstats

HERE = Path(__file__).parent
SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 60
A_SECOND = 20
TOKEN = "t" * 40
JOB = "/api/cron/schedule-swim-lanes"
OURS = {"info", "config|resetstat"}


def main() -> None:
    """Measure, print, write the raw numbers."""
    with EmbeddedServer() as server:
        environment = {
            **os.environ,
            "REDIS_URL": server.url,
            "SMARTWORKER_CRON_TOKENS": TOKEN,
            "PORT": str(free_port()),
        }
        port = int(environment["PORT"])
        web = subprocess.Popen(
            [sys.executable, "-m", "smartworker.cli.main", "web"],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        try:
            with client(port) as asker, redis.Redis.from_url(server.url) as counter:
                wait_for(asker)
                asker.post(JOB).raise_for_status()
                storm(port, counter)
                trips = round_trips(asker)
                idle(counter)
        finally:
            web.terminate()
            web.wait()
    (HERE / "triggers.json").write_text(json.dumps(trips, indent=1))


def client(port: int) -> httpx.Client:
    """A client with a kept connection."""
    return httpx.Client(
        base_url=f"http://{HOST}:{port}",
        headers={"Authorization": f"Bearer {TOKEN}"},
        trust_env=False,
        timeout=10,
    )


def wait_for(asker: httpx.Client) -> None:
    """Until the process answers."""
    for _ in range(200):
        try:
            asker.get("/livez")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the web process does not answer")


def storm(port: int, counter: redis.Redis) -> None:
    """1,000 calls of one slot, whose minute must not end meanwhile."""
    time.sleep(max(0, 61 - time.time() % 60) if time.time() % 60 > 40 else 0)
    counter.delete("celery")
    local = threading.local()

    def call(_: int) -> tuple[int, str]:
        if not hasattr(local, "client"):
            local.client = client(port)
        answer = local.client.post(JOB, headers={"Idempotency-Key": "storm"})
        return answer.status_code, answer.json()["task_id"]

    with ThreadPoolExecutor(50) as pool:
        answers = set(pool.map(call, range(1000)))
    queued = counter.llen("celery")
    print(f"storm: {len(answers)} distinct answer(s), {queued} task(s) queued")


def round_trips(asker: httpx.Client) -> list[float]:
    """Milliseconds of each call."""
    trips = []
    begin = time.perf_counter()
    for number in range(SECONDS * A_SECOND):
        time.sleep(max(0, begin + number / A_SECOND - time.perf_counter()))
        started = time.perf_counter()
        answer = asker.post(JOB, headers={"Idempotency-Key": f"run-{number}"})
        trips.append((time.perf_counter() - started) * 1000)
        assert answer.status_code == 202, answer.text
        assert "Idempotent-Replayed" not in answer.headers
    cuts = statistics.quantiles(trips, n=100)
    print(
        f"{len(trips)} round trips at {A_SECOND} a second: "
        f"p50 {statistics.median(trips):.1f} ms, p99 {cuts[98]:.1f} ms, "
        f"max {max(trips):.1f} ms"
    )
    return trips


def idle(counter: redis.Redis) -> None:
    """A minute in which nobody asks."""
    counter.config_resetstat()
    time.sleep(60)
    found = {k: v for k, v in commandstats(counter).items() if k not in OURS}
    print(f"a minute of idling: {found or 'no command'}")


if __name__ == "__main__":
    main()
