"""What the fault matrix needs: servers to hurt, a proxy, a stage, and its figures."""

import importlib
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from kombu import pools

from tests.faults.proxy import FaultProxy
from tests.faults.server import FaultServer
from tests.faults.stage import PROJECT, Stage

Figures = Callable[..., None]
StartServer = Callable[..., FaultServer]

#: The figures of each row, for the table at the end.
MEASURED = pytest.StashKey[dict[str, dict[str, object]]]()


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Starts servers of one's own, with a directory for AOF and options if wanted."""
    with ExitStack() as stack:

        def start(directory: Path | None = None, *options: str) -> FaultServer:
            return stack.enter_context(FaultServer(directory, options=options))

        yield start


@pytest.fixture
def fault_server(start_server: StartServer) -> FaultServer:
    """A server in memory, for this test alone."""
    return start_server()


@pytest.fixture
def proxy(fault_server: FaultServer) -> Iterator[FaultProxy]:
    """A proxy in front of `fault_server`."""
    with FaultProxy(fault_server.port) as proxy:
        yield proxy


@contextmanager
def staged(
    url: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    publish_to: str | None = None,
    **environment: str,
) -> Iterator[Stage]:
    """Workers of `faulty.py` on this server, and the project as their producer.

    `publish_to`: another way to the server for the producer.
    """
    stage = Stage(url, folder)
    ours = {**stage.environment, "REDIS_URL": publish_to or url, **environment}
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    sys.modules.pop(PROJECT, None)
    stage.project = project = importlib.import_module(PROJECT)
    try:
        yield stage
    finally:
        stage.close()
        project.app.close()
        pools.reset()
        project.app.backend.client.connection_pool.disconnect()
        sys.modules.pop(PROJECT, None)


@pytest.fixture
def stage(
    fault_server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """Workers of `faulty.py` on `fault_server`, and the project as their producer."""
    with staged(fault_server.url, tmp_path, monkeypatch) as stage:
        yield stage


@pytest.fixture
def seed() -> int:
    """For random choices; shown when the test fails, and set by `FAULTS_SEED`."""
    seed = int(os.environ.get("FAULTS_SEED", random.randrange(10**6)))
    print(f"FAULTS_SEED={seed}")  # noqa: T201 - it makes a failure repeatable
    return seed


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Notes what a row measured, for the table at the end of the run."""
    table = request.config.stash.setdefault(MEASURED, {})
    row = table.setdefault(request.node.name.removeprefix("test_"), {})

    def note(**measured: object) -> None:
        row.update(measured)

    return note


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the measured figures of the fault matrix."""
    table = config.stash.get(MEASURED, {})
    if table:
        terminalreporter.section("fault matrix, measured")
    for row, measured in table.items():
        shown = (
            f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}"
            for name, value in measured.items()
        )
        terminalreporter.write_line(f"{row}: {', '.join(shown)}")
