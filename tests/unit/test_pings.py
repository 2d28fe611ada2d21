"""Pings wait for nobody, are bounded, and an outage is one line."""

import logging
import threading
from collections.abc import Iterator
from email.message import Message
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
from celery import Celery
from celery.exceptions import Ignore, Retry

import smartworker
from smartworker.cron.registry import Jobs
from smartworker.cron.runs import HEADER
from smartworker.settings import Settings
from smartworker.testing import ManualClock
from smartworker.worker import pings as module
from smartworker.worker.pings import PAUSE, TRIES, WAITING, Ping, Pinger

KEY = "aVerySecretPingKey"


def ping(number: int = 0) -> Ping:
    """A ping of a run."""
    return Ping(f"https://hc.example/{KEY}/{number}", "", "nightly", "start")


class Service:
    """Takes pings, or raises the next errors first; answers when it may."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.errors: list[Exception] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self, url: str, body: str) -> None:
        """One ping."""
        assert self.may_answer.wait(10)
        if self.errors:
            raise self.errors.pop(0)
        self.heard.append(url.rpartition("/")[2])


@pytest.fixture
def clock() -> ManualClock:
    """Pauses are over at once."""
    return ManualClock()


def gone() -> HTTPError:
    """The service knows no such address."""
    error = HTTPError(f"https://hc/{KEY}", 404, "Not Found", Message(), None)
    error.close()
    return error


def test_pings_keep_their_order(clock: ManualClock) -> None:
    """Start before end; the thread ends when nothing waits, and begins again."""
    service = Service()
    pinger = Pinger(service, clock)
    for number in range(5):
        pinger.add(ping(number))
    assert pinger.finish(10)
    pinger.add(ping(5))
    assert pinger.finish(10)
    assert service.heard == ["0", "1", "2", "3", "4", "5"]


def test_only_so_many_wait(clock: ManualClock) -> None:
    """The oldest go first; a worker that stops waits no longer than it wants."""
    service = Service()
    service.may_answer.clear()
    pinger = Pinger(service, clock)
    for number in range(WAITING + 10):
        pinger.add(ping(number))
    assert not pinger.finish(0.05)
    service.may_answer.set()
    assert pinger.finish(10)
    assert len(service.heard) <= WAITING + 1
    assert service.heard[-1] == str(WAITING + 9)


def test_a_ping_that_got_lost_is_sent_again(clock: ManualClock) -> None:
    """Once more, after a pause; an answer that refuses it is final."""
    service = Service()
    pinger = Pinger(service, clock)
    begun = clock.monotonic()
    service.errors = [URLError(ConnectionRefusedError("refused"))] * (TRIES - 1)
    pinger.add(ping(1))
    assert pinger.finish(10)
    assert service.heard == ["1"]
    assert clock.monotonic() - begun == PAUSE * (TRIES - 1)
    service.errors = [gone()]
    pinger.add(ping(2))
    assert pinger.finish(10)
    assert service.heard == ["1"]


def test_an_outage_is_one_line_without_the_address(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """And a new one another line."""
    caplog.set_level(logging.INFO)
    service = Service()
    pinger = Pinger(service, clock)
    errors: list[Exception] = [
        URLError(ConnectionRefusedError("refused")),
        gone(),
        ValueError(f"https://hc.example/{KEY}"),
    ]
    for error in errors:
        service.errors = [error] * 3 * TRIES
        for number in range(3):
            pinger.add(ping(number))
        assert pinger.finish(10)
        service.errors = []
        pinger.add(ping())
        assert pinger.finish(10)
    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    assert [line["event"] for line in lines] == ["ping_failed"] * 3
    assert [line["error"] for line in lines] == [
        "ConnectionRefusedError: refused",
        "the answer is 404",
        "ValueError",
    ]
    assert {line["host"] for line in lines} == {"hc.example"}
    assert KEY not in str(lines)
    assert KEY not in repr(ping())


class Heard(Pinger):
    """Keeps what it should send."""

    def __init__(self) -> None:
        super().__init__()
        self.pings: list[Ping] = []

    def add(self, ping: Ping) -> None:
        """Send nothing."""
        self.pings.append(ping)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """What a worker would ping."""
    made = Heard()
    monkeypatch.setattr(module, "pinger", made)
    return made


@pytest.fixture
def app() -> Iterator[Any]:
    """An app with one job, whose runs are pinged."""
    jobs = Jobs()
    jobs.declare("nightly", "shop.add")
    made = Celery("shop", set_as_current=False)
    address = f"https://hc.example/{KEY}/{{job}}"
    settings = Settings(redis_url="redis://127.0.0.1:1/0", ping_url=address)
    yield smartworker.setup(made, settings, jobs)
    made.close()


def request(app: Any, job: str | None = "nightly", **values: Any) -> Any:
    """A request of Celery's, as far as pings look at it."""
    headers = {HEADER: {"job": job}} if job else {}
    message = {**headers, "retries": values.pop("retries", 0)}
    task = SimpleNamespace(app=app)
    values = {"id": "id-1", "failure": None, **values}
    return SimpleNamespace(task=task, request_dict=message, **values)


def test_what_happens_to_runs_becomes_pings(app: Any, heard: Heard) -> None:
    """Revoked runs have failed, ignored ones have not; retries are silent."""
    module._begun(request(app))
    module._begun(request(app, retries=1))
    module._begun(request(app, job=None))
    module._left(request(app), final=False)
    module._left(request(app, failure=Retry()), final=False)
    module._left(request(app, job=None), final=True)
    module._left(request(app), final=True)
    module._left(request(app, failure=Ignore()), final=True)
    module._left(request(app, failure="revoked"), final=True)
    lost = ValueError(f"see\nhttps://hc.example/{KEY}/")
    module._left(request(app, failure=lost), final=True)
    assert [(ping.signal, ping.body) for ping in heard.pings] == [
        ("start", ""),
        ("success", ""),
        ("success", ""),
        ("fail", "revoked"),
        ("fail", "ValueError: see ***"),
    ]


def test_a_job_of_another_release_is_pinged_by_its_name(app: Any, heard: Heard) -> None:
    """It is not declared here, and the address of all jobs holds for it."""
    module._begun(request(app, job="older"))
    assert "/older/start?rid=" in heard.pings[0].url


def test_an_app_without_an_address_pings_nobody(heard: Heard) -> None:
    """As it is by default."""
    with Celery("plain", set_as_current=False) as plain:
        smartworker.setup(plain, Settings(redis_url="redis://127.0.0.1:1/0"))
        module._begun(request(plain))
        module._left(request(plain, failure="no"), final=True)
    assert heard.pings == []
