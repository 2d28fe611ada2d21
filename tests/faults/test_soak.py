"""F70: a day with a task a minute and a fault every five, in which nothing is lost."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import Figures
from tests.faults.proxy import FaultProxy
from tests.faults.server import FaultServer
from tests.faults.stage import Stage
from tests.processes import wait_until

#: A minute of the day, in seconds of ours: the day takes 144 s.
MINUTE = 0.1
FAULT_EACH = 5
#: Megabytes that the worker may have grown by after the first part of the day.
MOST_GROWTH = 10.0
#: The part of the day after which it is taken to have its size.
WARM = 0.2

Fault = Callable[[], object]


class Day:
    """One worker behind a proxy, and everything that happens to it."""

    def __init__(self, stage: Stage, server: FaultServer, proxy: FaultProxy) -> None:
        self.stage = stage
        self.server = server
        self.proxy = proxy
        self.worker = stage.start("-c", "2", url=proxy.url)
        self.faults: dict[str, Fault] = {
            "connections killed": lambda: stage.client.client_kill_filter(
                _type="normal", skipme=True
            ),
            "doorbell killed": lambda: stage.client.client_kill_filter(_type="pubsub"),
            "connections reset": lambda: proxy.close(reset=True),
            "server silent": lambda: self.for_a_while(server.pause, server.resume),
            "connections refused": lambda: self.for_a_while(self.cut_off, proxy.accept),
            "a reply lost": lambda: proxy.trap("LMOVE", times=1, then="close"),
            "an acknowledgement lost": lambda: proxy.trap(
                "LREM", times=1, then="close"
            ),
            "a child killed": self.kill_child,
            "server loading": lambda: self.for_a_while(
                lambda: proxy.answer("LOADING Redis is loading", "LMOVE", "EXISTS"),
                proxy.clear,
            ),
        }

    def cut_off(self) -> None:
        """Nobody listens any more."""
        self.proxy.refuse()
        self.proxy.close()

    def for_a_while(self, begin: Fault, end: Fault) -> None:
        """A fault that lasts for three minutes of this day."""
        begin()
        time.sleep(3 * MINUTE)
        end()

    def kill_child(self) -> None:
        """SIGKILL for a pool process."""
        for child in self.children()[:1]:
            os.kill(child, signal.SIGKILL)

    def children(self) -> list[int]:
        """The pool's processes."""
        pid = self.worker.process.pid
        path = Path(f"/proc/{pid}/task/{pid}/children")
        return [int(child) for child in path.read_text().split()]

    def descriptors(self) -> int:
        """Open files of the main process."""
        return len(list(Path(f"/proc/{self.worker.process.pid}/fd").iterdir()))

    def megabytes(self) -> float:
        """Resident memory of the main process."""
        status = Path(f"/proc/{self.worker.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def pass_by(self, minutes: int, rng: random.Random) -> tuple[float, int]:
        """Let the day pass; memory and descriptors when the worker was warm."""
        warm = (0.0, 0)
        begun = time.monotonic()
        for minute in range(minutes):
            if minute == int(minutes * WARM):
                warm = self.megabytes(), self.rest()
            self.stage.publish("note", [minute])
            if minute % FAULT_EACH == FAULT_EACH - 1:
                self.faults[rng.choice(sorted(self.faults))]()
            time.sleep(max(begun + (minute + 1) * MINUTE - time.monotonic(), 0))
        return warm

    def rest(self) -> int:
        """The descriptors once the worker is connected and idle."""
        self.proxy.clear()
        self.stage.settled(60)
        return self.descriptors()


def live_through(day: Day, minutes: int, figures: Figures) -> None:
    """The day, and what it promises."""
    seed = random.randrange(10**6)
    print("seed", seed)  # noqa: T201 - it makes a failure repeatable
    memory, descriptors = day.pass_by(minutes, random.Random(seed))
    day.proxy.clear()
    day.stage.done(range(minutes), 60)
    day.stage.settled(60)
    wait_until(lambda: day.descriptors() <= descriptors, 20, "no descriptor more")
    growth = day.megabytes() - memory
    figures(
        tasks=minutes,
        faults=minutes // FAULT_EACH,
        lost=len(day.stage.record.lost(range(minutes))),
        duplicates=day.stage.record.duplicates(),
        megabytes_more=growth,
        descriptors_more=day.descriptors() - descriptors,
    )
    assert not day.stage.dead()
    assert growth <= MOST_GROWTH
    assert day.worker.stop() == 0


def test_f70_an_hour(
    stage: Stage, fault_server: FaultServer, proxy: FaultProxy, figures: Figures
) -> None:
    """60 tasks and 12 faults: nothing lost, no descriptor more."""
    live_through(Day(stage, fault_server, proxy), 60, figures)


@pytest.mark.full
@pytest.mark.timeout(400)
def test_f70_a_day(
    stage: Stage, fault_server: FaultServer, proxy: FaultProxy, figures: Figures
) -> None:
    """1,440 tasks and 288 faults: nothing lost, 10 MB more at most."""
    live_through(Day(stage, fault_server, proxy), 1440, figures)
