"""The README as a new user follows it: every command and every snippet is run."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from smartworker.budget import DOLLARS_PER_COMMAND, MONTH, TASK_COMMANDS
from smartworker.policy import lease_for
from smartworker.settings import Settings
from smartworker.store.server import free_port
from tests.pages import ROOT, answers, blocks, broken_links, commands, page, sides
from tests.shells import environment, eventually, fetch, run, running, spawn, stop

README = page("README.md")
COMMANDS = commands(README)
EXAMPLE = page("smartworker/examples/swim/README.md")
(DIFF,) = blocks(README, "diff")
(JOBS,) = blocks(README, "python")
BEFORE, AFTER = sides(DIFF)
TOKEN = "t" * 32
LONGEST = 220
PAGES = [
    str(path.relative_to(ROOT))
    for folder in (".", "docs", "benchmarks")
    for path in sorted((ROOT / folder).glob("*.md"))
]
#: Ids of tasks, and times.
CHANGES = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:]+"
)
TASK = "\n\n@app.task\ndef add(x, y):\n    return x + y\n"
BEAT = """
from celery.schedules import crontab

app.conf.beat_schedule = {
    "nightly-sum": {"task": "shop.add", "args": (2, 3), "schedule": crontab(0, 21)}
}
"""

pytestmark = pytest.mark.slow

INSTALL = "pip install 'smartworker[web]'"
WORKER = "celery -A shop worker --concurrency 2"
#: Of a worker on a server that writes nothing to its disk: exit status, and a word.
ASK = {
    "smartworker status -A shop": (0, "keyspace"),
    "smartworker doctor -A shop": (3, "persistence"),
    "smartworker budget -A shop": (0, "the whole month"),
}
IMPORT = "smartworker cron import -A shop > jobs.py"
#: Of the app with its jobs, each with a word of what it says.
CRON = {
    "smartworker jobs -A shop": "nightly-sum",
    "smartworker cron render github -A shop --url https://shop.example": "/api/cron/",
}
WEB = "smartworker web -A shop"
INIT = "smartworker init render -A shop"
BOTH = "smartworker web -A shop --with-worker"


def test_every_command_has_its_test():
    """A command that is added to the README must be run below."""
    tried = [line for line in COMMANDS if line.startswith(("make run", "curl "))]
    known = [*tried, INSTALL, WORKER, *ASK, IMPORT, *CRON, WEB, INIT, BOTH]
    assert sorted(COMMANDS) == sorted(known)


def test_it_is_short_and_leads_on():
    """Whoever wants more finds it behind a link, and each page of docs/ has one."""
    assert len(README.splitlines()) <= LONGEST
    linked = set(re.findall(r"\((docs/\w+\.md)\)", README))
    assert linked == {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_every_page(name):
    """Each leads to a file, and to a heading in it."""
    assert broken_links(name) == []


def test_its_figures():
    """What it says in words is what the code does."""
    settings = Settings()
    (span,) = settings.windows.spans
    assert lease_for(span.poll) == timedelta(minutes=5)
    assert lease_for(settings.quiet_poll) == timedelta(minutes=15)
    assert "5 minutes in a window, 15 outside" in README
    assert f"After {settings.max_deliveries} deliveries" in README
    month = len(TASK_COMMANDS) * MONTH.total_seconds()
    words = f"{month / 1e6:.0f} million a month, or ${month * DOLLARS_PER_COMMAND:.0f}"
    assert words in " ".join(README.split())


def test_installing(wheel):
    """What is published has the name and the extra; nothing is written."""
    words = "--dry-run --no-deps --no-index --ignore-installed --find-links"
    command = INSTALL.replace(
        "install", f"install {words} {shlex.quote(str(wheel.parent))}"
    )
    done = run(f"{shlex.quote(sys.executable)} -m {command}", wheel.parent)
    assert "Would install smartworker-" in done.stdout, done.stderr
    assert "does not provide" not in done.stderr


def test_before_and_after(tmp_path, redis_url):
    """The same line starts the worker before and after; who sends may be either."""
    for name, text in (("before", BEFORE), ("after", AFTER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "shop.py").write_text(text)
    send = "python -c 'from shop import add; print(add.delay(2, 3).get(timeout=30))'"
    before, after = tmp_path / "before", tmp_path / "after"
    for home, senders in ((before, [before]), (after, [before, after])):
        with running(WORKER, home, until="", REDIS_URL=redis_url) as worker:
            for sender in senders:
                done = run(send, sender, REDIS_URL=redis_url)
                assert done.stdout.strip() == "5", done.stderr
            if home == after:
                # They mostly wait for the answers of the worker.
                with ThreadPoolExecutor() as pool:
                    ended = pool.map(
                        lambda line: run(line, after, REDIS_URL=redis_url), ASK
                    )
                for (status, word), done in zip(ASK.values(), ended, strict=True):
                    assert (done.returncode, word in done.stdout) == (status, True), (
                        done
                    )
            assert stop(worker) == 0


def test_instead_of_beat(tmp_path, redis_url):
    """The schedule of Beat becomes jobs, and `web` takes a trigger of one."""
    settings = {"REDIS_URL": redis_url, "SMARTWORKER_CRON_TOKENS": TOKEN}
    shop = tmp_path / "shop.py"
    shop.write_text(BEFORE + BEAT)
    done = run(IMPORT, tmp_path, **settings)
    assert done.returncode == 0, done.stderr
    shop.write_text(JOBS + TASK)
    for command, word in CRON.items():
        done = run(command, tmp_path, **settings)
        assert done.returncode == 0, (command, done.stderr)
        assert word in done.stdout, (command, done.stdout)
    port = str(free_port())
    with running(WEB, tmp_path, until="startup complete", PORT=port, **settings):
        answer = trigger(port, "jobs/nightly-sum/run")
        assert answer["status"] == "accepted"


def test_deployed_as_one(tmp_path, redis_url):
    """Files for a platform, and one command for the web process and a worker."""
    (tmp_path / "jobs.py").write_text(
        "def declare(jobs):\n    jobs.declare('nightly-sum', 'shop.add', args=(2, 3))\n"
    )
    (tmp_path / "shop.py").write_text(JOBS + TASK)
    done = run(INIT, tmp_path, REDIS_URL=redis_url)
    assert done.returncode == 0, done.stderr
    assert "-A shop" in (tmp_path / "render.yaml").read_text()
    port = str(free_port())
    settings = {"REDIS_URL": redis_url, "SMARTWORKER_CRON_TOKENS": TOKEN, "PORT": port}
    both = spawn(BOTH, tmp_path, **settings)
    try:
        eventually(lambda: fetch(f"http://127.0.0.1:{port}/livez"))
        task = trigger(port, "cron/nightly-sum")["task_id"]
        address = f"http://127.0.0.1:{port}/api/tasks/{task}"
        eventually(lambda: json.loads(fetch(address))["state"] == "SUCCESS")
    finally:
        status = stop(both)
    assert status == 0, (tmp_path / "output").read_text()


def test_the_example_by_hand(tmp_path, redis_url):
    """The lines of the example's own page; `smartworker dev` has its own tests."""
    port = str(free_port())
    text = EXAMPLE.replace("8100", port)
    dev, facility, worker, call = re.findall(r"^    (.+)$", text, re.MULTILINE)
    assert dev == "smartworker dev"
    variable, _, worker = worker.partition(" ")
    settings = {"REDIS_URL": redis_url, "DATABASE_URL": f"sqlite:///{tmp_path}/swim"}
    settings |= dict([variable.split("=", 1)])
    started = [spawn(line, tmp_path, **settings) for line in (facility, worker)]
    try:
        done = run(call, tmp_path, **settings)
        assert done.returncode == 0, done.stderr + (tmp_path / "output").read_text()
        assert "2 successful, 0 failed" in done.stdout
    finally:
        for process in started:
            stop(process)


