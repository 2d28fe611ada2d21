"""D1, S14: a message stays its worker's for as long as its task runs."""

import pytest

from tests.faults.conftest import Figures
from tests.faults.stage import Stage
from tests.processes import wait_until

LEASE = 2.0


@pytest.mark.parametrize(
    "pool",
    [
        "solo",
        *(pytest.param(p, marks=pytest.mark.full) for p in ("prefork", "threads")),
    ],
)
def test_d1_a_task_longer_than_its_lease(
    stage: Stage, figures: Figures, pool: str
) -> None:
    """Three leases long, with an idle peer that looks each second: it runs once."""
    often = {"SMARTWORKER_LEASE": f"{LEASE:g}s", "SMARTWORKER_QUIET_POLL": "1s"}
    first = stage.start("-P", pool, "-c", "1", **often)
    stage.publish("note", ["long"], seconds=3 * LEASE)
    stage.started(1)
    second = stage.start("-P", "threads", "-c", "1", **often)
    stage.done(["long"], 4 * LEASE)
    stage.settled()
    figures(starts=len(stage.record.runs()), leases=3)
    assert len(stage.record.runs()) == 1
    assert second.events("messages_rescued") == []
    assert first.events("delivery_lost") == []


def test_an_idle_worker_drops_its_lease(stage: Stage) -> None:
    """Nothing is left on the server once the work is done and the lease is used up."""
    worker = stage.start("-P", "threads", SMARTWORKER_LEASE=f"{LEASE:g}s")
    stage.publish("note", range(3))
    stage.done(range(3))
    wait_until(lambda: not stage.client.exists("smartworker:leases"), 2 * LEASE)
    assert worker.stop() == 0
