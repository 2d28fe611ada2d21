"""The README as a new user follows it: every command and every snippet is run."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.removeprefix("$ ")
    for kind, block in BLOCKS
    if kind == "console"
    for line in block.splitlines()
    if line.startswith("$ ")
]
EXAMPLE = (ROOT / "smartworker/examples/swim/README.md").read_text(encoding="utf-8")
SNIPPET, JOBS_SNIPPET = [block for kind, block in BLOCKS if kind == "python"]
BIN = str(Path(sys.executable).parent)

pytestmark = pytest.mark.slow

#: Runs everything, this test included.
OURSELVES = ["make test"]
PLAN = [
    line for line in COMMANDS if line.startswith(("smartworker w", "smartworker si"))
]
PLAN = [
    line
    for line in PLAN
    if not line.startswith(("smartworker web", "smartworker work"))
]

#: Each with the exit status on a healthy server that writes nothing to its disk.
CARE = {"smartworker doctor": 3, "smartworker dead list": 0, "smartworker rescue": 0}
#: In the order of the README, each with a word of what it says.
CRON = {
    "smartworker jobs": "schedule-swim-lanes",
    "smartworker cron render github --url https://shop.example": "timezone:",
    "smartworker trigger schedule-swim-lanes": "task",
    "smartworker pause schedule-swim-lanes": "paused",
    "smartworker resume schedule-swim-lanes": "runs again",
}
#: In the order of the README, of a worker and a web process whose logs these are.
LOOKING = {
    "smartworker review worker.log": "Nothing needs attention",
    "smartworker review --html day.html worker.log web.log": "day.html",
    "smartworker budget": "budget",
    "smartworker health": "ready",
}


def test_every_command_has_its_test():
    """A command that is added to the README must be run below."""
    tried = [line for line in COMMANDS if line.startswith(("make run", "curl "))]
    shop = [line for line in COMMANDS if "-A shop" in line]
    live = [
        "smartworker status",
        "smartworker web",
        "smartworker worker --loglevel info",
    ]
    known = [*OURSELVES, *PLAN, *CARE, *CRON, *LOOKING, *tried, *shop, *live]
    assert sorted(COMMANDS) == sorted(known)
    assert {kind for kind, _ in BLOCKS} == {"console", "python"}


@pytest.mark.parametrize("command", PLAN)
def test_the_plan_commands_answer(command, tmp_path):
    """No server, no settings: they answer and exit 0."""
    done = run(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "30" in done.stdout
    if "--json" in command:
        assert json.loads(done.stdout)["poll_seconds"] == 1800


@pytest.mark.parametrize(("command", "status"), CARE.items())
def test_what_helps_when_something_goes_wrong(command, status, tmp_path, redis_url):
    """They answer in words; `doctor` finds that nothing survives a restart."""
    done = run(command, tmp_path, REDIS_URL=redis_url)
    assert done.returncode == status, done.stderr
    assert done.stdout.strip()


def test_the_snippet_is_a_working_worker(tmp_path, redis_url):
    """The nine lines, the worker command, and the question to the worker."""
    (tmp_path / "shop.py").write_text(SNIPPET)
    start, ask, _ = [line for line in COMMANDS if "-A shop" in line]
    worker = spawn(start.partition(" ")[2], tmp_path, REDIS_URL=redis_url)
    try:
        code = "from shop import add; print(add.delay(2, 3).get(timeout=30))"
        done = run(f"python -c '{code}'", tmp_path, REDIS_URL=redis_url)
        assert done.stdout.strip() == "5", done.stderr
        done = run(ask, tmp_path, REDIS_URL=redis_url)
        assert done.returncode == 0, done.stderr
        assert "poll_seconds" in done.stdout
    finally:
        status = stop(worker, tmp_path)
    assert status == 0


def test_the_commands_for_jobs(tmp_path, redis_url):
    """One after the other, on the swim example."""
    for command, word in CRON.items():
        done = run(command, tmp_path, REDIS_URL=redis_url)
        assert done.returncode == 0, (command, done.stderr)
        assert word in done.stdout, (command, done.stdout)


def test_the_jobs_snippet_is_served(tmp_path, redis_url):
    """`smartworker web -A shop` takes a trigger of the job that it declares."""
    (tmp_path / "shop.py").write_text(
        "import smartworker\nfrom celery import Celery\n" + JOBS_SNIPPET
    )
    (command,) = [line for line in COMMANDS if "web -A shop" in line]
    token, port = "t" * 32, str(free_port())
    web = spawn(
        command,
        tmp_path,
        REDIS_URL=redis_url,
        PORT=port,
        SMARTWORKER_CRON_TOKENS=token,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        eventually(lambda: fetch(f"{address}/livez"))
        bearer = f"Authorization: Bearer {token}"
        call = ("-X", "POST", "-H", bearer, f"{address}/api/jobs/nightly-sum/run")
        assert json.loads(fetch(*call))["status"] == "accepted"
    finally:
        stop(web, tmp_path)


def test_the_deployed_processes_work_together(tmp_path, redis_url):
    """The two lines of the Procfile, and `smartworker status`."""
    token = "t" * 32
    settings = {
        "REDIS_URL": redis_url,
        "PORT": str(free_port()),
        "SMARTWORKER_CRON_TOKENS": token,
    }
    procfile = (ROOT / "Procfile").read_text().splitlines()
    commands = [line.partition(": ")[2] for line in procfile]
    assert all(command in COMMANDS for command in commands)
    started = [spawn(command, tmp_path, **settings) for command in commands]
    try:
        address = f"http://127.0.0.1:{settings['PORT']}"
        eventually(lambda: fetch(f"{address}/livez"))
        eventually(
            lambda: run("smartworker status", tmp_path, **settings).returncode == 0
        )
        status = run("smartworker status", tmp_path, **settings)
        assert "keyspace" in status.stdout, status.stderr
        answer = fetch(
            "-X",
            "POST",
            "-H",
            f"Authorization: Bearer {token}",
            f"{address}/api/cron/schedule-swim-lanes",
        )
        assert json.loads(answer)["status"] == "accepted"
    finally:
        web, worker = [stop(process, tmp_path) for process in started]
    assert (web, worker) == (-signal.SIGTERM, 0)


def test_what_it_did(tmp_path, redis_url):
    """The commands that look, while a worker and a web process run and write logs."""
    token = "t" * 32
    settings = {
        "REDIS_URL": redis_url,
        "PORT": str(free_port()),
        "SMARTWORKER_CRON_TOKENS": token,
        "SMARTWORKER_STATE_DIR": str(tmp_path / "state"),
    }
    started = [
        spawn(f"smartworker {name}", tmp_path, f"{name}.log", **settings)
        for name in ("worker", "web")
    ]
    try:
        address = f"http://127.0.0.1:{settings['PORT']}"
        eventually(lambda: "worker_ready" in (tmp_path / "worker.log").read_text())
        eventually(lambda: fetch(f"{address}/livez"))
        assert "<title>" in fetch(f"{address}/")
        bearer = ("-H", f"Authorization: Bearer {token}")
        assert "smartworker_triggers_total" in fetch(*bearer, f"{address}/metrics")
        for command, word in LOOKING.items():
            done = run(command, tmp_path, **settings)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            assert word in done.stdout, (command, done.stdout)
    finally:
        for process in started:
            stop(process, tmp_path)
    assert (tmp_path / "day.html").read_text().startswith("<!doctype html>")


def test_the_example_by_hand(tmp_path, redis_url):
    """The lines of the example's own page; `smartworker dev` has its own tests."""
    port = str(free_port())
    text = EXAMPLE.replace("8100", port)
    dev, facility, worker, trigger = re.findall(r"^    (.+)$", text, re.MULTILINE)
    assert dev == "smartworker dev"
    variable, _, worker = worker.partition(" ")
    settings = {"REDIS_URL": redis_url, "DATABASE_URL": f"sqlite:///{tmp_path}/swim"}
    settings |= dict([variable.split("=", 1)])
    started = [spawn(line, tmp_path, **settings) for line in (facility, worker)]
    try:
        done = run(trigger, tmp_path, **settings)
        assert done.returncode == 0, done.stderr + (tmp_path / "output").read_text()
        assert "2 successful, 0 failed" in done.stdout
    finally:
        for process in started:
            stop(process, tmp_path)


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
        trigger, status, alive = [line for line in COMMANDS if line.startswith("curl ")]
        here = f"127.0.0.1:{port}"

        def ask(line: str) -> dict:
            line = line.replace("127.0.0.1:8000", here).replace("<token>", token)
            return json.loads(fetch(*shlex.split(line)[1:]))

        accepted = ask(trigger)
        assert list(accepted) == fields_shown_after(trigger)
        status = status.replace("<task_id>", accepted["task_id"])
        eventually(lambda: ask(status)["state"] == "SUCCESS")
        result = ask(status)["result"]
        assert result["message"] in README
        assert result["summary"] == {"total_processed": 2, "successful": 2, "failed": 0}
        assert ask(alive) == {"status": "ok"}
        assert json.dumps(ask(alive), separators=(",", ":")) in README
    finally:
        begun = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(20)
    assert time.monotonic() - begun < 6


