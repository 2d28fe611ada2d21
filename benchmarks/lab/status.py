"""What it costs to learn that a task has ended: by asking again and again, by waiting.

The method is told in `benchmarks.measures.tasks`, which runs this.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from benchmarks.lab.billing import Server
from benchmarks.lab.peers import Peer
from benchmarks.lab.processes import Bench, Sender, bench, sender
from benchmarks.lab.standstill import standstill
from smartworker.leash import leashed
from smartworker.store.server import HOST, free_port

#: Five minutes of somebody who asks each 2 s, and of waits of 25 s.
QUESTIONS, WAITS = 150, 12
#: Questions that are counted, and seconds of the task that runs meanwhile.
ASKED, ASKED_TASK = 20, 5.0
#: Seconds until a worker has taken a task, and after a task's end for its last command.
SETTLE = 2.0
FINAL = ("SUCCESS", "FAILURE")


def polling(peer: Peer) -> dict[str, Any]:
    """`question`: commands of one; `five_minutes`; `raw`: of 20, by command."""
    with Server() as server, bench(peer, server.url) as made:
        made.start()
        with sender(made) as asker:
            task = _sleeper(asker, ASKED_TASK)
            _ask(asker, task)
            with standstill(made):
                server.billed()
                for _ in range(ASKED):
                    _ask(asker, task)
                raw = server.billed()
    one = sum(raw.values()) / ASKED
    return {"question": one, "five_minutes": one * QUESTIONS, "raw": raw}


def long_poll(peer: Peer, seconds: float, wait: float) -> dict[str, Any]:
    """Commands of the `first` wait, of each `between`, of the `last`; `five_minutes`.

    `waits` has all of them, by command; `unwatched` is the end of a task that nobody
    waits for. Raises SystemExit if the process does not tell the end.
    """
    with (
        Server() as server,
        bench(peer, server.url) as made,
        _web(made) as web,
        sender(made) as asker,
    ):
        made.start()
        _sleeper(asker, seconds)
        server.billed()
        made.wait_for_ticks(1)
        time.sleep(SETTLE)
        unwatched = server.billed()
        task = _sleeper(asker, seconds)
        server.billed()
        waits = _watch(server, web, task, wait, seconds)
    first, *others, last = (sum(each.values()) for each in waits)
    last -= sum(unwatched.values())
    between = sum(others) / len(others)
    return {
        "first": first,
        "between": between,
        "last": last,
        "five_minutes": first + between * (WAITS - 2) + last,
        "waits": waits,
        "unwatched": unwatched,
    }


def _sleeper(asker: Sender, seconds: float) -> str:
    """The id of a task that runs now."""
    answer = asker.ask(do="call", name="sleep", arguments=[seconds])
    time.sleep(SETTLE)
    return str(answer["answer"])


def _ask(asker: Sender, task: str) -> None:
    state = asker.ask(do="call", name="state", arguments=[task])["answer"]
    if state in FINAL:
        raise SystemExit(f"the task that is asked for is not running: {state}")


def _watch(
    server: Server, web: httpx.Client, task: str, wait: float, seconds: float
) -> list[dict[str, int]]:
    """What each wait costs, up to the one that tells the end."""
    waits: list[dict[str, int]] = []
    deadline = time.monotonic() + 2 * seconds
    while time.monotonic() < deadline:
        answer = web.get(f"/api/tasks/{task}", params={"wait": wait}).raise_for_status()
        ended = answer.json()["state"].upper() in FINAL
        if ended:
            time.sleep(SETTLE)
        waits.append(server.billed())
        if ended:
            return waits
    raise SystemExit(f"{len(waits)} waits, and no end of a task of {seconds} s")


@contextmanager
def _web(made: Bench) -> Iterator[httpx.Client]:
    """A client of `smartworker web` for the app of a bench.

    It runs in this Python: the peer's own has no web half.
    """
    port = free_port()
    words = ["-m", "smartworker.cli.main", "web", "-A", "app", "--host", HOST]
    environment = {**made.environment(made.url), "PORT": str(port)}
    with (made.notes / "web.log").open("wb") as log:
        process = subprocess.Popen(
            leashed([sys.executable, *words]),
            cwd=made.peer.directory,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        base = f"http://{HOST}:{port}"
        with httpx.Client(base_url=base, trust_env=False, timeout=60) as client:
            made.wait_until(lambda: _answers(client), "the web process")
            yield client
    finally:
        process.kill()
        process.wait()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/livez").is_success
    except httpx.TransportError:
        return False
