"""Pings to a service in the manner of healthchecks: a run began, ended well, failed.

Sent from the worker's main process, where every pool reports, by a thread of their own:
no task waits for them, and none fails with them.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from celery import signals
from celery.exceptions import Ignore

from smartworker.clock import Clock, system_clock
from smartworker.errors import UnknownJob
from smartworker.logs import Redactor, get_logger
from smartworker.ping import Signal, address, of_job
from smartworker.worker import journal
from smartworker.worker.declared import jobs_of
from smartworker.worker.request import run_begun, run_header, run_left

log = get_logger(__name__)

#: Pings that wait at most; the oldest go first.
WAITING = 100
#: Seconds that the service has to connect, and for each part of its answer.
TIMEOUT = 5.0
#: Tries of a ping, and seconds between two.
TRIES = 2
PAUSE = 1.0
#: Seconds that a worker which stops waits for the last pings.
AT_THE_END = 2.0
#: Characters of an error that are sent.
LONGEST = 1000

#: Sends a ping: an address, and what it says. Raises OSError and HTTPException.
Send = Callable[[str, str], None]


@dataclass(frozen=True)
class Ping:
    """One ping that waits."""

    url: str = field(repr=False)
    body: str
    job: str
    signal: Signal


class Pinger:
    """Sends pings one after another; any thread may add one."""

    def __init__(self, send: Send | None = None, clock: Clock = system_clock) -> None:
        self._send = send or post
        self._clock = clock
        self._waiting: deque[Ping] = deque(maxlen=WAITING)
        self._changed = threading.Condition()
        self._sending = False
        self._is_away = False

    def add(self, ping: Ping) -> None:
        """Send it soon. Waits for nothing."""
        with self._changed:
            self._waiting.append(ping)
            if not self._sending:
                self._sending = True
                threading.Thread(
                    target=self._run, name="smartworker-pings", daemon=True
                ).start()

    def finish(self, seconds: float = AT_THE_END) -> bool:
        """Wait so long for what still has to be sent; whether all of it was."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._sending, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._sending = False
                    self._changed.notify_all()
                    return
                ping = self._waiting.popleft()
            self._try(ping)

    def _try(self, ping: Ping) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                self._send(ping.url, ping.body)
            except Exception as error:
                # The thread must live, or no ping would ever be sent again.
                if attempt < TRIES and not isinstance(error, HTTPError):
                    self._clock.wait(threading.Event(), PAUSE)
                    continue
                self._say(ping, error)
            else:
                self._is_away = False
            return

    def _say(self, ping: Ping, error: Exception) -> None:
        """Once for an outage, and without the address, which is a secret."""
        if self._is_away:
            return
        self._is_away = True
        log.warning(
            "ping_failed",
            job=ping.job,
            signal=ping.signal,
            host=urlsplit(ping.url).hostname,
            error=_what(error),
        )


class SameHost(HTTPRedirectHandler):
    """Follows no redirect to another host, nor from https to http."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        """The request that follows; None refuses it, and the answer is an error."""
        old, new = urlsplit(req.full_url), urlsplit(urljoin(req.full_url, newurl))
        if (old.scheme, old.netloc) != (new.scheme, new.netloc):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def post(url: str, body: str) -> None:
    """Ping this http or https address. Raises OSError or HTTPException."""
    request = Request(  # noqa: S310 - settings and declarations are held to http(s)
        url,
        data=body.encode("utf-8", "replace"),
        headers={"User-Agent": "smartworker", "Content-Type": "text/plain"},
    )
    try:
        with build_opener(SameHost).open(request, timeout=TIMEOUT) as answer:
            answer.read(1024)
    except HTTPError as error:
        error.close()  # it holds the answer, and so the connection
        raise


def connect() -> None:
    """Ping for the runs of jobs, whatever app they belong to."""
    for signal, handler in (
        (run_begun, _begun),
        (run_left, _left),
        (signals.worker_shutdown, _finish),
    ):
        name = f"pings.{handler.__name__}"
        signal.connect(handler, weak=False, dispatch_uid=name)


pinger = Pinger()


def _begun(request: Any, **_: Any) -> None:
    # A run that is tried again has been going on since its first try.
    if not request.request_dict.get("retries"):
        _ping(request.task.app, run_header(request), request.id, "start")


def _left(request: Any, final: bool, **_: Any) -> None:
    if not final:
        return
    app, run, failure = request.task.app, run_header(request), request.failure
    if failure is None or isinstance(failure, Ignore):
        _ping(app, run, request.id, "success")
    else:
        failed(app, run, request.id, failure)


def failed(app: Any, run: dict[str, Any] | None, task_id: str, error: Any) -> None:
    """The run with this header has failed for good. `error`: it, or words."""
    if isinstance(error, BaseException):
        error = f"{type(error).__name__}: {error}"
    text = Redactor(journal.secrets(app)).clean(str(error))
    _ping(app, run, task_id, "fail", " ".join(text.split())[:LONGEST])


def _ping(
    app: Any, run: dict[str, Any] | None, task_id: str, signal: Signal, body: str = ""
) -> None:
    settings = getattr(app, "smartworker", None)
    if run is None or settings is None:
        return
    job = run["job"]
    try:
        own = jobs_of(app).get(job).ping
    except UnknownJob:
        own = None  # another release has declared it
    url = of_job(settings.ping_url, own, job)
    if url is not None:
        pinger.add(Ping(address(url, signal, task_id), body, job, signal))


def _finish(**_: Any) -> None:
    pinger.finish()


def _what(error: Exception) -> str:
    """The error without the address."""
    if isinstance(error, HTTPError):
        return f"the answer is {error.code}"
    if isinstance(error, URLError):
        error = error.reason if isinstance(error.reason, Exception) else error
    if isinstance(error, OSError | HTTPException):
        return f"{type(error).__name__}: {error}"[:200]
    return type(error).__name__
