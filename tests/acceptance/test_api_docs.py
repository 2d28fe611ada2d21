"""docs/http.md: each example is called as it stands there; no address is missing."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from smartworker.settings import Settings
from smartworker.store.server import free_port
from smartworker.web import bodies, contract
from smartworker.web.app import create_app
from smartworker.web.triggers import SYNC_SECONDS
from tests.pages import answers, blocks, page
from tests.programs import program
from tests.shells import eventually, running

PAGE = page("docs/http.md")
EXAMPLES = answers(PAGE)
TOKEN, ADMIN = "t" * 40, "a" * 40
#: What differs from call to call, or between versions of Python.
CHANGING = {
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "ID",
    r"\d{4}-\d\d-\d\dT[\d:.]+Z": "TIME",
    r'("seconds": )[\d.]+': r"\1SECONDS",
    "Unprocessable Content": "Unprocessable Entity",
}
#: The headers that the page leaves out.
USUAL = re.compile(
    r"(date|content-length|cache-control: no-store|content-type: application/json$)"
)


@pytest.fixture
def shop(redis_url: str, tmp_path: Path) -> Iterator[str]:
    """A worker and a web process of the app on the page; where it answers."""
    (snippet,) = blocks(PAGE, "python")
    (tmp_path / "shop.py").write_text(snippet)
    port = str(free_port())
    settings = {
        "REDIS_URL": redis_url,
        "PORT": port,
        "SMARTWORKER_CRON_TOKENS": TOKEN,
        "SMARTWORKER_ADMIN_TOKEN": ADMIN,
    }
    worker, web = "celery -A shop worker -P solo", "smartworker web -A shop"
    with (
        running(worker, tmp_path, "worker", until="worker_ready", **settings),
        running(web, tmp_path, "web", until="startup complete", **settings),
    ):
        yield f"http://127.0.0.1:{port}"


def said(line: str, **variables: str) -> str:
    """What a shell prints when somebody types this."""
    done = subprocess.run(
        ["sh", "-c", line.replace("curl ", "curl --silent --max-time 30 ", 1)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=40,
        check=True,
    )
    return done.stdout


def comparable(answer: str) -> tuple[list[str], str]:
    """The headers that matter, in no order, and the rest; what changes has a name."""
    for pattern, name in CHANGING.items():
        answer = re.sub(pattern, name, answer)
    head, blank, body = answer.replace("\r\n", "\n").partition("\n\n")
    if not head.startswith("HTTP/"):
        return [], answer.strip()
    assert blank or not body
    status, *headers = head.split("\n")
    kept = [each for line in headers if not USUAL.match(each := line.lower())]
    return [status, *sorted(kept)], body.strip()


@pytest.mark.slow
def test_every_example(shop: str) -> None:
    """One after the other: status, headers and body are those on the page."""
    program("curl")
    assert len(EXAMPLES) == len(re.findall(r"^\$ ", PAGE, re.MULTILINE)) > 10
    variables = {"URL": shop, "CRON_TOKEN": TOKEN, "ADMIN_TOKEN": ADMIN}
    for line, shown in EXAMPLES:
        if line.endswith("json.tool"):
            wait_for_the_run(line, variables)
        answer = said(line, **variables)
        assert comparable(answer) == comparable(shown), line
        task = re.search(r'"accepted".*"task_id":"([^"]+)"', answer)
        if task and "TASK_ID" not in variables:
            variables["TASK_ID"] = task[1]


def wait_for_the_run(line: str, variables: dict[str, str]) -> None:
    """Until the run by hand is in the history."""
    eventually(lambda: '"manual"' in said(line, **variables), what="the run")


def addresses() -> dict[str, tuple[set[str], set[int]]]:
    """Methods and statuses of each address on the page."""
    rows = re.findall(r"^\| `(/\S*)` \| (.+?) \| .+? \| (.+) \|$", PAGE, re.MULTILINE)
    return {
        path: (
            set(re.findall(r"`([A-Z]+)`", methods)),
            set(map(int, re.findall(r"\b\d{3}\b", answers))),
        )
        for path, methods, answers in rows
    }


def routes(router: Any) -> Iterator[tuple[str, str]]:
    """Path and method of everything that a router answers."""
    for route in router.routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes(inner)
        else:
            yield from ((route.path, method) for method in route.methods)


def application() -> Any:
    """The web half of an app without jobs; it asks no server."""
    settings = Settings(redis_url="redis://127.0.0.1:1/0", cron_tokens=(TOKEN,))
    return create_app(Celery("shop", set_as_current=False), settings)


def test_every_route_and_no_other() -> None:
    """The table has each address of the app with its methods."""
    found: dict[str, set[str]] = {}
    for path, method in routes(application()):
        found.setdefault(path, set()).add(method)
    assert {path: methods for path, (methods, _) in addresses().items()} == found


def test_the_statuses() -> None:
    """Each address of the JSON half answers as it describes itself."""
    described = application().openapi()["paths"]
    above: set[int] = set()
    for path, (_, statuses) in addresses().items():
        statuses = statuses or above
        above = statuses
        if path in described:
            (operation,) = described[path].values()
            assert statuses == set(map(int, operation["responses"])), path


def test_every_problem_has_its_meaning() -> None:
    """The table of problems has every status that the code knows, and no other."""
    section = PAGE.partition("## Problems")[2]
    rows = re.findall(r"^\| (\d{3}) \|", section, re.MULTILINE)
    assert [int(status) for status in rows] == sorted(contract._MEANINGS)


def test_the_figures() -> None:
    """Limits and times are those of the code."""
    for words in (
        f"more than {bodies.LARGEST_BODY // 1024} KB",
        f"longer than {bodies.DEADLINE_SECONDS:g} s",
        f"waited for, {SYNC_SECONDS:g} s",
    ):
        assert words in PAGE, words
