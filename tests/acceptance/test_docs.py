"""The pages of docs/: their commands and snippets are run."""

import re
from pathlib import Path

import pytest
import redis
from celery import Celery

import smartworker
from smartworker.broker.returns import REASONS, UNREADABLE, dead
from smartworker.settings import Settings
from smartworker.store.moves import move
from tests.commands import run_command

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGE = (DOCS / "reliability.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ smartworker (.+)$", PAGE, re.MULTILINE)
EXAMPLE = "1764026888123-0"


def test_the_commands_for_dead_letters(redis_url):
    """Each of them, on a letter that is there: what it says, and exit status 0."""
    for command in COMMANDS:
        with redis.Redis.from_url(redis_url) as client:
            client.rpush("smartworker:inflight:x:celery", "not json")
            verdict = dead(b"not json", "celery", UNREADABLE, "it is none")
            move(client, "smartworker:inflight:x:celery", "celery", [verdict.move])
            ((letter_id, _),) = client.xrange("smartworker:dead")
        words = command.replace(EXAMPLE, letter_id.decode()).split()
        # Nobody could ever read this one.
        words += ["--force"] if "requeue" in words else []
        done = run_command(redis_url, *words)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert done.stdout
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()


def test_the_snippet_publishes_once(redis_url):
    """Three calls, one message, one id."""
    app = smartworker.setup(
        Celery("docs", set_as_current=False), Settings(redis_url=redis_url)
    )

    @app.task(shared=False)
    def charge(invoice):
        """Never run."""

    (snippet,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    scope = {"smartworker": smartworker, "charge": charge}
    ids = {eval(snippet, scope).id for _ in range(3)}  # noqa: S307 - our own page
    assert len(ids) == 1
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("celery") == 1
    app.close()


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_is_explained(reason):
    """A reason that a letter may have stands on the page."""
    assert f"`{reason}`" in PAGE


def test_every_row_of_the_table_is_a_test():
    """A fault with a number has a test with that number in its name."""
    tests = "".join(path.read_text() for path in ROOT.glob("tests/faults/test_*.py"))
    rows = re.findall(r"^\| (F\d\d(?:, F\d\d)*) ", PAGE, re.MULTILINE)
    numbers = {number for row in rows for number in row.split(", ")}
    assert len(numbers) > 40
    missing = [n for n in sorted(numbers) if f"test_{n.lower()}_" not in tests]
    assert missing == []
