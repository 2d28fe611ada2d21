"""What the doctor finds where others are on the server: real stock processes, ours."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from smartworker.store.server import free_port
from tests.commands import ENTRY, environment, facts, run_command
from tests.integration.conftest import HERE, StartWorker
from tests.integration.test_doctor_command import TOKENS
from tests.processes import wait_until

#: Stock Flower calls each 5 seconds.
LONG = ("--sample", "6s")
SHORT = ("--sample", "3s")
OTHERS = ("stock workers", "stock producers", "monitors", "traffic")

BEAT = """
from stock import app
app.conf.beat_schedule = {"sum": {"task": "project.add", "schedule": 1, "args": (1, 2)}}
"""


@contextmanager
def running(url: str, home: Path, *words: str, **extra: str) -> Iterator[None]:
    """A process of Python, ended with the test."""
    env = environment(url, PYTHONPATH=f"{HERE}:{home}", **extra)
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        env=env,
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
        assert process.poll() is None, "it has ended by itself"
    finally:
        process.kill()
        process.wait()


def others(url: str, *words: str) -> dict[str, tuple[str, int | None]]:
    """What the doctor says of others: severity and price by subject."""
    return {
        each["subject"]: (each["severity"], each["commands_per_month"])
        for each in facts(url, "doctor", *words, **TOKENS)
        if each["subject"] in OTHERS
    }


def clients_do(url: str, condition: Callable[[list[Any]], object]) -> None:
    """Wait until the connections of a server are such."""
    with redis.Redis.from_url(url) as client:
        wait_until(lambda: condition(list(client.client_list())))


def hears_patterns_alone(clients: list[Any]) -> bool:
    """Whether somebody does, as a monitor."""
    return any(each["psub"] == "1" and each["sub"] == "0" for each in clients)


def have_asked(clients: list[Any]) -> bool:
    """Whether those who waited for answers have been silent for 2 seconds."""
    idle = [int(each["idle"]) for each in clients if each["cmd"] == "brpop"]
    return bool(idle) and min(idle) >= 2


@pytest.mark.every_server
def test_a_stock_worker(redis_url: str, tmp_path: Path) -> None:
    """It burns, and what it burns is measured; nobody else is accused."""
    words = ("celery", "-A", "stock", "worker", "-P", "solo")
    with running(redis_url, tmp_path, *words):
        clients_do(redis_url, lambda all_: any("b" in each["flags"] for each in all_))
        clients_do(redis_url, lambda all_: sum(e["psub"] == "1" for e in all_) == 2)
        found = others(redis_url, *LONG)
        unseen = others(redis_url, "--sample", "0")
    assert found.keys() == {"stock workers"}
    severity, price = found["stock workers"]
    assert severity == "warning"
    # One BRPOP a second, half a PUBLISH, and some more now and then.
    assert price is not None
    assert 2_500_000 < price < 6_000_000
    assert unseen == {"stock workers": ("warning", 142_272 * 30)}


@pytest.mark.every_server
def test_beat(redis_url: str, tmp_path: Path) -> None:
    """A producer that subscribes to the result of each task it sends."""
    (tmp_path / "beaten.py").write_text(BEAT)
    schedule = str(tmp_path / "schedule")
    with running(redis_url, tmp_path, "celery", "-A", "beaten", "beat", "-s", schedule):
        clients_do(redis_url, lambda all_: any(e["cmd"] == "unsubscribe" for e in all_))
        found = others(redis_url, *SHORT)
    assert found.keys() == {"stock producers"}
    severity, price = found["stock producers"]
    assert severity == "info"
    # SUBSCRIBE and UNSUBSCRIBE, each second.
    assert price is not None
    assert 2_500_000 < price < 8_000_000


@pytest.mark.every_server
def test_flower(redis_url: str, tmp_path: Path, start_worker: StartWorker) -> None:
    """It hears events and calls all workers; a silent worker beside it is none."""
    start_worker("-P", "threads")
    port = f"--port={free_port()}"
    with running(redis_url, tmp_path, "celery", "-A", "stock", "flower", port):
        clients_do(redis_url, hears_patterns_alone)
        # At its start it asks all workers everything; that is traffic, and soon over.
        clients_do(redis_url, have_asked)
        found = others(redis_url, *LONG)
    assert found == {"monitors": ("warning", 518_400)}
    # Its queue is bound for good, for it was killed.
    clients_do(redis_url, lambda all_: not hears_patterns_alone(all_))
    assert "monitors" not in others(redis_url, *SHORT)


@pytest.mark.every_server
@pytest.mark.parametrize("doorbell", ["auto", "off"])
def test_a_healthy_set_up(
    redis_url: str, tmp_path: Path, start_worker: StartWorker, doorbell: str
) -> None:
    """A worker and a web process of ours are nobody that the doctor warns of."""
    start_worker("-P", "threads", SMARTWORKER_DOORBELL=doorbell)
    web = ("smartworker.cli.main", "web", "-A", "project")
    with running(redis_url, tmp_path, *web, PORT=str(free_port()), **TOKENS):
        assert others(redis_url, *SHORT) == {}


def test_the_bell_is_missed_and_the_clock_is_right(
    redis_url: str, start_worker: StartWorker
) -> None:
    """A restarted server has lost its flags; the clock of the same machine fits."""
    worker = start_worker("-P", "threads")

    def subjects() -> dict[str, str]:
        found = facts(redis_url, "doctor", "--sample", "0", **TOKENS)
        return {each["subject"]: each["message"] for each in found}

    before = subjects()
    assert "doorbell" not in before
    assert "clock" not in before
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("notify-keyspace-events", "K")
    assert "lacks l$g" in subjects()["doorbell"]
    assert worker.stop() == 0
    assert "doorbell" not in subjects()


def test_the_price_stands_in_the_terminal(redis_url: str, tmp_path: Path) -> None:
    """With each finding and at the end, in 80 columns."""
    tight: dict[str, Any] = {**TOKENS, "SMARTWORKER_MONTHLY_BUDGET": "1000"}
    done = run_command(redis_url, "doctor", "--sample", "0", **tight)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "budget: A month of this plan costs" in done.stdout
    found = facts(redis_url, "doctor", "--sample", "0", **tight)
    prices = [each["commands_per_month"] for each in found]
    (price,) = filter(None, prices)
    text = " ".join(done.stdout.split())
    assert f"Costs about {round(price, -2):,} commands a month." in text
    assert text.endswith(f"In all about {round(price, -2):,} commands a month.")


def test_render_says_where_it_runs(redis_url: str) -> None:
    """By its environment alone."""
    render: dict[str, Any] = {**TOKENS, "RENDER": "true", "RENDER_SERVICE_TYPE": "web"}
    found = facts(redis_url, "doctor", "--sample", "0", **render)
    subjects = {each["subject"] for each in found}
    assert {"render proxy", "render port", "render sleep"} <= subjects
    quiet = {"PORT": "10000", "SMARTWORKER_TRUSTED_PROXIES": "10.0.0.0/8"}
    found = facts(redis_url, "doctor", "--sample", "0", **render, **quiet)
    subjects = {each["subject"] for each in found}
    assert not {"render proxy", "render port"} & subjects


@pytest.mark.parametrize("option", [("--silence", "1s"), ("--bill", "1"), ("--yes",)])
def test_options_of_the_probe_alone(redis_url: str, option: tuple[str, ...]) -> None:
    """Given without it they are wrong usage."""
    done = subprocess.run(
        [*ENTRY, "doctor", *option],
        env=environment(redis_url),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "goes with --probe." in done.stderr


def test_a_sample_is_none_of_the_probe(redis_url: str) -> None:
    """Asked for both, it does neither."""
    done = run_command(redis_url, "doctor", "--probe", "--yes", "--sample", "1s")
    assert done.returncode == 2
    assert "--sample goes without --probe." in done.stderr