def fields_shown_after(command: str) -> list[str]:
    """The keys of the JSON that the README shows as the answer to a command."""
    return re.findall(
        r'"(\w+)":', README.partition(command + "\n")[2].partition("\n")[0]
    )


def environment(directory: Path) -> dict[str, str]:
    """What a fresh shell has: none of our settings."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SMARTWORKER_", "REDIS_", "UPSTASH_", "SWIM_"))
        and name not in ("PORT", "DATABASE_URL", "COLUMNS")
    }
    path = f"{BIN}{os.pathsep}{clean['PATH']}"
    return {**clean, "PATH": path, "PYTHONPATH": str(directory)}


def run(
    command: str, directory: Path, **settings: str
) -> subprocess.CompletedProcess[str]:
    """A command line, to its end."""
    return subprocess.run(
        shlex.split(command),
        cwd=directory,
        env={**environment(directory), **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def spawn(
    command: str, directory: Path, said: str = "output", **settings: str
) -> subprocess.Popen[bytes]:
    """A command line that goes on; what it says is kept in the file `said`."""
    with (directory / said).open("ab") as output:
        return subprocess.Popen(
            shlex.split(command),
            cwd=directory,
            env={**environment(directory), **settings},
            stdout=output,
            stderr=output,
        )


def stop(process: subprocess.Popen[bytes], directory: Path) -> int:
    """SIGTERM; returns the exit status."""
    process.terminate()
    try:
        return process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        pytest.fail(
            f"{process.args} did not end:\n{(directory / 'output').read_text()}"
        )


def fetch(*arguments: str) -> str:
    """What curl prints; empty if it fails."""
    done = subprocess.run(
        ["curl", "-s", "-m", "10", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def eventually(condition, seconds: float = 40) -> None:
    """Until it is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.1)
