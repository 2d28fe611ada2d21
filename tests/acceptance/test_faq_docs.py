"""docs/faq.md: its commands are run, where all is well and where it is not."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from smartworker.budget import MONTH, START_COMMANDS
from smartworker.events import EVENTS
from smartworker.settings import Settings
from smartworker.store.client import COMMAND_TIMEOUT
from smartworker.store.refusals import classify
from smartworker.store.server import HOST, EmbeddedServer, free_port
from smartworker.variables import VARIABLES
from smartworker.worker.configuration import USUAL_TIME_LIMITS
from tests.conftest import debian_server
from tests.pages import answers, commands, page
from tests.programs import openssl
from tests.shells import eventually, fetch, run, running, spawn

pytestmark = pytest.mark.slow

PAGE = page("docs/faq.md")
COMMANDS = commands(PAGE)
TOKEN = "t" * 40
SHOP = """
import logging

from celery import Celery

import smartworker

jobs = smartworker.Jobs()
jobs.declare(
    "nightly-sum", "shop.add", args=(2, 3), schedule="0 0 29 2 *", only_when_due=True
)
app = smartworker.setup(Celery("shop"), jobs=jobs)


@app.task
def add(x, y):
    logging.getLogger(__name__).info("the water is warm")
    return x + y
"""

DOCTOR = "smartworker doctor -A shop"
HEALTH = "smartworker health"
CALL = next(line for line in COMMANDS if line.startswith("curl "))
#: Of a worker that runs and has run a task: exit status, and a word of what is said.
HEALTHY = {
    "smartworker status -A shop": (0, "keyspace"),
    "smartworker registered -A shop": (0, "shop.add"),
    "smartworker dead list -A shop": (0, "No dead letters"),
    "smartworker active -A shop": (0, "No task is running"),
    "smartworker scheduled -A shop": (0, "No task is waiting"),
    "smartworker windows": (0, "20:00-23:00"),
    "smartworker review worker.log": (0, "shop.add"),
    "smartworker doctor -A shop --probe --silence 0 --yes": (0, "round trip"),
    "smartworker stats -A shop": (0, "memory"),
    "smartworker budget -A shop": (0, "the whole month"),
    'smartworker simulate --month 2026-11 --job "sync=* * * * *"': (0, "9 each"),
    "smartworker jobs -A shop": (0, "nightly-sum"),
    "smartworker windows --at 2026-11-01T01:30:00-04:00": (0, "01:30 EDT"),
    "smartworker simulate --from 2026-11-01 --days 1": (0, "25 hours"),
    DOCTOR: (0, "info"),
    HEALTH: (0, "ready"),
}
STARTS = [
    line for line in COMMANDS if re.match(r"smartworker (worker|web) -A shop", line)
]


@dataclass(frozen=True)
class Shop:
    """The project, its server, and what a shell has set."""

    home: Path
    server: EmbeddedServer
    settings: dict[str, str] = field(default_factory=dict)

    def run(self, command: str, **settings: str) -> tuple[int, str]:
        """Exit status, and everything that was said."""
        done = run(command, self.home, **{**self.settings, **settings})
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Nothing runs but the server, which keeps what it has on its disk."""
    (tmp_path / "shop.py").write_text(SHOP)
    with EmbeddedServer(tmp_path) as server:
        yield Shop(
            tmp_path,
            server,
            {
                "REDIS_URL": server.url,
                "SMARTWORKER_STATE_DIR": str(tmp_path / "state"),
                "SMARTWORKER_CRON_TOKENS": TOKEN,
                "PORT": str(free_port()),
            },
        )


def test_every_command_has_its_test() -> None:
    """A command that is added to the page must be run below."""
    assert set(COMMANDS) == {*HEALTHY, *STARTS, CALL}
    assert len(STARTS) == 5


def test_where_all_is_well(shop: Shop) -> None:
    """Each command that looks, beside a worker and a web process; then an outage."""
    worker = "smartworker worker -A shop --pool threads --loglevel info"
    with ExitStack() as stack:
        for name, command, until in (
            ("worker.log", worker, "worker_ready"),
            ("web.log", "smartworker web -A shop", "startup complete"),
        ):
            stack.enter_context(
                running(command, shop.home, name, until=until, **shop.settings)
            )
        code = "from shop import add; print(add.delay(2, 3).get(timeout=30))"
        assert shop.run(f"python -c '{code}'") == (0, "5\n")
        assert "the water is warm" in (shop.home / "worker.log").read_text()
        # Most of them wait for the answers of workers.
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(shop.run, HEALTHY))
        for (command, (status, word)), (found, said) in zip(
            HEALTHY.items(), done, strict=True
        ):
            assert (found, word in said) == (status, True), (command, said)
        a_job_is_skipped(shop)
        nobody_knows_a_task(shop)
        redis_goes_away(shop)


def a_job_is_skipped(shop: Shop) -> None:
    """As the page shows it."""
    shown = json.loads(dict(answers(PAGE))[CALL])
    address = f"http://127.0.0.1:{shop.settings['PORT']}/api/cron/nightly-sum"
    assert CALL.endswith('"$URL/api/cron/nightly-sum"')
    said = json.loads(
        fetch("-X", "POST", "-H", f"Authorization: Bearer {TOKEN}", address)
    )
    assert said.keys() == shown.keys()
    assert (said["status"], said["reason"]) == (shown["status"], shown["reason"])


