"""What the doctor says at the start of a worker and of a web process, and its price."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

import smartworker
from smartworker.cli.first_look import look_and_tell
from smartworker.cli.tokens import check_callers
from smartworker.errors import SettingsError
from smartworker.settings import Settings
from smartworker.store.server import EmbeddedServer, free_port
from smartworker.testing import commandstats
from smartworker.worker.configuration import complete
from tests.commands import ENTRY, environment, run_command
from tests.integration.conftest import Counter
from tests.processes import wait_until

HERE = Path(__file__).parent
TOKEN = "t" * 40
TOKENS = {"SMARTWORKER_CRON_TOKENS": TOKEN}
MARKS = {"PYTHONPATH": str(HERE), "PAIRED_MARKS": "/nowhere"}
Said = list[tuple[str, str]]


@pytest.fixture(scope="module")
def safe_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that writes everything to disk."""
    with EmbeddedServer(tmp_path_factory.mktemp("aof")) as server:
        yield server.url


def app_at(url: str, **options: Any) -> Any:
    """An app with one job, whose broker is there."""
    jobs = smartworker.Jobs()
    jobs.declare("report", "shop.report")
    made = smartworker.setup(
        Celery("shop", set_as_current=False),
        Settings(redis_url=url, **{"cron_tokens": (TOKEN,), **options}),
        jobs,
    )
    complete(made)
    return made


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Any:
    """Looks at an app; gives event and subject, or error, of each line."""

    def look(app: Any, kind: str, **platform: str) -> Said:
        caplog.clear()
        look_and_tell(app, platform, kind=kind)
        lines = [each.msg for each in caplog.records if isinstance(each.msg, dict)]
        return [
            (line["event"], str(line.get("subject") or line.get("error")))
            for line in lines
        ]

    return look


@contextmanager
def running(url: str, log: Path, *words: str) -> Iterator[Any]:
    """One of our commands; gives what it has written."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*ENTRY, *words],
            env=environment(url, **MARKS, PORT=str(free_port()), **TOKENS),
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    try:
        yield log.read_text
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# -- what is said ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["worker", "web"])
def test_nothing_where_nothing_is_wrong(safe_url: str, said: Any, kind: str) -> None:
    """No line, for informations are the doctor's alone."""
    assert said(app_at(safe_url), kind) == []


@pytest.mark.parametrize("kind", ["worker", "web"])
def test_the_worst_comes_first(redis_url: str, said: Any, kind: str) -> None:
    """A line for each finding: what is critical, then warnings."""
    app = app_at(redis_url, monthly_budget=1000)
    app.conf.accept_content = ["json", "pickle"]
    assert said(app, kind) == [
        ("doctor_alarmed", "persistence"),
        ("doctor_alarmed", "accept_content"),
        ("doctor_warned", "budget"),
    ]


def test_what_a_worker_says_by_itself_is_said_once(safe_url: str, said: Any) -> None:
    """Its program tells of an evicting server; a web process has the doctor alone."""
    with redis.Redis.from_url(safe_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        found = [said(app_at(safe_url), kind) for kind in ("worker", "web")]
        client.config_set("maxmemory-policy", "volatile-lru")
        milder = said(app_at(safe_url), "worker")
        client.config_set("maxmemory-policy", "noeviction")
    assert found == [[], [("doctor_alarmed", "eviction")]]
    assert milder == [("doctor_warned", "eviction")]


def test_tokens_are_no_matter_of_a_worker(safe_url: str, said: Any) -> None:
    """The web process has them; one of another program is warned."""
    app = app_at(safe_url, cron_tokens=())
    assert said(app, "worker") == []
    assert said(app, "web") == [("doctor_warned", "tokens")]


def test_the_platform_is_looked_at(safe_url: str, said: Any) -> None:
    """As in `smartworker doctor`, by the environment."""
    render = {"RENDER": "true", "RENDER_SERVICE_TYPE": "web"}
    assert said(app_at(safe_url), "web", **render) == [("doctor_warned", "render port")]


def test_a_look_that_fails_is_a_line(safe_url: str, said: Any) -> None:
    """A server that refuses, or whatever happens: the process has its own work."""
    refused = app_at(safe_url.replace("://", "://:wr0ng@"))
    ((event, error),) = said(refused, "web")
    assert event == "doctor_failed"
    assert "Authentication" in error
    assert "wr0ng" not in error
    assert said(object(), "web")[0][0] == "doctor_failed"


# -- what it costs ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "ready", "rows"),
    [
        (("worker", "-A", "paired", "-P", "solo"), "worker_ready", 1),
        (("web", "-A", "paired", "--host", "127.0.0.1"), "startup complete", 0),
    ],
    ids=["worker", "web"],
)
def test_the_look_costs_no_billed_command(
    redis_url: str,
    counter: Counter,
    tmp_path: Path,
    words: tuple[str, ...],
    ready: str,
    rows: int,
) -> None:
    """A start with it is billed as one without, which says nothing."""
    spent = []
    for more in (("--no-doctor",), ()):
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
            counter.billed()
            with running(redis_url, tmp_path / "log", *words, *more) as log:
                wait_until(lambda log=log: ready in log())
                looked = 0 if more else 1
                wait_until(lambda log=log, n=looked: log().count("doctor_alarmed") == n)
                wait_until(lambda: commandstats(client).get("hset", 0) >= rows)
                spent.append(counter.billed())
    assert spent[0] == spent[1]
    assert sum(spent[1].values()) <= 5


# -- who may call ----------------------------------------------------------------------


def test_a_web_process_that_nobody_may_call(redis_url: str) -> None:
    """It does not start: one sentence names what to set, and makes a token."""
    done = run_command(redis_url, "web", "-A", "paired", **MARKS)
    assert done.returncode == 78
    assert done.stderr == (
        "smartworker: 1 job is declared, and nobody may start any over HTTP: set "
        "SMARTWORKER_CRON_TOKENS (`openssl rand -hex 32` makes a token), "
        "SMARTWORKER_ADMIN_TOKEN, SMARTWORKER_WEBHOOK_SECRETS, or "
        "QSTASH_CURRENT_SIGNING_KEY and QSTASH_NEXT_SIGNING_KEY. "
        "`smartworker dev` makes a token for trying out.\n"
    )


@pytest.mark.parametrize(
    "options",
    [
        {"cron_tokens": (TOKEN,)},
        {"cron_tokens": (), "admin_token": TOKEN},
        {"cron_tokens": (), "webhook_secrets": ("whsec_" + "c2VjcmV0" * 4,)},
        {"cron_tokens": (), "qstash_current_key": TOKEN, "qstash_next_key": TOKEN},
    ],
    ids=["cron token", "admin token", "webhook secret", "QStash key"],
)
def test_any_of_them_is_enough(options: dict[str, Any]) -> None:
    """A token for jobs or for the admin, a secret, or a key of QStash."""
    check_callers(app_at("redis://127.0.0.1:1/0", **options))


def test_an_app_without_jobs_needs_none() -> None:
    """Its web process tells the status of tasks, and shows the dashboard."""
    made = smartworker.setup(Celery("shop", set_as_current=False), Settings())
    check_callers(made)
    with pytest.raises(SettingsError, match="1 job is declared"):
        check_callers(app_at("redis://127.0.0.1:1/0", cron_tokens=()))
