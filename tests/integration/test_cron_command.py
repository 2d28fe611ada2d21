"""`smartworker cron`: what it prints is run, against servers that are there."""

import json
import os
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from smartworker.cli.cron import PLACEHOLDER, read_url
from smartworker.cron.registry import Jobs
from smartworker.deploy.callers import CALLERS
from smartworker.store.server import free_port
from tests.commands import ENTRY, environment, run_command
from tests.processes import wait_until

HERE = Path(__file__).parent
PROJECT = {"PYTHONPATH": str(HERE), "SMARTWORKER_TASKS": "nightshift"}
NOWHERE = "redis://127.0.0.1:1/0"
TOKEN = "t" * 40


class Answering(BaseHTTPRequestHandler):
    """Remembers each request and answers as it is told."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server: Any = self.server
        server.seen.append((self.command, self.path, dict(self.headers), body.decode()))
        status = server.statuses.pop(0) if server.statuses else 200
        answer = b'{"jobId": 7}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = _answer

    def log_message(self, *_: Any) -> None:
        """Silent."""


class Service:
    """A server on this machine that stands for any of those outside."""

    def __init__(self) -> None:
        self.server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.server.seen = []
        self.server.statuses = []
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def seen(self) -> list[tuple[str, str, dict[str, str], str]]:
        """(method, path, headers, body) of all requests."""
        return list(self.server.seen)

    def refuse(self, *statuses: int) -> None:
        """The next answers."""
        self.server.statuses.extend(statuses)

    def close(self) -> None:
        """Hang up."""
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    """One server for one test."""
    made = Service()
    yield made
    made.close()


def printed(name: str, *options: str, **extra: str) -> str:
    """What the command prints for the jobs of the project; nothing is asked."""
    done = run_command(NOWHERE, "cron", "render", name, *options, **PROJECT, **extra)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shell(script: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run it as cron services do, with sh."""
    return subprocess.run(
        ["sh", "-c", script],
        env={**os.environ, **extra},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def calls(service: Service) -> list[tuple[str, str, str | None]]:
    """(method, path, Authorization) of what the web service was asked."""
    return [
        (method, path, headers.get("Authorization"))
        for method, path, headers, _ in service.seen
    ]


AWAKE = ("GET", "/livez", None)
CALLED = ("POST", "/api/cron/report", f"Bearer {TOKEN}")


# -- what is printed runs --------------------------------------------------------------


def test_the_command_of_render(service: Service) -> None:
    """It wakes the service, and calls with the token of its environment."""
    blueprint = yaml.safe_load(printed("render", "--url", service.url))
    command = blueprint["services"][0]["startCommand"]
    done = shell(command, CRON_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert calls(service) == [AWAKE, CALLED]
    assert done.stdout == '{"jobId": 7}'


def test_the_steps_of_github(service: Service) -> None:
    """So do the steps of the workflow."""
    flow = yaml.safe_load(printed("github", "--url", service.url))
    for step in flow["jobs"]["call-report"]["steps"]:
        done = shell(step["run"], CRON_TOKEN=TOKEN)
        assert done.returncode == 0, done.stderr
    assert calls(service) == [AWAKE, CALLED]


def test_the_lines_of_the_crontab(service: Service, tmp_path: Path) -> None:
    """The token comes from a file, and stands in no list of processes."""
    text = printed("crontab", "--url", service.url)
    (hint,) = re.findall(r"^#   (umask .*)$", text, re.MULTILINE)
    done = shell(hint, CRON_TOKEN=TOKEN, HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    made = tmp_path / ".smartworker-cron"
    assert made.stat().st_mode & 0o777 == 0o600
    lines = re.findall(r"^[\d*][^ ]*(?: [\d*][^ ]*){4} (curl .*)$", text, re.MULTILINE)
    report, _refresh, wake = lines
    for line in (wake, report):
        assert "%" not in line
        done = shell(line, HOME=str(tmp_path))
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert calls(service) == [AWAKE, CALLED]
    assert re.findall(r"^CRON_TZ=(.*)$", text, re.MULTILINE)[0] == "America/New_York"


def test_a_call_that_fails(service: Service) -> None:
    """What passes by is tried again; a wrong token is not, and fails the run."""
    flow = yaml.safe_load(printed("github", "--url", service.url, "--prewarm", "off"))
    (call,) = flow["jobs"]["call-report"]["steps"]
    service.refuse(503)
    assert shell(call["run"], CRON_TOKEN=TOKEN).returncode == 0
    assert calls(service) == [CALLED, CALLED]
    service.refuse(401)
    done = shell(call["run"], CRON_TOKEN=TOKEN)
    assert done.returncode == 22
    assert len(service.seen) == 3
    assert "401" in done.stderr


def test_the_script_of_qstash(service: Service) -> None:
    """Schedules with an id of their own, so that a second run replaces them."""
    script = printed("qstash", "--url", "https://shop.example")
    keys = {"QSTASH_URL": service.url, "QSTASH_TOKEN": "q", "CRON_TOKEN": TOKEN}
    done = shell(script, **keys)
    assert done.returncode == 0, done.stderr
    method, path, headers, _ = service.seen[0]
    assert (method, path) == (
        "POST",
        "/v2/schedules/https://shop.example/api/cron/report",
    )
    wanted = {
        "Authorization": "Bearer q",
        "Upstash-Cron": "CRON_TZ=America/New_York 30 21 * * 1-5",
        "Upstash-Schedule-Id": "smartworker-report",
        "Upstash-Method": "POST",
        "Upstash-Retries": "3",
        "Upstash-Forward-Authorization": f"Bearer {TOKEN}",
    }
    assert wanted.items() <= headers.items()
    paths = [path for _, path, _, _ in service.seen]
    assert paths[1].endswith("/api/cron/refresh")
    assert paths[2].endswith("/livez")
    assert "Upstash-Forward-Authorization" not in service.seen[2][2]


def test_the_script_of_cron_job_org(service: Service) -> None:
    """Each job is one PUT with JSON, and the token of the environment in it."""
    script = printed("cron-job-org", "--url", "https://shop.example")
    script = script.replace("https://api.cron-job.org", service.url)
    done = shell(script, CRON_JOB_ORG_KEY="k", CRON_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert [(method, path) for method, path, _, _ in service.seen] == [
        ("PUT", "/jobs")
    ] * 3
    headers, body = service.seen[0][2:]
    assert headers["Authorization"] == "Bearer k"
    assert headers["Content-Type"] == "application/json"
    job = json.loads(body)["job"]
    assert job["url"] == "https://shop.example/api/cron/report"
    assert job["extendedData"]["headers"] == {"Authorization": f"Bearer {TOKEN}"}


def test_the_script_of_google(tmp_path: Path) -> None:
    """It gives gcloud one job each, and replaces what is there."""
    stand_in = tmp_path / "gcloud"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >> "$LOG"; echo >> "$LOG"\n')
    stand_in.chmod(0o700)
    log = tmp_path / "log"
    script = printed("google", "--url", "https://shop.example")
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = shell(script, PATH=path, LOG=str(log), CRON_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    runs = [run.splitlines() for run in log.read_text().strip().split("\n\n")]
    assert runs[0][:4] == ["scheduler", "jobs", "delete", "smartworker-report"]
    assert runs[1][:5] == ["scheduler", "jobs", "create", "http", "smartworker-report"]
    assert set(runs[1][5:]) == {
        "--location=us-central1",
        "--schedule=30 21 * * 1-5",
        "--time-zone=America/New_York",
        "--uri=https://shop.example/api/cron/report",
        "--http-method=POST",
        "--max-retry-attempts=5",
        f"--headers=Authorization=Bearer {TOKEN}",
        "--attempt-deadline=60s",
        "--min-backoff=10s",
        "--max-backoff=120s",
    }
    assert len(runs) == 6


@pytest.mark.parametrize("name", ["qstash", "cron-job-org", "google"])
def test_a_script_without_its_variables(name: str) -> None:
    """It says which one to set, and does nothing."""
    done = shell(printed(name), PATH=os.environ["PATH"], CRON_TOKEN="")
    assert done.returncode != 0
    assert "set it to" in done.stderr


@pytest.mark.slow
def test_a_real_web_process(redis_url: str) -> None:
    """The command of a cron service queues the job, once for its slot."""
    port = str(free_port())
    web = subprocess.Popen(
        [*ENTRY, "web", "--host", "127.0.0.1"],
        env=environment(
            redis_url, **PROJECT, PORT=port, SMARTWORKER_CRON_TOKENS=f"{TOKEN}"
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        flow = yaml.safe_load(printed("github", "--url", url))
        wake, call = (step["run"] for step in flow["jobs"]["call-refresh"]["steps"])
        # It is only starting: the first step waits for it.
        assert shell(wake).returncode == 0
        first, second = (shell(call, CRON_TOKEN=TOKEN) for _ in range(2))
        assert first.returncode == second.returncode == 0, first.stderr
        ids = {json.loads(done.stdout)["task_id"] for done in (first, second)}
        assert len(ids) == 1
        with redis.Redis.from_url(redis_url) as client:
            wait_until(lambda: client.llen("celery") == 1)
    finally:
        web.terminate()
        web.wait(20)


# -- the command itself ----------------------------------------------------------------


@pytest.mark.parametrize("name", CALLERS)
def test_the_token_is_never_printed(name: str) -> None:
    """Not even if the environment of the command has it."""
    text = printed(name, SMARTWORKER_CRON_TOKENS=TOKEN, CRON_TOKEN=TOKEN)
    assert TOKEN not in text
    assert f"{PLACEHOLDER}/api/cron/report" in text


def test_the_scripts_are_shell() -> None:
    """`sh -n` reads them to the end."""
    for name in ("qstash", "cron-job-org", "google"):
        checked = subprocess.run(
            ["sh", "-n"],
            input=printed(name),
            text=True,
            capture_output=True,
            check=True,
        )
        assert checked.stderr == ""


@pytest.mark.parametrize("name", CALLERS)
def test_the_short_form(name: str) -> None:
    """The name of the caller is enough, and Render is what `render` means."""
    short = run_command(NOWHERE, "cron", name, **PROJECT)
    assert short.returncode == 0
    assert short.stdout == printed(name)


def test_one_job() -> None:
    """--job chooses; an unknown name is a sentence."""
    text = printed("crontab", "--job", "report", "--url", "https://shop.example/")
    assert "api/cron/report" in text
    assert "api/cron/refresh" not in text
    assert "example//" not in text
    done = run_command(NOWHERE, "cron", "github", "--job", "reprt", **PROJECT)
    assert done.returncode == 1
    assert "did you mean 'report'?" in done.stderr


def test_without_an_address() -> None:
    """It says what is missing; Render's own variable is as good."""
    done = run_command(NOWHERE, "cron", "github", **PROJECT)
    assert done.returncode == 0
    assert "give --url, or replace it." in done.stderr
    at_home = run_command(
        NOWHERE,
        "cron",
        "github",
        RENDER_EXTERNAL_URL="https://a.onrender.com",
        **PROJECT,
    )
    assert at_home.stderr == ""
    assert "https://a.onrender.com/livez" in at_home.stdout


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--url", "http://shop.example", "in the clear"),
        ("--url", "https://shop.example/?a=b", "no address"),
        ("--url", "https://shop.example/$(id)", "no address"),
        ("--url", "https://a'b.example", "no address"),
        ("--url", "ftp://shop.example", "no address"),
        ("--url", "https://user:pass@shop.example", "no address"),
        ("--prewarm", "2", "is not a duration"),
        ("--prewarm", "30s", "whole minutes"),
        ("--prewarm", "2h", "1m to 1h"),
        ("--secret", "a b", "no name for a variable"),
        ("--secret", "A;id", "no name for a variable"),
        ("--schedule", "9am", "five"),
    ],
)
def test_wrong_usage(option: str, value: str, sentence: str) -> None:
    """Each wrong value is one sentence and exit status 2."""
    done = run_command(NOWHERE, "cron", "github", option, value, **PROJECT)
    assert done.returncode == 2
    flat = " ".join(done.stderr.split())
    assert sentence in flat


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://localhost/", "https://[::1]:8/base/path/"]
)
def test_addresses(url: str) -> None:
    """This machine may do without TLS, and a path may stand in front."""
    assert read_url(url) == url.rstrip("/")


def test_every_caller_has_a_command() -> None:
    """The help of the group lists all of them, and import."""
    done = run_command(NOWHERE, "cron", "--help")
    for name in [*CALLERS, "import"]:
        assert re.search(rf"^  {name} ", done.stdout, re.MULTILINE), name
        assert "Exit statuses" in run_command(NOWHERE, "cron", name, "--help").stdout


def test_import() -> None:
    """Of an app that is no smartworker: a module that declares what can be."""
    done = run_command(NOWHERE, "cron", "import", "-A", "nightshift:beat", **PROJECT)
    assert done.returncode == 0, done.stderr
    scope: dict[str, Any] = {}
    exec(compile(done.stdout, "jobs.py", "exec"), scope)  # noqa: S102 - our own output
    jobs = Jobs()
    scope["declare"](jobs)
    (job,) = jobs
    assert (job.name, job.task, job.zone) == (
        "nightly-report",
        "nightshift.report",
        "Europe/Berlin",
    )
    assert "# often (nightshift.add) is not declared." in done.stdout
    # Who sends the module to a file sees nothing of that.
    assert "1 of 2 entries are declared" in done.stderr


@pytest.mark.parametrize("app", ["nowhere", "nightshift:nothing"])
def test_import_without_an_app(app: str) -> None:
    """One sentence, exit status 78."""
    done = run_command(NOWHERE, "cron", "import", "-A", app, **PROJECT)
    assert done.returncode == 78
    assert done.stderr.startswith(f"smartworker: There is no Celery app at '{app}'")


def test_an_import_can_be_used(tmp_path: Path) -> None:
    """What is printed is a module beside the tasks."""
    source = run_command(
        NOWHERE, "cron", "import", "-A", "nightshift:beat", **PROJECT
    ).stdout
    (tmp_path / "jobs.py").write_text(source)
    (tmp_path / "tasks.py").write_text("")
    done = run_command(
        NOWHERE,
        *shlex.split("jobs --offline --json"),
        cwd=tmp_path,
        PYTHONPATH=str(tmp_path),
        SMARTWORKER_TASKS="tasks",
    )
    assert [each["name"] for each in json.loads(done.stdout)] == ["nightly-report"]
