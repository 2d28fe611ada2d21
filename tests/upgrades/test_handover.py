"""Workers of one release go with messages everywhere; the other one does them all."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from smartworker.store import keys
from tests.processes import wait_until
from tests.upgrades.leaving import KILLED, WAYS, Leaving, held
from tests.upgrades.pair import NEW, OLD, RELEASES, Hand, Stage

pytestmark = pytest.mark.slow

#: Seconds until what is scheduled is due: about what the next worker needs to start.
LATER = 3


@pytest.fixture
def stage(own_url: str, previous: Path, tmp_path: Path) -> Iterator[Stage]:
    """An empty server, and leases that end soon."""
    with redis.Redis.from_url(own_url) as client:
        client.flushall()
    stage = Stage(own_url, previous, tmp_path / "stage", lease="5s")
    yield stage
    stage.close()


@pytest.mark.parametrize("first", RELEASES)
def test_everything_is_handed_over(stage: Stage, first: str) -> None:
    """Running, prefetched, scheduled, to be tried again and waiting: in both ways."""
    second = NEW if first == OLD else OLD
    hand = Hand(stage.environment(first), stage.folder)
    leaving = Leaving(stage, first)
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
