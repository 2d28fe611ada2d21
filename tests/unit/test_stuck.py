"""The watchdog: what it takes for a loop that stands still, and what not."""

import threading
from collections.abc import Callable

import pytest

from smartworker.testing import ManualClock
from smartworker.worker.stuck import LOOK, PATIENCE, Watchdog, children_of, stack_of


class Loop:
    """A loop that turns when it is told to, and its watchdog."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.posted: list[Callable[[], None]] = []
        self.reasons: list[str] = []
        self.due: float | None = self.clock.monotonic() + 10_000
        self.dog = Watchdog(
            self.posted.append, lambda: self.due, self.reasons.append, clock=self.clock
        )

    def turn(self) -> None:
        """Do what was posted."""
        while self.posted:
            self.posted.pop()()

    def look(self, times: int = 1, *, turns: bool = False) -> None:
        """So many looks, after each of which the loop may turn."""
        for _ in range(times):
            before = self.clock.monotonic()
            self.clock.advance(LOOK)
            self.dog.look(before)
            if turns:
                self.turn()


def test_a_loop_that_turns_is_left_alone() -> None:
    """For a day; each look wakes it once."""
    loop = Loop()
    loop.due = loop.clock.monotonic() + 2 * 86_400
    loop.look(2880, turns=True)
    assert loop.reasons == []


def test_a_loop_that_stands_still_is_noticed() -> None:
    """After the patience, once."""
    loop = Loop()
    loop.look(1 + int(PATIENCE / LOOK))
    assert loop.reasons == []
    assert len(loop.posted) == 1
    loop.look()
    assert loop.reasons == ["the loop does not turn for 330 s"]


def test_a_loop_that_turns_and_does_not_poll_is_noticed() -> None:
    """The due poll, or the next try of an outage, was not made."""
    loop = Loop()
    loop.due = loop.clock.monotonic() + 100
    loop.look(13, turns=True)
    assert loop.reasons == []
    loop.look(turns=True)
    assert loop.reasons == ["no poll is made for 320 s"]


def test_nothing_is_asked_of_a_loop_that_may_do_something_else() -> None:
    """A solo pool in a task, a shutdown: an hour counts for nothing afterwards."""
    loop = Loop()
    loop.look(5)
    loop.due = None
    loop.look(120)
    loop.due = loop.clock.monotonic() - 3600
    loop.look(int(PATIENCE / LOOK))
    assert loop.reasons == []
    loop.look()
    assert loop.reasons == ["no poll is made for 330 s"]


def test_a_process_that_was_suspended_gets_new_time() -> None:
    """The wait of the watchdog itself took an hour."""
    loop = Loop()
    loop.look()
    before = loop.clock.monotonic()
    loop.clock.advance(3600)
    loop.dog.look(before)
    assert loop.reasons == []
    loop.look(int(PATIENCE / LOOK))
    assert loop.reasons == []


def test_the_thread_ends_after_it_was_stuck_and_when_stopped() -> None:
    """It looks until one of both, on its own."""
    loop = Loop()
    loop.dog._run()
    assert loop.reasons == ["the loop does not turn for 330 s"]
    other = Loop()
    other.dog.stop()
    other.dog._run()
    assert other.posted == []


def test_the_stack_has_no_source() -> None:
    """Files, lines and functions, the innermost last."""
    found = stack_of(threading.current_thread())
    assert found[-2].startswith("test_stuck.py:")
    assert found[-2].endswith(" test_the_stack_has_no_source")
    assert all("=" not in line for line in found)
    assert stack_of(threading.Thread()) == []


@pytest.mark.parametrize("pool", [None, object()])
def test_other_pools_have_no_processes(pool: object) -> None:
    """Threads and the solo pool end with the worker."""
    assert children_of(pool) == []
