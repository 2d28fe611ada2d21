"""Who begins and who waits where runs of a job must not overlap; nothing is sent."""

from collections.abc import Callable
from typing import Any

import pytest

from smartworker.testing import ManualClock, ManualHub
from smartworker.worker.turns import FIRST_PAUSE, LONGEST_PAUSE, Turn, Turns


def turn(owner: str, job: str = "book", *, perhaps: bool = False) -> Turn:
    """A run whose lease lasts ten minutes."""
    return Turn(job, owner, 600, perhaps)


class Rig:
    """A worker's turns, a server's leases, and a loop."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hub = ManualHub(self.clock, patience=0.0)
        self.leases: dict[str, str] = {}
        self.asked: list[str] = []
        self.begun: list[str] = []
        self.over: set[str] = set()
        self.turns = Turns(self.clock, self._ask, self._later, lambda t: t.cancel())
        self.turns.on_turn = self.begun.append
        self.turns.is_over = lambda what: what in self.over

    def _ask(self, turn: Turn) -> str:
        self.asked.append(turn.owner)
        return self.leases.setdefault(turn.job, turn.owner)

    def _later(self, seconds: float, ring: Callable[[str], None], job: str) -> Any:
        return self.hub.call_later(seconds, lambda: ring(job))

    def come(self, turn: Turn, *, sure: bool = False) -> bool:
        """A message comes; whether it begins at once."""
        if self.turns.may_begin(turn, sure=sure):
            self.begun.append(turn.owner)
            return True
        self.turns.wait(turn, turn.owner)
        return False

    def end(self, owner: str, job: str = "book") -> None:
        """A run has ended, and freed its job."""
        if self.leases.get(job) == owner:
            del self.leases[job]
        self.leave(owner, job)

    def leave(self, owner: str, job: str = "book") -> None:
        """A run is not here any more."""
        self.turns.left(job, owner)
        self.turns.proceed(job)


@pytest.fixture
def rig() -> Rig:
    """Nobody runs."""
    return Rig()


def test_the_first_one_begins(rig: Rig) -> None:
    """It asks once."""
    assert rig.come(turn("a"))
    assert rig.asked == ["a"]


def test_who_is_sure_does_not_ask(rig: Rig) -> None:
    """Its trigger took the lease."""
    assert rig.come(turn("a", perhaps=True), sure=True)
    assert rig.asked == []


def test_behind_a_run_of_this_worker_nobody_asks(rig: Rig) -> None:
    """It tells when it ends; then the first in line begins, and the next waits."""
    rig.come(turn("a"))
    assert not rig.come(turn("b"))
    assert not rig.come(turn("c"))
    rig.hub.run(500)
    assert rig.asked == ["a"]
    rig.end("a")
    assert rig.begun == ["a", "b"]
    assert rig.asked == ["a", "b"]
    rig.end("b")
    rig.end("c")
    assert rig.begun == ["a", "b", "c"]
    assert rig.come(turn("d"))


def test_behind_a_run_elsewhere_one_asks_after_growing_pauses(rig: Rig) -> None:
    """However many wait."""
    rig.leases["book"] = "elsewhere"
    for owner in "abc":
        assert not rig.come(turn(owner))
    assert rig.asked == ["a"]
    rig.hub.run(0.8 * FIRST_PAUSE - 0.1)
    assert rig.asked == ["a"]
    rig.hub.run(3600)
    assert set(rig.asked) == {"a"}
    assert 3600 / LONGEST_PAUSE <= len(rig.asked) <= 3600 / LONGEST_PAUSE / 0.8 + 8
    del rig.leases["book"]
    rig.hub.run(LONGEST_PAUSE)
    assert rig.begun == ["a"]


def test_jobs_do_not_wait_for_each_other(rig: Rig) -> None:
    """Each has a line of its own."""
    assert rig.come(turn("a"))
    assert rig.come(turn("b", "mail"))
    assert not rig.come(turn("c"))
    rig.end("b", "mail")
    assert rig.begun == ["a", "b"]


def test_who_may_have_the_lease_does_not_wait_for_those_who_want_it(rig: Rig) -> None:
    """A retry comes again while others wait for its job: it goes on, they wait."""
    rig.come(turn("a"))
    rig.come(turn("b"))
    # It asked to run again: it is not here any more, and keeps its lease.
    rig.leave("a")
    assert rig.asked[-1] == "b"
    assert rig.come(turn("a", perhaps=True))
    assert rig.begun == ["a", "a"]
    rig.hub.run(300)
    assert rig.begun == ["a", "a"]
    rig.end("a")
    assert rig.begun == ["a", "a", "b"]


def test_who_has_the_lease_comes_first_wherever_it_stands(rig: Rig) -> None:
    """A worker that had no room for it gave it back, and nothing in it tells."""
    rig.leases["book"] = "c"
    for owner in "abcd":
        assert not rig.come(turn(owner))
    rig.hub.run(1.2 * FIRST_PAUSE)
    assert rig.begun == ["c"]
    assert rig.asked == ["a", "a", "c"]
    rig.end("c")
    assert rig.begun == ["c", "a"]


def test_a_second_message_of_a_run_waits_for_the_first(rig: Rig) -> None:
    """It was delivered twice: the two copies do not overlap either."""
    rig.come(turn("a"))
    rig.come(turn("b"))
    assert not rig.come(turn("a", perhaps=True))
    # Given back: the lease stays, and its other copy goes on with it.
    rig.leave("a")
    assert rig.begun == ["a", "a"]


def test_who_is_over_makes_room(rig: Rig) -> None:
    """Revoked while it waited: the next one begins, and nobody asks for it."""
    rig.come(turn("a"))
    for owner in "bcd":
        rig.come(turn(owner))
    rig.over |= {"b", "c"}
    rig.end("a")
    assert rig.begun == ["a", "d"]
    assert rig.asked == ["a", "d"]


def test_when_all_are_over_nobody_is_left(rig: Rig) -> None:
    """The line is closed; the next message asks for itself."""
    rig.come(turn("a"))
    rig.come(turn("b"))
    rig.over.add("b")
    rig.end("a")
    rig.hub.run(600)
    assert rig.asked == ["a"]
    assert rig.come(turn("c"))


def test_leases_are_renewed_at_half_time(rig: Rig) -> None:
    """As long as the run is here."""
    rig.come(turn("a"))
    rig.clock.advance(299)
    assert rig.turns.aging() == []
    rig.clock.advance(2)
    assert rig.turns.aging() == [turn("a")]
    assert rig.turns.renewed(turn("a"))
    assert not rig.turns.renewed(turn("b"))
    assert not rig.turns.renewed(turn("a", "mail"))
    assert rig.turns.aging() == []
    rig.clock.advance(301)
    rig.end("a")
    assert rig.turns.aging() == []


def test_a_run_whose_lease_has_ended_keeps_nobody_away(rig: Rig) -> None:
    """It could not be renewed: from then on the server is asked."""
    rig.come(turn("a"))
    rig.clock.advance(601)
    del rig.leases["book"]
    assert rig.come(turn("b"))
    # The first one's end does not end the second one's turn.
    rig.leave("a")
    assert not rig.come(turn("c"))
    assert rig.asked == ["a", "b"]


def test_a_new_connection_begins_with_empty_lines(rig: Rig) -> None:
    """What waited went back, and only what runs still has its turn."""
    rig.come(turn("a"))
    rig.come(turn("b"))
    rig.come(turn("m", "mail"))
    rig.turns.clear({"a"})
    rig.end("a")
    rig.hub.run(600)
    assert rig.begun == ["a", "m"]
    assert rig.asked == ["a", "m"]
    assert not rig.come(turn("n", "mail"))
    assert rig.asked[-1] == "n"
