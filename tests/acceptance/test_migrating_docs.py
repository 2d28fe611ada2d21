"""docs/migrating.md: its steps are taken by a project with Beat, its tables hold."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

import smartworker
from smartworker.settings import Settings
from smartworker.store.server import free_port
from smartworker.worker.configuration import defaults, usual_time_limits
from tests.pages import answers, blocks, commands, page, sides
from tests.shells import fetch, run, running

PAGE = page("docs/migrating.md")
SETUP, JOBS = [sides(diff) for diff in blocks(PAGE, "diff")]
(AS_BEFORE,) = blocks(PAGE, "python")
DOCTOR, IMPORT, *STEPS = commands(PAGE)
PAUSE, WEB, RENDER, CALL, LIST, RESUME, TRIGGER = STEPS
TOKEN = "t" * 40
STOCK = """
import os

from celery import Celery

app = Celery("shop", broker=os.environ["REDIS_URL"])
"""
#: What the transport itself is made of, and what stock Celery has as well.
OURS = {"broker_url", "worker_consumer", "result_backend"}
#: In both, but for the type of the list.
SAME = {"task_serializer", "result_serializer", "accept_content"}


@pytest.mark.slow
def test_the_tuning_may_stay_or_go(tmp_path: Path, redis_url: str) -> None:
    """The app of the first diff: the line alone, and without its tuning.

    The doctor sees the worker of the app as it was.
    """
    before, after = SETUP
    old = 'app = Celery("shop", broker=url, backend=url)'
    kept = before.replace(old, f"import smartworker\n{old}\nsmartworker.setup(app)")
    code = "from shop import add; print(add.delay(2, 3).get(timeout=30))"
    for text in (kept, after):
        (tmp_path / "shop.py").write_text(text)
        worker = "celery -A shop worker --pool solo"
        log = "kept" if text is kept else "gone"
        with running(worker, tmp_path, log, until="worker_ready", REDIS_URL=redis_url):
            done = run(f"python -c '{code}'", tmp_path, REDIS_URL=redis_url)
            assert done.stdout == "5\n", done.stderr
    (tmp_path / "old.py").write_text(STOCK)
    stock = "celery -A old worker --pool solo --loglevel info"
    with running(stock, tmp_path, "old", until=" ready.", REDIS_URL=redis_url):
        done = run(DOCTOR, tmp_path, REDIS_URL=redis_url)
    assert done.returncode == 3, done.stderr
    assert "stock workers" in done.stdout


@pytest.mark.slow
def test_from_beat(tmp_path: Path, redis_url: str) -> None:
    """Each step in its order: Beat runs until the jobs may take over."""
    shop, port = tmp_path / "shop.py", str(free_port())
    settings = {"REDIS_URL": redis_url, "SMARTWORKER_CRON_TOKENS": TOKEN, "PORT": port}
    before, after = JOBS

    def step(command: str, word: str) -> None:
        done = run(command, tmp_path, **settings)
        assert done.returncode == 0, (command, done.stderr)
        assert word in done.stdout, (command, done.stdout)

    shop.write_text(before)
    beat = "celery -A shop beat --loglevel info"
    with running(beat, tmp_path, "beat", until="beat: Starting", **settings):
        step(IMPORT, "")
        shop.write_text(after)
        step(PAUSE, "is paused")
        with running(WEB, tmp_path, "web", until="startup complete", **settings):
            step(RENDER, "/api/cron/nightly-sum")
            shown = dict(answers(PAGE))[CALL]
            assert called(port).keys() == json.loads(shown).keys()
            assert called(port)["reason"] == json.loads(shown)["reason"] == "paused"
    step(LIST, "paused")
    step(RESUME, "runs again")
    step(TRIGGER, "is queued")


def test_the_way_back() -> None:
    """What docs/upgrading.md takes out is what was put in here."""
    (diff,) = blocks(page("docs/upgrading.md"), "diff")
    taken, given = diff.splitlines()
    assert taken.removeprefix("-") in JOBS[1].splitlines()
    assert given.removeprefix("+") in SETUP[0].splitlines()


def called(port: str) -> dict[str, Any]:
    """What the call of the page is answered."""
    words = CALL.replace("$CRON_TOKEN", TOKEN).replace(
        "$URL", f"http://127.0.0.1:{port}"
    )
    _, *arguments = re.findall(r'"[^"]*"|\S+', words)
    answer: dict[str, Any] = json.loads(fetch(*(each.strip('"') for each in arguments)))
    return answer


def test_the_table_of_what_changes() -> None:
    """Each setting that we fill in, with the value of stock Celery and with ours."""
    stock = Celery("stock", set_as_current=False).conf
    ours = defaults(Settings(redis_url="redis://127.0.0.1:1/0"))
    table = PAGE.partition("## What changes")[2].partition("\n**So")[0]
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", table)) - {"accept_content"}
    elsewhere = {"broker_connection_retry_on_startup", "redis_socket_keepalive"}
    assert named == ours.keys() - OURS - SAME - elsewhere
    for name in elsewhere:
        assert not stock[name]
        assert ours[name] is True
        assert f"`{name}`" in PAGE
    for name in re.findall(r"^\| `(\w+)` \| `\w+` \| `True` \|$", table, re.MULTILINE):
        assert f"| `{name}` | `{stock[name]}` | `{ours[name]}` |" in table
    assert stock.redis_socket_timeout == 120
    assert stock.redis_socket_connect_timeout is None
    assert ours["redis_socket_timeout"] == ours["redis_socket_connect_timeout"] == 5


def test_everything_as_it_was() -> None:
    """The snippet gives an app back what stock Celery does."""
    stock = Celery("stock", set_as_current=False)
    app = smartworker.setup(
        Celery("ours", set_as_current=False),
        Settings(redis_url="redis://127.0.0.1:1/0"),
    )
    assert usual_time_limits(app.conf) == (1800, 1500)
    exec(compile(AS_BEFORE, "docs/migrating.md", "exec"), {"app": app})  # noqa: S102 - our page
    for name in re.findall(r"^    (\w+)=", AS_BEFORE, re.MULTILINE):
        assert app.conf[name] == stock.conf[name], name
    assert usual_time_limits(app.conf) == (None, None)
    app.close()
