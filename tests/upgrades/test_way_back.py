"""docs/upgrading.md: back to stock Celery, by its own commands, and nothing is lost."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from smartworker.broker.returns import dead
from smartworker.store import keys
from smartworker.store.moves import move
from tests.pages import broken_links, commands, page
from tests.processes import WorkerProcess, wait_until
from tests.upgrades.leaving import WAYS, Leaving, held
from tests.upgrades.pair import HERE, NEW, Hand, Stage

pytestmark = pytest.mark.slow

COMMANDS = commands(page("docs/upgrading.md"))
JOB = "nightly-new"
#: Seconds until what is scheduled is due: about what it takes to go back.
LATER = 6


@pytest.fixture
def stage(own_url: str, tmp_path: Path) -> Iterator[Stage]:
    """An empty server, and leases that end soon."""
    with redis.Redis.from_url(own_url) as client:
        client.flushall()
    stage = Stage(own_url, tmp_path / "nothing", tmp_path / "stage", lease="5s")
    yield stage
    stage.close()


class Steps:
    """The commands of the page, run in a shell as they stand there."""

    def __init__(self, stage: Stage) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = stage.environment(NEW) | {"PATH": path}
        self._folder = stage.folder
        #: Those that were not run.
        self.left = set(COMMANDS)

    def run(self, words: str, status: int = 0) -> str:
        """Run the command that ends like this, -A shop left out; what it prints."""
        ours = [line.removesuffix(" -A shop") for line in COMMANDS]
        (command,) = [
            c for c, o in zip(COMMANDS, ours, strict=True) if o.endswith(words)
        ]
        self.left.discard(command)
        return self.also(command, status)

    def also(self, command: str, status: int = 0) -> str:
        """Run a command that does not stand there; what it prints."""
        done = subprocess.run(
            ["bash", "-c", command],
            env=self._environment,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == status, (command, done.stdout, done.stderr)
        return done.stdout


def dead_letter(stage: Stage, hand: Hand) -> None:
    """A message that has died, although stock Celery can run it."""
    hand.ask(f"note.apply_async(('letter',), queue={NEW!r}).id")
    with redis.Redis.from_url(stage.url) as client:
        source = keys.inflight("x", NEW)
        raw = client.lmove(NEW, source, "LEFT", "LEFT")
        move(client, source, NEW, [dead(raw, NEW, "max_deliveries", "5").move])
        assert client.xlen(keys.DEAD) == 1


def stock_worker(stage: Stage) -> None:
    """A worker of the project without our line, which needs nothing of ours."""
    names = ",".join((*WAYS, NEW))
    environment = stage.environment(NEW)
    worker = WorkerProcess(
        HERE,
        stage.url,
        *("-c", "2", "-Q", names, "-n", "stock@here", "--without-mingle"),
        app="plain",
        cwd=stage.folder,
        **environment,
    )
    stage.workers.append(worker)


def left_behind(stage: Stage) -> set[str]:
    """Our keys that are there, and do not expire soon."""
    with redis.Redis.from_url(stage.url) as client:
        names = {name.decode() for name in client.keys(f"{keys.NAMESPACE}:*")}
        return {name for name in names if client.ttl(name) < 0}


def flags(stage: Stage) -> str:
    """What the server tells of: the flags of its keyspace events."""
    with redis.Redis.from_url(stage.url, decode_responses=True) as client:
        return str(client.config_get("notify-keyspace-events").popitem()[1])


def test_back_to_stock_celery(stage: Stage) -> None:
    """Step by step as the page says, with messages in every place they may be in."""
    steps, hand = Steps(stage), Hand(stage.environment(NEW), stage.folder)
    leaving = Leaving(stage, NEW)
    # It looks at the settings; what is critical is this server, which keeps nothing.
    assert "persistence" in steps.run("doctor --sample 0", status=3)
    dead_letter(stage, hand)
    hand.ask(f"command('trigger', {JOB!r}, *SHOP)")
    assert "shop.note" in steps.run("dead list")
    assert "1 requeued" in steps.run("requeue --all --yes")
    leaving.ready()
    found = steps.run("status")
    assert all(f"{way}@here" in found for way in WAYS)
    leaving.fill(hand, LATER)
    hand.close()

    leaving.go()
    stock_worker(stage)
    wait_until(
        lambda: "alive for" not in steps.run("smartworker rescue"),
        what="its lease is over",
    )
    assert "Nothing to rescue." in steps.run("rescue --orphans")
    assert held(stage) == {}

    leaving.check("stock")
    stage.wait_for("letter", "nightly")
    assert stage.ran("letter") == stage.ran("nightly") == ["stock"]
    assert steps.also(f"celery -A plain result {leaving.result}").strip() == NEW

    assert left_behind(stage) <= {keys.DEAD, keys.JOBS, keys.PROCESSES, keys.runs(JOB)}
    steps.run("processes")
    steps.run("DEL")
    assert left_behind(stage) == set()
    assert flags(stage) != ""
    steps.run('CONFIG SET notify-keyspace-events ""')
    assert flags(stage) == ""
    assert steps.left == set()


def test_the_links_lead_somewhere() -> None:
    """Files and headings."""
    assert broken_links("docs/upgrading.md") == []
