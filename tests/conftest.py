"""Real servers for the tests; every test gets an empty one."""

import logging
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack

import pytest
import redis

from smartworker.store.meter import ledger
from smartworker.store.server import EmbeddedServer
from smartworker.worker.clerk import THREAD as CLERK
from tests.logged import Watch
from tests.programs import program

# The fixtures `browser` and `open_page`.
pytest_plugins = ["tests.browser"]

SERVERS = ("valkey", "redis")
ServerOf = Callable[[str], EmbeddedServer]


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "every_server: runs on Valkey and on Debian's redis-server"
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


@pytest.fixture
def server_kind() -> str:
    """The kind of server that a test runs on, unless it asks for every one."""
    return "valkey"


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


def debian_server() -> str:
    """The redis-server program."""
    return program("redis-server")
