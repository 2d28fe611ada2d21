"""`smartworker flower`: closed to strangers, and quiet when nobody looks."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from smartworker.cli import flower
from smartworker.errors import SettingsError
from smartworker.store.server import free_port
from tests.commands import ENTRY, environment, run_command
from tests.integration.conftest import HERE, Counter, StartWorker
from tests.processes import wait_until

PROJECT: dict[str, Any] = {"PYTHONPATH": str(HERE)}
APP = ("-A", "project")
ADMIN = ("admin", "secret")
ANYWHERE = "0.0.0.0"


@contextmanager
def serving(url: str, home: Path, *words: str, **extra: str) -> Iterator[httpx.Client]:
    """A running Flower, ended as Ctrl-C does."""
    port = free_port()
    with (home / "log").open("w+") as log:
        process = subprocess.Popen(
            [*ENTRY, "flower", *APP, "--port", str(port), *words],
            env=environment(url, **PROJECT, **extra),
            stdout=log,
            stderr=log,
            cwd=home,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=address, trust_env=False, timeout=20) as client:

                def answers() -> bool:
                    assert process.poll() is None, (home / "log").read_text()
                    try:
                        return client.get("/healthcheck").status_code > 0
                    except httpx.TransportError:
                        return False

                wait_until(answers)
                yield client
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0, (home / "log").read_text()
        finally:
            process.kill()
            process.wait()


def names(client: httpx.Client) -> list[Any]:
    """The workers that Flower knows."""
    answer = client.get("/workers", params={"json": 1}, auth=ADMIN).json()
    return [each["hostname"] for each in answer["data"] if each["status"]]


def tasks(client: httpx.Client) -> set[tuple[str, str]]:
    """The tasks that Flower knows, with their states."""
    asked: dict[str, str | int] = {
        "draw": 1,
        "start": 0,
        "length": 50,
        "search[value]": "",
        "order[0][column]": 0,
        "order[0][dir]": "asc",
        "columns[0][data]": "name",
    }
    answer = client.post("/tasks/datatable", params=asked, auth=ADMIN).json()
    return {(each["uuid"], each["state"]) for each in answer["data"]}


@pytest.mark.slow
def test_workers_and_tasks_are_seen_while_it_runs(
    redis_url: str,
    start_worker: StartWorker,
    project: Any,
    counter: Counter,
    tmp_path: Path,
) -> None:
    """With the password alone; then a silent worker is silent again."""
    worker = start_worker("-P", "threads", "-c", "2")
    password = {"FLOWER_BASIC_AUTH": ":".join(ADMIN)}
    with serving(redis_url, tmp_path, **password) as client:
        assert client.get("/workers").status_code == 401
        assert client.get("/workers", auth=("admin", "guess")).status_code == 401
        wait_until(lambda: names(client) != [])
        (name,) = names(client)
        assert name.startswith("celery@")
        sent = project.add.delay(1, 2)
        wait_until(lambda: (sent.id, "SUCCESS") in tasks(client))
        assert "celery" in client.get("/broker", auth=ADMIN).text
        assert sent.id in client.get(f"/task/{sent.id}", auth=ADMIN).text
    counter.all()
    project.add.delay(3, 4)
    worker.wait_for("task_finished", 2)
    assert "publish" not in counter.billed()
    assert worker.stop() == 0


def test_an_open_door_is_refused(redis_url: str) -> None:
    """On an address that others reach it needs a password."""
    for words in (["--host", ANYWHERE], ["--host", "flower.example"]):
        done = run_command(redis_url, "flower", *APP, *words, **PROJECT)
        assert done.returncode == 78
        assert "set FLOWER_BASIC_AUTH=USER:PASSWORD" in done.stderr
    done = run_command(redis_url, "flower", *APP, FLOWER_BASIC_AUTH="admin", **PROJECT)
    assert done.returncode == 78
    assert "is not written as USER:PASSWORD" in done.stderr


def test_no_server() -> None:
    """One sentence and exit status 69."""
    done = run_command("redis://127.0.0.1:1/0", "flower", *APP, **PROJECT)
    assert done.returncode == 69
    assert "cannot be reached" in done.stderr


@pytest.mark.parametrize(
    ("host", "closed"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        (ANYWHERE, False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_which_addresses_are_our_own(host: str, closed: bool) -> None:
    """A name may mean anything, and so may none."""
    assert flower.is_loopback(host) is closed


@pytest.mark.parametrize("entry", ["", "admin", "admin:", ":secret", "a:b,c"])
def test_a_password_that_is_none(entry: str) -> None:
    """It is refused, whatever the address."""
    with pytest.raises(SettingsError, match="USER:PASSWORD"):
        flower.check_access("127.0.0.1", entry)


def test_it_is_not_installed(tmp_path: Path) -> None:
    """A sentence that says what to install."""
    code = (
        "import sys; sys.modules['flower'] = None\n"
        "from smartworker.cli.main import main\n"
        "main(['flower'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=dict(os.environ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 78
    assert "install smartworker[flower]" in done.stderr
