"""F06: workers that are killed all the time lose nothing and hardly repeat any."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.conftest import Figures
from tests.faults.server import FaultServer

ROOT = Path(__file__).parent.parent.parent


def storm(server: FaultServer, tasks: int) -> dict[str, int]:
    """The figures of one storm; its seed is printed, so that it can be repeated."""
    seed = random.randrange(10**6)
    print("seed", seed)  # noqa: T201 - it makes a failure repeatable
    words = ["-m", "tests.faults.storm", server.url]
    done = subprocess.run(
        [sys.executable, *words, "--seed", str(seed), "--tasks", str(tasks)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, int] = json.loads(done.stdout)

    return found


def check(found: dict[str, int], figures: Figures) -> None:
    """Nothing lost, nothing left, at most one duplicate for ten kills."""
    figures(**found)
    assert found["kills"] >= found["tasks"] // 60
    assert found["lost"] == 0
    assert found["left_behind"] == 0
    assert found["duplicates"] <= found["kills"] / 10


def test_f06_a_squall(fault_server: FaultServer, figures: Figures) -> None:
    """600 tasks on six workers, a SIGKILL each 0.05 to 0.25 s, connections cut."""
    check(storm(fault_server, 600), figures)


@pytest.mark.full
@pytest.mark.timeout(300)
def test_f06_f20_a_storm(fault_server: FaultServer, figures: Figures) -> None:
    """The same with 6,000 tasks."""
    check(storm(fault_server, 6000), figures)
