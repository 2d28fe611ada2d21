"""Workers of one release go with messages everywhere; the other one does them all."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from smartworker.store import keys
from smartworker.store.server import EmbeddedServer
from tests.processes import wait_until
from tests.upgrades.leaving import KILLED, WAYS, Leaving, held
from tests.upgrades.pair import NEW, OLD, RELEASES, Hand, Stage

pytestmark = pytest.mark.slow

#: Seconds until what is scheduled is due: when the killed worker's lease is over.
LATER = 5


@pytest.fixture
def stages(previous: Path, tmp_path: Path) -> Iterator[list[Stage]]:
    """A server for each way, and leases that end soon."""
    with ExitStack() as stack:
        found = []
        for first in RELEASES:
            url = stack.enter_context(EmbeddedServer()).url
            found.append(Stage(url, previous, tmp_path / first, lease="5s"))
            stack.callback(found[-1].close)
        yield found


def test_everything_is_handed_over(stages: list[Stage]) -> None:
    """Both ways, at the same time: most of it is waiting for leases to end."""
    with ThreadPoolExecutor() as pool:
        # The list raises what a way has raised.
        list(pool.map(hand_over, stages, (OLD, NEW), (NEW, OLD)))


def hand_over(stage: Stage, first: str, second: str) -> None:
    """Running, prefetched, scheduled, to be tried again, and waiting."""
    hand = Hand(stage.environment(first), stage.folder)
    leaving = Leaving(stage, first)
    leaving.ready()
    leaving.fill(hand, LATER)
    hand.close()
    leaving.go()
    worker = stage.spawn(second, "next", "-Q", ",".join(WAYS))
    leaving.check(second)
    worker.wait_for("messages_rescued")
    lines = worker.events("messages_rescued")
    assert [(line["queue"], line["returned"]) for line in lines] == [
        (KILLED, leaving.held)
    ]
    second_runs = [line for line in stage.lines() if line[2:4] == [second, "0"]]
    again = {line[1]: line[4] for line in second_runs if "-run-" in line[1]}
    assert set(again.values()) == {"1"}
    wait_until(lambda: not held(stage), what="nothing in flight")
    with redis.Redis.from_url(stage.url) as client:
        wait_until(lambda: not client.exists(keys.LEASES), what="no lease")
        assert client.exists(keys.DEAD, *WAYS) == 0
