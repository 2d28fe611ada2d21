"""docs/deploying.md, and the files that deploy the swim example."""

import json
import os
import re
import shlex
import signal
from pathlib import Path

import pytest
import redis
import yaml
from celery import Celery

import smartworker
from smartworker.cli.init import init
from smartworker.deploy.platforms import PLATFORMS, WEB_GRACE, WORKER_GRACE
from smartworker.settings import Settings
from smartworker.store.server import EmbeddedServer, free_port
from tests.deployed import (
    SHOP,
    TOKEN,
    run_all,
    running,
    settings,
    shell,
    stop,
    wait_ready,
)
from tests.pages import ROOT, broken_links, commands, page
from tests.processes import wait_until
from tests.swim import facility

pytestmark = pytest.mark.slow

PAGE = page("docs/deploying.md")
COMMANDS = commands(PAGE)
OF_SHOP = [
    line for line in COMMANDS if line.startswith("smartworker init") and "-A" in line
]
OF_SWIM = [
    line for line in COMMANDS if line.startswith("smartworker init") and "swim" in line
]
(TOGETHER,) = [line for line in COMMANDS if "--with-worker" in line]
SLOW = """
import time
from pathlib import Path

from celery import Celery

import smartworker

app = smartworker.setup(Celery("shop"))


@app.task
def nap():
    Path("begun").touch()
    time.sleep(2)
    Path("ended").touch()
"""


def test_every_command_has_its_test() -> None:
    """What is added to the page must be run below."""
    assert sorted(COMMANDS) == sorted([*OF_SHOP, *OF_SWIM, TOGETHER])
    assert broken_links("docs/deploying.md") == []


def test_the_commands_write_what_the_table_says(tmp_path: Path) -> None:
    """All in one project: none is in the way of another."""
    (tmp_path / "shop.py").write_text(SHOP)
    before = set(tmp_path.rglob("*"))
    run_all(tmp_path, [shlex.split(line)[1:] for line in OF_SHOP])
    made = {
        str(path.relative_to(tmp_path))
        for path in set(tmp_path.rglob("*")) - before
        if path.is_file() and "__pycache__" not in path.parts
    }
    rows = re.findall(r"^\| \[`(\w+)`\]\(#\w+\) \| ([^|]+) \|", PAGE, re.MULTILINE)
    assert [name for name, _ in rows] == list(PLATFORMS)
    for _, files in rows:
        for shown in re.findall(r"`([^`]+)`", files):
            pattern = shown.replace("NAME", "shop")
            found = [each for each in made if Path(each).match(f"*{pattern}")]
            assert found, shown
    one = yaml.safe_load((tmp_path / "one" / "render.yaml").read_text())
    # tests/integration/test_init_command.py runs that command of that file.
    assert [each["startCommand"] for each in one["services"]] == [TOGETHER]


def test_the_table_of_options() -> None:
    """It has each of the command, and no other."""
    rows = re.findall(r"^\| ((?:`-[^|]+)) \|", PAGE, re.MULTILINE)
    shown = {word for row in rows for word in re.findall(r"`(-[\w-]+)`", row)}
    known = {word for option in init.params for word in option.opts if word[0] == "-"}
    assert shown == known


def test_the_figures_are_those_of_the_files() -> None:
    """How long a platform waits."""
    assert f"waits {WORKER_GRACE} s for a worker" in PAGE
    assert f"and {WEB_GRACE} s for a web process" in PAGE


def test_the_files_of_the_repository(tmp_path: Path) -> None:
    """They are what the commands of the page write."""
    here = ["--into", str(tmp_path)]
    run_all(ROOT, [[*shlex.split(line)[1:], *here] for line in OF_SWIM])
    for name in ("render.yaml", "Procfile"):
        assert (tmp_path / name).read_text() == page(name)
    # Both install by it: the project with its web half.
    assert page("requirements.txt").splitlines()[-1] == ".[web]"
    assert "pip install -r requirements.txt" in page("render.yaml")


def test_the_repository_deploys_the_swim_example(tmp_path: Path) -> None:
    """The lines of the Procfile, which are those of render.yaml: a call books lanes."""
    lines = dict(line.split(": ", 1) for line in page("Procfile").splitlines())
    release = lines.pop("release")
    services = yaml.safe_load(page("render.yaml"))["services"]
    assert lines == {each["type"]: each["startCommand"] for each in services}
    assert services[0]["preDeployCommand"] == release
    port = str(free_port())
    address = f"http://127.0.0.1:{port}"
    with EmbeddedServer() as server, facility(None) as lanes:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("appendonly", "yes")
        env = settings(server.url, tmp_path, PORT=port, SWIM_FACILITY_URL=lanes)
        assert shell(release, tmp_path, **env).returncode == 0
        with running(lines, tmp_path, env) as started:
            wait_ready(address, tmp_path)
            bearer = f"curl -sS -H 'Authorization: Bearer {TOKEN}'"
            call = f"{bearer} -X POST {address}/api/cron/schedule-swim-lanes"
            task = json.loads(shell(call, tmp_path, **env).stdout)["task_id"]
            ask = f"{bearer} '{address}/api/tasks/{task}?wait=25'"
            done = json.loads(shell(ask, tmp_path, **env).stdout)
            assert done["state"] == "SUCCESS", done
            assert done["result"]["summary"]["successful"] == 2
            assert stop(started["worker"]) == 0
            stop(started["web"])


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_signal_to_all_processes(tmp_path: Path, redis_url: str, pool: str) -> None:
    """As Heroku sends it: with a pool of processes the task goes back, with threads it
    ends."""
    (tmp_path / "shop.py").write_text(SLOW)
    env = settings(redis_url, tmp_path)
    worker = f"smartworker worker -A shop -c 1 -l info --pool {pool} --no-doctor"
    with running({"worker": worker}, tmp_path, env) as started:
        producer = Celery("producer", set_as_current=False)
        with smartworker.setup(producer, Settings(redis_url=redis_url)) as app:
            app.send_task("shop.nap", ignore_result=True)
        wait_until(lambda: (tmp_path / "begun").exists(), 30, "the task")
        os.killpg(started["worker"].pid, signal.SIGTERM)
        assert started["worker"].wait(30) == 0
    with redis.Redis.from_url(redis_url) as client:
        waiting = client.llen("celery")
    ended = (tmp_path / "ended").exists()
    assert (waiting, ended) == ((1, False) if pool == "prefork" else (0, True))