def nobody_knows_a_task(shop: Shop) -> None:
    """The log tells of it."""
    code = "from shop import app; app.send_task('shop.forgotten')"
    assert shop.run(f'python -c "{code}"') == (0, "")
    log = shop.home / "worker.log"
    eventually(lambda: "message_held_back" in log.read_text())


def redis_goes_away(shop: Shop) -> None:
    """The worker's machine knows, at no command."""
    log = shop.home / "worker.log"
    shop.server.stop()
    eventually(lambda: "broker_lost" in log.read_text())
    eventually(lambda: shop.run(HEALTH)[0] == 1)


def test_each_way_to_start(shop: Shop) -> None:
    """All of them at once: they get ready, and stop without a complaint."""
    with ExitStack() as stack:
        started = []
        for number, command in enumerate(STARTS):
            own = {"SMARTWORKER_STATE_DIR": str(shop.home / f"state{number}")}
            log = shop.home / f"log{number}"
            process = spawn(command, shop.home, log.name, **{**shop.settings, **own})
            stack.callback(process.wait)
            stack.callback(process.kill)
            started.append((process, log))
        for process, log in started:
            eventually(lambda log=log: "worker_ready" in log.read_text(), what=log.name)
            process.terminate()
        for process, log in started:
            assert process.wait(30) == 0, log.read_text()


def shown_by_the_doctor(word: str) -> str:
    """What the page shows as the answer where something is wrong."""
    (found,) = [
        answer
        for command, answer in answers(PAGE)
        if command == DOCTOR and word in answer
    ]
    return found


def test_connection_refused(shop: Shop) -> None:
    """Nobody listens."""
    status, said = shop.run(DOCTOR, REDIS_URL="redis://127.0.0.1:1/0")
    assert (status, said) == (69, shown_by_the_doctor("Connection refused"))


def test_a_misspelled_setting(shop: Shop) -> None:
    """The sentence of the page, and the status of its head."""
    status, said = shop.run(DOCTOR, SMARTWORKER_QUIET_POL="30m")
    assert (status, said) == (78, shown_by_the_doctor("QUIET_POL"))


def test_a_certificate_of_nobody(shop: Shop) -> None:
    """A server whose certificate nobody has signed: the sentence, and the way out."""
    port = free_port()
    openssl(
        shop.home,
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=127.0.0.1"),
        *("-addext", "subjectAltName=IP:127.0.0.1"),
    )
    options = [
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(shop.home / "cert.pem")),
        *("--tls-key-file", str(shop.home / "key.pem")),
    ]
    with EmbeddedServer(binary=debian_server(), options=options):
        url = f"rediss://{HOST}:{port}/0"
        status, said = shop.run(DOCTOR, REDIS_URL=url)
        shown = shown_by_the_doctor("certificate").replace("6380", str(port))
        assert (status, said) == (78, shown)
        status, said = shop.run(
            f"{DOCTOR} --sample 0",
            REDIS_URL=url,
            SMARTWORKER_TLS_CA=str(shop.home / "cert.pem"),
        )
        assert (status, "persistence" in said) == (3, True), said


def test_a_full_server(shop: Shop) -> None:
    """Commands that must write say so, and the doctor sees it."""
    with redis.Redis.from_url(shop.server.url) as client:
        client.config_set("maxmemory", 1)
    for command in ("smartworker status", "smartworker trigger nightly-sum -A shop"):
        status, said = shop.run(command)
        assert (status, "out of memory" in said) == (69, True), said
        assert "Traceback" not in said
    status, said = shop.run(f"{DOCTOR} --sample 0")
    assert (status, "memory" in said) == (1, True), said


def test_the_kinds_of_refusals() -> None:
    """Each error of the table is taken for what the table says."""
    section = PAGE.partition("\n## MISCONF")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+`) \| `(\w+)` \|", section, re.MULTILINE)
    assert len(rows) == 5
    for words, kind in rows:
        for text in re.findall(r"`([^`]+)`", words):
            assert classify(redis.ResponseError(text)).kind == kind, text


def test_its_names_and_figures() -> None:
    """Events, settings and numbers are those of the code."""
    events = set(re.findall(r"`([a-z]+_[a-z]+)`", PAGE)) - {
        *("unknown_task", "ignore_result", "not_ready", "setup_logging"),
        *("worker_prefetch_multiplier", "redis_socket_timeout", "socket_timeout"),
    }
    assert events <= EVENTS.keys()
    settings = set(re.findall(r"\b(SMARTWORKER_[A-Z_]+)", PAGE))
    assert settings - {"SMARTWORKER_QUIET_POL"} <= {each.name for each in VARIABLES}
    hard, soft = (timedelta(seconds=each) for each in USUAL_TIME_LIMITS)
    assert (soft, hard) == (timedelta(minutes=25), timedelta(minutes=30))
    assert "| 25, 30 min |" in PAGE
    assert PAGE.count(f"| {COMMAND_TIMEOUT:g} s |") == 2
    assert Settings().max_deliveries == 5
    minutes = MONTH // timedelta(minutes=1)
    assert f"{minutes:,} runs a month" in PAGE
    assert f"a start costs at most {START_COMMANDS}" in PAGE
    assert f"{minutes * START_COMMANDS:,}"[:2] == "64"
    assert "costs\n  650,000 a month" in PAGE
