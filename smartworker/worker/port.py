"""The worker's small port: metrics and health over HTTP, off by default.

In the worker's main process, in threads of its own, at no Redis command. Whoever calls,
and however slowly, holds up no task: a few connections at once, a few seconds each.
"""

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Any

from celery import bootsteps

from smartworker.clock import Clock, system_clock
from smartworker.exposition import Page
from smartworker.logs import get_logger
from smartworker.vitals import Readiness
from smartworker.worker.readings import readings
from smartworker.worker.vitals import readiness, vitals

log = get_logger(__name__)

#: Connections at once; more are closed as they come.
MOST = 8
#: Seconds for a whole request and its answer.
WITHIN = 5.0
#: Seconds between two looks at connections that take too long.
LOOK = 0.5

#: An answer: status, content type, body.
Answer = tuple[HTTPStatus, str, bytes]
Answers = Callable[[str, str], Answer | None]


class Server(ThreadingMixIn, HTTPServer):
    """Answers GET and HEAD with what `answers(path, accept)` gives; None is 404."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = MOST

    def __init__(
        self, address: tuple[str, int], answers: Answers, clock: Clock = system_clock
    ) -> None:
        """Listen. Raises OSError."""
        self.answers = answers
        self._clock = clock
        self._open: dict[socket.socket, float] = {}
        self._guard = threading.Lock()
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Without asking a name server who we are, as HTTPServer does."""
        super(HTTPServer, self).server_bind()
        self.server_name, self.server_port = str(self.server_address[0]), 0

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for one more."""
        with self._guard:
            if len(self._open) >= MOST:
                return False
            self._open[request] = self._clock.monotonic()
        return True

    def service_actions(self) -> None:
        """Cut connections that take too long, however lively they are."""
        before = self._clock.monotonic() - WITHIN
        with self._guard:
            late = [each for each, since in self._open.items() if since < before]
        for connection in late:
            _hang_up(connection)

    def shutdown_request(self, request: Any) -> None:
        """The connection is done."""
        with self._guard:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes in the middle is no news."""


class Handler(BaseHTTPRequestHandler):
    """One request for each connection."""

    server: Server
    timeout = WITHIN
    server_version = "smartworker"
    sys_version = ""

    def do_GET(self) -> None:
        """The answer, or 404."""
        path = self.path.partition("?")[0]
        try:
            answer = self.server.answers(path, self.headers.get("Accept", ""))
        except Exception:
            # Something changed while it was read: the next question is answered.
            answer = _told(HTTPStatus.INTERNAL_SERVER_ERROR, status="try again")
        status, kind, body = answer or _told(HTTPStatus.NOT_FOUND, status="not found")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        """Health checks come each few seconds: no lines about them."""


class Port(bootsteps.StartStopStep):
    """Opens the port when the pool has forked, and closes it at the end."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._worker = worker
        self._address = worker.app.smartworker.metrics_port
        self._server: Server | None = None

    def start(self, worker: Any) -> None:
        """Open it; a worker whose port is in use does without."""
        host, port = self._address
        try:
            pages = Pages(worker)
            self._server = Server((host, port), pages.answer)
        except Exception as error:
            # Whatever it is: no worker stops for its metrics.
            log.warning("port_not_opened", host=host, port=port, error=_brief(error))
            return
        threading.Thread(
            target=self._server.serve_forever,
            args=(LOOK,),
            name="smartworker-port",
            daemon=True,
        ).start()
        log.info("port_opened", host=host, port=port)

    def stop(self, worker: Any) -> None:
        """Close it."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    terminate = stop


class Pages:
    """What stands at which path of a worker's port."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._metrics = Page(lambda: readings(worker))

    def answer(self, path: str, accept: str) -> Answer | None:
        """The answer for a path; None where there is nothing."""
        if path == "/metrics":
            body, kind = self._metrics.render(accept)
            return HTTPStatus.OK, kind, body
        if path == "/livez":
            return _told(HTTPStatus.OK, status="ok")
        if path not in ("/readyz", "/healthz"):
            return None
        found = self._readiness()
        words = "ok" if found.ready else "not ready"
        if path == "/healthz":
            return _told(HTTPStatus.OK, status=words, **self._health(found))
        status = HTTPStatus.OK if found.ready else HTTPStatus.SERVICE_UNAVAILABLE
        return _told(status, status=words, reason=found.reason)

    def _readiness(self) -> Readiness:
        consumer = self._worker.consumer
        if getattr(consumer, "vital_signs", None) is None:
            return Readiness(False, "It is starting.")
        return readiness(consumer)

    def _health(self, found: Readiness) -> dict[str, Any]:
        told: dict[str, Any] = {"alive": True, **asdict(found)}
        consumer = self._worker.consumer
        step = getattr(consumer, "pacemaker", None)
        if step is None or step.pacer is None or step.pacer.decision is None:
            return told
        return told | {
            "worker": consumer.hostname,
            "window": step.pacer.decision.window,
            "doorbell": step.poller.hearing.mode,
            **vitals(consumer).as_json(),
        }


def _told(code: HTTPStatus, /, **facts: Any) -> Answer:
    return code, "application/json", json.dumps(facts).encode()


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
