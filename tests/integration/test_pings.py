"""Pings of runs, from a real worker to a real HTTP server."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs, urlsplit

import pytest

from smartworker.worker.pings import post
from tests.commands import run_command
from tests.integration.conftest import HERE, Counter, StartWorker
from tests.processes import WorkerProcess, wait_until
from tests.programs import openssl

KEY = "aVerySecretPingKey"


class Service:
    """What healthchecks would have heard: paths, bodies and run ids."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str]] = []
        #: Seconds before each answer, its status, and where it sends the caller.
        self.pause = 0.0
        self.status = 200
        self.location: str | None = None
        service = self

        class Handler(BaseHTTPRequestHandler):
            """Remembers what it was asked."""

            def do_POST(self) -> None:
                """Any ping."""
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length).decode()
                parts = urlsplit(self.path)
                (rid,) = parse_qs(parts.query).get("rid", [""])
                service.heard.append((parts.path, body, rid))
                time.sleep(service.pause)
                moved = service.location not in (None, parts.path)
                self.send_response(302 if moved else service.status)
                if moved:
                    self.send_header("Location", str(service.location))
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self._thread.start()

    def of(self, job: str) -> list[str]:
        """The signals of a job, in the order in which they came."""
        start = f"/{KEY}/{job}"
        return [
            path.removeprefix(start).lstrip("/") or "success"
            for path, _, _ in self.heard
            if path.startswith(start)
        ]

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    """A service that listens."""
    made = Service()
    yield made
    made.close()


def start(start_worker: StartWorker, url: str, *args: str, **env: str) -> WorkerProcess:
    """A worker that pings there."""
    worker = start_worker(
        *args,
        app="pinging",
        SMARTWORKER_PING_URL=f"{url}/{KEY}/{{job}}",
        OWN_PING=f"{url}/elsewhere",
        **env,
    )
    worker.wait_for("worker_ready")
    return worker


def trigger(redis_url: str, *jobs: str) -> None:
    """Queue a run of each of these jobs."""
    for job in jobs:
        words = ("trigger", job, "-A", "pinging")
        done = run_command(redis_url, *words, PYTHONPATH=str(HERE))
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_runs_are_pinged(
    start_worker: StartWorker, redis_url: str, service: Service
) -> None:
    """Start and end with one id; the error without secrets; retries are no failure."""
    worker = start(start_worker, service.url, "-c", "2")
    jobs = ("well", "badly", "again", "slowly", "ignored", "killed", "quiet", "own")
    trigger(redis_url, *jobs)
    wait_until(lambda: len(service.heard) >= 14, 30, "all pings")
    assert worker.stop() == 0
    ends = {job: service.of(job) for job in jobs[:6]}
    assert ends == {
        "well": ["start", "success"],
        "badly": ["start", "fail"],
        "again": ["start", "success"],
        "slowly": ["start", "fail"],
        "ignored": ["start", "success"],
        "killed": ["start", "fail"],
    }
    assert len(service.heard) == 14
    assert [path for path, _, _ in service.heard if path.startswith("/else")] == [
        "/elsewhere/start",
        "/elsewhere",
    ]
    bodies = {path: body for path, body, _ in service.heard if body}
    assert bodies.pop(f"/{KEY}/badly/fail").startswith("ValueError: no lane is free at")
    assert KEY not in str([*bodies.values()])
    assert "WorkerLostError" in bodies[f"/{KEY}/killed/fail"]
    assert "TimeLimitExceeded" in bodies[f"/{KEY}/slowly/fail"]
    rids = {rid for path, _, rid in service.heard if path.startswith(f"/{KEY}/well")}
    assert len(rids) == 1
    assert KEY not in worker.text
    assert worker.events("ping_failed") == []


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_slow_service_delays_no_task(
    start_worker: StartWorker, redis_url: str, service: Service, pool: str
) -> None:
    """Each answer takes four seconds, and so would two pings of a run."""
    worker = start(start_worker, service.url, "-P", pool, "-c", "1")
    service.pause = 4.0
    trigger(redis_url, "well", "again", "own")
    wait_until(lambda: len(worker.events("task_finished")) >= 3)
    # None of the tasks has waited for the first answer.
    assert len(service.heard) <= 2
    begun = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - begun < 5


@pytest.mark.slow
def test_a_service_that_is_away_fails_no_task(
    start_worker: StartWorker, redis_url: str, service: Service, counter: Counter
) -> None:
    """One line for the whole outage, without the address; no command more."""
    service.close()
    worker = start(start_worker, service.url, "-c", "1")
    trigger(redis_url, "well", "own", "badly")
    wait_until(lambda: len(worker.events("task_finished")) == 2)
    worker.wait_for("ping_failed")
    assert worker.stop() == 0
    (line,) = worker.events("ping_failed")
    assert (line["signal"], line["host"]) == ("start", "127.0.0.1")
    assert "refused" in line["error"]
    assert KEY not in worker.text


def test_a_certificate_is_verified(service: Service, tmp_path: Path) -> None:
    """Nobody else hears what the service should."""
    wanted = ["req", "-x509", "-newkey", "rsa:2048", "-nodes"]
    wanted += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2"]
    wanted += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    openssl(tmp_path, *wanted)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            with suppress(ssl.SSLError, OSError), connection:
                context.wrap_socket(connection, server_side=True).recv(1)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(URLError, match="CERTIFICATE_VERIFY_FAILED"):
            post(f"https://127.0.0.1:{port}/key", "secret")
        thread.join(10)


@pytest.mark.slow
def test_a_dead_letter_is_a_failure(
    start_worker: StartWorker, redis_url: str, service: Service
) -> None:
    """Its process was killed at each delivery, so nobody else says how it ended."""
    worker = start(start_worker, service.url, "-c", "1", SMARTWORKER_MAX_DELIVERIES="1")
    trigger(redis_url, "poison")
    wait_until(lambda: "fail" in service.of("poison"), what="the failure")
    assert worker.stop() == 0
    assert service.of("poison")[0] == "start"
    assert service.of("poison")[-1] == "fail"
    bodies = [body for _, body, _ in service.heard if body]
    assert bodies[-1].startswith("DeadLettered: ")


def test_a_redirect_to_another_host_is_not_followed(service: Service) -> None:
    """Nor is any other answer than a good one taken for one."""
    other = Service()
    try:
        service.location = f"{other.url}/stolen"
        with pytest.raises(HTTPError, match="302"):
            post(f"{service.url}/key", "secret")
        assert other.heard == []
        service.location = "//evil.example/x"
        with pytest.raises(HTTPError, match="302"):
            post(f"{service.url}/key", "secret")
        service.status, service.location = 404, None
        with pytest.raises(HTTPError, match="404"):
            post(f"{service.url}/key", "")
    finally:
        other.close()


def test_a_redirect_on_the_same_host_is_followed(service: Service) -> None:
    """Such as one for a slash."""
    service.location = "/key/"
    post(f"{service.url}/key", "text")
    assert [path for path, _, _ in service.heard] == ["/key", "/key/"]