def test_make_run_and_its_three_curl_lines(tmp_path):
    """`make run`, the three lines as printed in the README, and Ctrl-C."""
    port = str(free_port())
    output = tmp_path / "out"
    with output.open("wb") as file:
        process = subprocess.Popen(
            ["make", "run"],
            cwd=ROOT,
            env={**environment(tmp_path), "PORT": port, "TMPDIR": str(tmp_path)},
            stdout=file,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        eventually(lambda: output.read_text().count("  curl ") == 3, 120)
        token = re.findall(r"Bearer ([^']+)'", output.read_text())[0]
        shown = [each for each in answers(README) if each[0].startswith("curl ")]
        typed = [line_of(command, port, token) for command, _ in shown]
        for line in typed:
            assert f"  {line}\n" in output.read_text()
        called, asked, alive = typed

        def ask(line: str) -> dict:
            return json.loads(fetch(*shlex.split(line)[1:]))

        accepted = ask(called)
        status = asked.replace("<task_id>", accepted["task_id"])
        eventually(lambda: ask(status)["state"] == "SUCCESS")
        ended = ask(status)
        ended["result"]["results"] = ["..."]
        said = [accepted, ended, ask(alive)]
        for found, (_, answer) in zip(said, shown, strict=True):
            assert unchanging(found) == unchanging(
                json.loads(answer.replace("[...]", '["..."]'))
            )
    finally:
        begun = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(20)
    assert time.monotonic() - begun < 6


def line_of(command: str, port: str, token: str) -> str:
    """A line of the README, as it is on this machine."""
    command = command.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    return command.replace("<token>", token)


def unchanging(answer: dict) -> dict:
    """Without what differs from call to call, but for its form."""
    return {name: CHANGES.sub("0", str(value)) for name, value in answer.items()}


def trigger(port: str, path: str) -> dict:
    """What the web process answers to a call with a token."""
    bearer = f"Authorization: Bearer {TOKEN}"
    address = f"http://127.0.0.1:{port}/api/{path}"
    return json.loads(fetch("-X", "POST", "-H", bearer, address))
