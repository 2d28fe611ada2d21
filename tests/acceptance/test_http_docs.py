"""docs/cron.md and docs/status.md: each call over HTTP is made as it stands there."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from smartworker.cron.runs import LONGEST_KEY
from smartworker.settings import Settings
from smartworker.store.runs import KEPT
from smartworker.store.server import free_port
from smartworker.web import bodies, limits, statuses, tasks, triggers, watching
from smartworker.web.contract import Skipped
from tests.commands import ENTRY, environment
from tests.processes import WorkerProcess, wait_until
from tests.programs import program

DOCS = Path(__file__).parents[2] / "docs"
CRON = (DOCS / "cron.md").read_text(encoding="utf-8")
STATUS = (DOCS / "status.md").read_text(encoding="utf-8")
TOKEN, ADMIN, SECRET = "t" * 40, "a" * 40, "whsec_" + "c2VjcmV0" * 4
#: Makes the hash of a token.
HASHING = [r"CRON_TOKEN=$(openssl rand -hex 32)", "printf 'sha256=%s\\n'"]

pytestmark = pytest.mark.slow


def lines(page: str) -> list[str]:
    """What a reader types."""
    return re.findall(r"^\$ (.+)$", page, re.MULTILINE)


def snippets(page: str) -> list[str]:
    """The Python of a page."""
    return re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


CURLS = [line for line in lines(CRON) + lines(STATUS) if line.startswith("curl ")]


@pytest.fixture
def shop(redis_url: str, tmp_path: Path) -> Iterator[str]:
    """A worker and a web process of the app on the pages; where it answers."""
    (tmp_path / "shop.py").write_text("\n".join((snippets(CRON)[0], *snippets(STATUS))))
    port = str(free_port())
    settings = {
        "PORT": port,
        "PYTHONPATH": str(tmp_path),
        "SMARTWORKER_CRON_TOKENS": TOKEN,
        "SMARTWORKER_ADMIN_TOKEN": ADMIN,
        "SMARTWORKER_WEBHOOK_SECRETS": SECRET,
    }
    worker = WorkerProcess(tmp_path, redis_url, "-P", "solo", app="shop", **settings)
    web = subprocess.Popen(
        [*ENTRY, "web", "-A", "shop", "--host", "127.0.0.1"],
        env=environment(redis_url, **settings),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        worker.wait_for("worker_ready")
        wait_until(lambda: answers(address), what="the web process")
        yield address
    finally:
        web.terminate()
        web.wait(20)
        worker.kill()


def answers(address: str) -> bool:
    """Whether somebody is there."""
    try:
        return httpx.get(f"{address}/livez").is_success
    except httpx.TransportError:
        return False


def typed(line: str, **variables: str) -> str:
    """What a shell prints when somebody types this; an error status fails the test."""
    done = subprocess.run(
        ["sh", "-c", line],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout


def test_each_line_that_is_typed_has_a_test() -> None:
    """Those of `smartworker` are in test_cron_docs."""
    known = ("smartworker ", "curl ", *HASHING)
    assert [x for x in lines(CRON) + lines(STATUS) if not x.startswith(known)] == []


def test_every_call(shop: str) -> None:
    """One after the other; each is a success and says what the page says."""
    program("curl")
    variables = {"URL": shop, "CRON_TOKEN": TOKEN, "ADMIN_TOKEN": ADMIN}
    told: dict[str, Any] = {}
    for line in CURLS:
        text = typed(
            f"{line} --silent --show-error --fail-with-body --max-time 30", **variables
        )
        if "/events" in line:
            assert re.search(r"^event: state\ndata: {.*\nid: end$", text, re.MULTILINE)
            continue
        told[line] = answer = json.loads(text)
        if "task_id" in answer:
            variables["TASK_ID"] = answer["task_id"]
    by_job, looks = [*told.values()][:4], [*told.values()][-2:]
    assert by_job[0]["status"] in ("accepted", "skipped")
    assert [each["status"] for each in by_job[1:]] == ["accepted"] * 2 + ["finished"]
    assert by_job[3]["result"] == "the report of 2026-11-03"
    states = [answer.get("state") for answer in told.values()]
    assert states.index("paused") < states.index("active")
    assert looks[-1]["state"] == "SUCCESS"
    assert looks[-1]["result"] == "a pdf report"
    assert looks[-1]["job"] == "nightly-report"


def test_a_signed_call(shop: str) -> None:
    """The caller in Python: its signature is taken, for this body alone."""
    scope: dict[str, Any] = {}
    exec(snippets(CRON)[1], scope)  # noqa: S102 - our own page
    body = json.dumps({"day": "2026-11-01"})
    headers = scope["signed"](SECRET, body)
    url = f"{shop}/api/cron/day-report"
    first, again = (httpx.post(url, content=body, headers=headers) for _ in "12")
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["Idempotent-Replayed"] == "true"
    other = httpx.post(url, content=body.replace("01", "02"), headers=headers)
    assert other.status_code == 401


def test_the_hash_of_a_token() -> None:
    """The two lines make an entry that the settings take for that token."""
    program("openssl")
    make, show = (line for line in lines(CRON) if line.startswith(tuple(HASHING)))
    token, entry = typed(f'{make}\necho "$CRON_TOKEN"\n{show}').split()
    assert entry == f"sha256={sha256(token.encode()).hexdigest()}"
    assert Settings(cron_tokens=(entry,)).cron_tokens == (entry,)


def test_every_state_and_reason() -> None:
    """Each is explained."""
    stored = statuses.FINAL | statuses._FAILED | statuses._SILENT
    for state in {"QUEUED", "PROGRESS", *stored} - {"RECEIVED"}:
        assert f"| `{state}` |" in STATUS, state
    for reason in get_args(Skipped.model_fields["reason"].annotation):
        assert f"`{reason}`" in CRON, reason


def test_the_figures() -> None:
    """Limits and times are those of the code."""
    for words in (
        f"fail\n{limits.FAILURES_OF_ONE} times a minute",
        f"all together {limits.FAILURES_OF_ALL} times",
        f"for {limits.UNKNOWN_IDS_OF_ONE} unknown task ids",
        f"{Settings.trigger_limit:,}\ntriggers a minute",
        f"more than {bodies.LARGEST_BODY // 1024} KB",
        f"longer than {bodies.DEADLINE_SECONDS:g} s",
        f"after {triggers.SYNC_SECONDS:g} s",
        f"(1 to {LONGEST_KEY}",
        f"last {KEPT} runs",
    ):
        assert words in CRON or words.replace("\n", " ") in CRON, words
    assert f"0 to {tasks.LONGEST_WAIT} seconds" in STATUS
    assert f"each {watching.PAUSES[0]:g} to {watching.PAUSES[-1]:g} seconds" in STATUS
