"""The keeper: a thread while something is to be kept alive, and none otherwise."""

import threading
from collections.abc import Iterator
from queue import Queue

import pytest

from smartworker.broker.keeper import Keeper
from smartworker.clock import SystemClock
from smartworker.testing import ManualClock

#: Seconds after which a test gives up; nothing here takes that long.
PATIENCE = 5.0


class Beats:
    """Answers from a list, and says who asked; the last answer is repeated."""

    def __init__(self, *pauses: float | None) -> None:
        self._pauses = list(pauses)
        self._asked: Queue[threading.Thread] = Queue()
        self.count = 0

    def __call__(self) -> float | None:
        """One beat."""
        self.count += 1
        pause = self._pauses.pop(0) if len(self._pauses) > 1 else self._pauses[0]
        self._asked.put(threading.current_thread())
        return pause

    def next(self) -> threading.Thread:
        """Wait for a beat; the thread that it came from."""
        return self._asked.get(timeout=PATIENCE)


class RestingClock(SystemClock):
    """Tells that somebody waits."""

    def __init__(self) -> None:
        self.rests = threading.Event()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Tell, and sleep."""
        self.rests.set()
        return super().wait(event, seconds)


def ended(thread: threading.Thread) -> bool:
    """Wait for the end of a thread."""
    thread.join(PATIENCE)
    return not thread.is_alive()


@pytest.fixture
def keepers() -> Iterator[list[Keeper]]:
    """Keepers to be closed at the end, however a test ends."""
    made: list[Keeper] = []
    yield made
    for keeper in made:
        keeper.close()


def test_nothing_happens_before_it_is_woken() -> None:
    """No thread for a worker that never takes a message."""
    before = threading.active_count()
    beats = Beats(None)
    Keeper(beats, ManualClock()).close()
    assert (beats.count, threading.active_count()) == (0, before)


def test_it_beats_after_each_pause_and_ends_by_itself() -> None:
    """As long as there is something to keep; and looks once more before it goes."""
    clock, beats = ManualClock(), Beats(50.0, 50.0, None)
    before = clock.monotonic()
    keeper = Keeper(beats, clock)
    keeper.wake()
    thread = beats.next()
    assert (thread.name, thread.daemon) == ("smartworker-lease", True)
    assert ended(thread)
    assert (beats.count, clock.monotonic()) == (4, before + 100.0)


def test_what_comes_while_it_goes_is_seen() -> None:
    """Nothing held, and a moment later something: the thread stays."""
    clock, beats = ManualClock(), Beats(None, 50.0, None)
    before = clock.monotonic()
    Keeper(beats, clock).wake()
    assert ended(beats.next())
    assert (beats.count, clock.monotonic()) == (4, before + 50.0)


def test_it_can_be_woken_again() -> None:
    """Another busy stretch, another thread."""
    beats = Beats(None)
    keeper = Keeper(beats, ManualClock())
    threads = []
    for _ in range(3):
        keeper.wake()
        threads += [beats.next(), beats.next()]
        assert ended(threads[-1])
    assert threads[0::2] == threads[1::2]
    assert len({*threads}) == 3


def test_woken_twice_it_is_one_thread(keepers: list[Keeper]) -> None:
    """Every round of the loop wakes it."""
    beats = Beats(3600.0)
    keeper = Keeper(beats, SystemClock())
    keepers.append(keeper)
    keeper.wake()
    thread = beats.next()
    for _ in range(100):
        keeper.wake()
    assert beats.count == 1
    assert [t for t in threading.enumerate() if t.name == thread.name] == [thread]


def test_closing_ends_a_long_pause() -> None:
    """A worker that stops waits for no lease."""
    beats, clock = Beats(3600.0), RestingClock()
    keeper = Keeper(beats, clock)
    keeper.wake()
    thread = beats.next()
    assert clock.rests.wait(PATIENCE)
    keeper.close()
    assert ended(thread)
    assert beats.count == 1


def test_closing_during_a_beat_ends_it_afterwards() -> None:
    """The beat is finished, and no other one follows."""
    begun, go_on = threading.Event(), threading.Event()
    threads = []

    def beat() -> float:
        threads.append(threading.current_thread())
        begun.set()
        assert go_on.wait(PATIENCE)
        return 3600.0

    keeper = Keeper(beat, SystemClock())
    keeper.wake()
    assert begun.wait(PATIENCE)
    keeper.close()
    go_on.set()
    assert ended(threads[0])
    assert len(threads) == 1


def test_once_closed_it_stays_closed() -> None:
    """Nothing wakes it any more; closing again does nothing."""
    beats = Beats(3600.0)
    keeper = Keeper(beats, SystemClock())
    keeper.close()
    keeper.close()
    keeper.wake()
    assert beats.count == 0


def test_no_wake_is_lost_while_a_thread_ends() -> None:
    """At whatever moment it is woken, a beat comes after it."""
    held, seen = threading.Event(), threading.Event()

    def beat() -> None:
        if held.is_set():
            held.clear()
            seen.set()

    keeper = Keeper(beat, ManualClock())
    for _ in range(1000):
        held.set()
        keeper.wake()
        assert seen.wait(PATIENCE)
        seen.clear()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_beat_that_fails_is_not_the_last_one() -> None:
    """An error that nobody foresaw: the next wake begins anew."""
    beats, broken = Beats(None), threading.Event()

    def beat() -> float | None:
        answer = beats()
        if not broken.is_set():
            broken.set()
            raise RuntimeError("dictionary changed size during iteration")
        return answer

    keeper = Keeper(beat, ManualClock())
    keeper.wake()
    assert ended(beats.next())
    keeper.wake()
    assert ended(beats.next())
    assert beats.count == 3
