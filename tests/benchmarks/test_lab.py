"""The lab of the benchmarks: what it counts, delays and hands on is right."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.lab.billing import Server
from benchmarks.lab.link import HOST, Link
from benchmarks.lab.peers import FOLDERS

ROUND_TRIP = 0.2
#: So many numbers of four bytes, so many bytes at a time: two thousand chunks.
NUMBERS, CHUNK = 100_000, 200
DRIVER = FOLDERS / "driver.py"


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of a benchmark, and its bill."""
    with Server() as server:
        yield server


def test_bill_counts_each_command_once(server: Server) -> None:
    """Each is on the bill that covers it, and on no other."""
    for number in range(3):
        server.client.set(f"key:{number}", number)
    server.client.mget("key:0", "key:1")
    assert server.billed() == {"set": 3, "mget": 1}
    assert server.billed() == {}
    server.client.delete("key:0", "key:1", "key:2")
    assert server.billed() == {"del": 1}


def test_bill_counts_inside_scripts(server: Server) -> None:
    """A script costs itself and whatever it runs."""
    script = "for n = 1, 5 do redis.call('INCR', KEYS[1]) end; redis.call('PING')"
    server.client.eval(script, 1, "counter")
    assert server.billed() == {"incr": 5, "eval": 1}


def test_bill_counts_inside_transactions(server: Server) -> None:
    """A transaction costs MULTI, EXEC and what is between."""
    with server.client.pipeline(transaction=True) as pipe:
        pipe.lpush("list", "a").lpush("list", "b").llen("list").execute()
    assert server.billed() == {"lpush": 2, "multi": 1, "exec": 1, "llen": 1}


def test_bill_leaves_out_what_is_free(server: Server) -> None:
    """What Upstash does not bill is not on it, whoever sends it."""
    server.client.ping()
    server.client.info()
    server.client.config_get("maxmemory")
    server.client.execute_command("SELECT", 0)
    server.client.execute_command("HELLO", 2)
    assert server.billed() == {}


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The near and the far end of a connection through a link."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((HOST, 0)))
        link = stack.enter_context(Link(listener.getsockname()[1], ROUND_TRIP))
        near = stack.enter_context(socket.create_connection((HOST, link.port)))
        far = stack.enter_context(listener.accept()[0])
        for end in (near, far):
            end.settimeout(30)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield near, far


def receive_some(end: socket.socket, most: int = 65_536) -> bytes:
    """What has come, at least a byte."""
    chunk = end.recv(most)
    assert chunk, "the other end is gone"
    return chunk


def receive(end: socket.socket, size: int) -> bytes:
    """So many bytes, however they come."""
    received = bytearray()
    while len(received) < size:
        received += receive_some(end, size - len(received))
    return bytes(received)


def test_link_takes_its_round_trip(ends: tuple[socket.socket, socket.socket]) -> None:
    """A question and its answer take a round trip, half of it each way."""
    near, far = ends
    begun = time.monotonic()
    near.sendall(b"?")
    assert receive(far, 1) == b"?"
    assert time.monotonic() - begun >= ROUND_TRIP / 2
    far.sendall(b"!")
    assert receive(near, 1) == b"!"
    assert time.monotonic() - begun >= ROUND_TRIP


@pytest.mark.parametrize("back", [False, True])
def test_link_keeps_order(
    ends: tuple[socket.socket, socket.socket], back: bool
) -> None:
    """Many chunks arrive as they were sent, in both directions."""
    source, sink = reversed(ends) if back else ends
    sent = b"".join(number.to_bytes(4, "big") for number in range(NUMBERS))

    def send() -> None:
        for start in range(0, len(sent), CHUNK):
            source.sendall(sent[start : start + CHUNK])

    sending = threading.Thread(target=send)
    sending.start()
    received = receive(sink, len(sent))
    sending.join()
    assert received == sent


def test_link_lets_nothing_wait_in_line(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """Each chunk is under way by itself: they do not arrive in clumps of a delay."""
    near, far = ends

    def send() -> None:
        for _ in range(100):
            near.sendall(b".")
            time.sleep(ROUND_TRIP / 100)

    sending = threading.Thread(target=send)
    sending.start()
    clumps, left = 0, 100
    while left:
        left -= len(receive_some(far))
        clumps += 1
    sending.join()
    # One delay after the other would make two or three of them.
    assert clumps >= 8


def test_link_ends_with_either_end(ends: tuple[socket.socket, socket.socket]) -> None:
    """What was sent before the end still arrives; then the other end hears of it."""
    near, far = ends
    near.sendall(b"last words")
    near.close()
    assert receive(far, 10) == b"last words"
    assert far.recv(1) == b""


APP = """
from pathlib import Path

said = Path("said")

def say(*words):
    with said.open("a") as file:
        print(*words, file=file)

async def ready():
    say("ready")

async def noop(payload):
    say("noop", len(payload))

def stamp(series, sent):
    say("stamp", series, sent > 0)
"""
MANY = """
def many(count, payload):
    say("many", count, len(payload))
"""


def driven(folder: Path, app: str, *orders: dict[str, object]) -> list[str]:
    """What an app was asked for when the driver got these orders."""
    (folder / "app.py").write_text(app)
    lines = "".join(json.dumps(order) + "\n" for order in orders)
    answers = subprocess.run(
        [sys.executable, str(DRIVER)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        input=lines,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert all(json.loads(answer)["seconds"] >= 0 for answer in answers)
    assert len(answers) == len(orders)
    return (folder / "said").read_text().splitlines()


def test_driver_queues_as_told(tmp_path: Path) -> None:
    """Coroutine functions and plain ones alike, in the order of the lines."""
    said = driven(
        tmp_path,
        APP,
        {"do": "ready"},
        {"do": "noop", "count": 2, "size": 3, "group": False},
        {"do": "stamp", "series": "a"},
    )
    assert said == ["ready", "noop 3", "noop 3", "stamp a True"]


@pytest.mark.parametrize(
    ("app", "expected"),
    [(APP + MANY, ["many 2 0"]), (APP, ["noop 0", "noop 0"])],
    ids=["with", "without"],
)
def test_driver_groups_where_it_can(
    tmp_path: Path, app: str, expected: list[str]
) -> None:
    """One call where the peer has one, else a call for each."""
    order = {"do": "noop", "count": 2, "size": 0, "group": True}
    assert driven(tmp_path, app, order) == expected
