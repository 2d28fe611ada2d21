"""The worker's port: clients that are slow, silent or many hold up nobody."""

import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection

import pytest

from smartworker.testing import ManualClock
from smartworker.worker.port import MOST, WITHIN, Answer, Server
from tests.processes import wait_until


def answers(path: str, accept: str) -> Answer | None:
    """One page, one that is none, and one that fails."""
    if path == "/broken":
        raise RuntimeError("the state changed while it was read")
    page = HTTPStatus.OK, "text/plain", f"{path} {accept}".encode()
    return page if path == "/page" else None


@pytest.fixture
def clock() -> ManualClock:
    """Stands still until it is set."""
    return ManualClock()


@pytest.fixture
def port(clock: ManualClock) -> Iterator[int]:
    """Where a server listens."""
    server = Server(("127.0.0.1", 0), answers, clock)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield int(server.server_address[1])
    server.shutdown()
    thread.join(5)
    server.server_close()


def ask(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Status and body; 0 for a connection that is closed without an answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, headers={"Accept": "text/*"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (ConnectionError, OSError):
        return 0, b""
    finally:
        connection.close()


def test_pages_are_answered(port: int) -> None:
    """GET and HEAD, without the query; 404 for what is not there."""
    assert ask(port, "/page?x=1") == (200, b"/page text/*")
    assert ask(port, "/page", "HEAD") == (200, b"")
    assert ask(port, "/other")[0] == 404
    assert ask(port, "/page", "DELETE")[0] == 501
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"GET http://[ HTTP/1.0\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.0 404"


def test_a_page_that_fails_is_an_answer(port: int) -> None:
    """500 without a word of the error, and the next question is answered."""
    assert ask(port, "/broken") == (500, b'{"status": "try again"}')
    assert ask(port, "/page")[0] == 200


def test_clients_that_say_nothing_are_cut(port: int, clock: ManualClock) -> None:
    """While they have all places others are turned away, and then served again."""
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(MOST)]
    try:
        for each in idle:
            each.sendall(b"GET /pa")
        wait_until(lambda: ask(port, "/page")[0] == 0)
        clock.advance(WITHIN - 1)
        assert ask(port, "/page")[0] == 0
        clock.advance(2)
        wait_until(lambda: ask(port, "/page")[0] == 200, seconds=WITHIN / 2)
        for each in idle:
            each.settimeout(1)
            assert each.recv(10) == b""
    finally:
        for each in idle:
            each.close()
