"""Counts of pool processes on their way to the parent."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from celery import signals
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.concurrency.solo import TaskPool as SoloPool
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.worker.components import Pool

from smartworker.store.meter import Ledger, ledger
from smartworker.worker.presence import Presence
from smartworker.worker.tally import ATOMIC, Tally, decode, encode


class Hub:
    """The one thing of Celery's event loop that a tally needs."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], None]] = {}

    def add_reader(self, source: int, callback: Callable[[], None]) -> None:
        """Remember who reads what."""
        self.readers[source] = callback


@pytest.fixture
def counts() -> Iterator[Ledger]:
    """The ledger of this process, empty, and afterwards as it was."""
    before = ledger.drain()
    yield ledger
    ledger.drain()
    ledger.merge(before)


@pytest.fixture
def tally() -> Iterator[Tally]:
    """A tally whose pipe is closed at the end."""
    made = Tally(None)
    made.create(None)
    yield made
    signals.worker_process_init.disconnect(made._in_child)
    signals.task_postrun.disconnect(made._send)
    signals.worker_process_shutdown.disconnect(made._send)
    os.close(made._reader)
    os.close(made._writer)


def reader(tally: Tally) -> Callable[[], None]:
    """What the event loop calls when a child has written."""
    hub = Hub()
    tally.register_with_event_loop(None, hub)
    ((_, callback),) = hub.readers.items()
    return callback


@pytest.mark.parametrize("pool", [SoloPool, ThreadPool])
def test_only_a_prefork_pool_has_one(pool: type) -> None:
    """The others are one process, and Windows can watch no pipe."""
    worker = SimpleNamespace(steps=[], pool_cls=pool)
    assert not Tally(worker).include(worker)
    assert worker.steps == []


@pytest.mark.parametrize("pool_first", [True, False])
def test_whatever_celerys_order_is_the_pool_stops_first(
    pool_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then what the children have counted comes home, then the last row."""
    pool, presence, tally = (step.__new__(step) for step in (Pool, Presence, Tally))
    parent = SimpleNamespace(steps=[pool] if pool_first else [], pool_cls=PreforkPool)
    with monkeypatch.context() as patch:
        patch.setattr(Tally, "create", lambda *_: None)
        for step in (presence, tally):
            assert step.include(parent)
    if not pool_first:
        parent.steps.append(pool)
    assert parent.steps == [presence, tally, pool]


def test_a_line_survives_the_way() -> None:
    """Counts out, one line of JSON, the same counts in."""
    found = Counter({("result", "set"): 3, ("other", "config|get"): 1})
    line = encode(found)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == found


def test_too_much_for_one_write_is_refused() -> None:
    """A line that could be torn apart is never written."""
    with pytest.raises(OSError, match="too many for one write"):
        encode(Counter({("cause", "c" * 100 + str(n)): 1 for n in range(100)}))
    assert len(encode(Counter({("result", "set"): 10**9}))) < ATOMIC


def test_counts_come_home(tally: Tally, counts: Ledger) -> None:
    """What a child sends is added to the parent's ledger, once."""
    read = reader(tally)
    counts.merge({("result", "set"): 2})
    tally._send()
    assert counts.by_cause() == {}
    counts.merge({("result", "set"): 1, ("poll", "exists"): 4})
    read()
    assert counts.by_cause() == {"poll": {"exists": 4}, "result": {"set": 3}}
    read()
    assert counts.by_command() == {"exists": 4, "set": 3}


def test_nothing_counted_nothing_written(tally: Tally, counts: Ledger) -> None:
    """A task without commands writes no line."""
    tally._send()
    with pytest.raises(BlockingIOError):
        os.read(tally._reader, 1)


def test_several_lines_and_a_torn_one(tally: Tally, counts: Ledger) -> None:
    """Half a line waits for its other half."""
    line = encode(Counter({("result", "set"): 1}))
    os.write(tally._writer, line + line + line[:5])
    tally._read()
    assert counts.by_command() == {"set": 2}
    os.write(tally._writer, line[5:])
    tally._read()
    assert counts.by_command() == {"set": 3}


def test_a_full_pipe_loses_nothing(tally: Tally, counts: Ledger) -> None:
    """Counts that could not be written go with the next line."""
    blocked = 0
    with suppress(BlockingIOError):
        while True:
            blocked += os.write(tally._writer, b"\n" * ATOMIC)
    assert blocked >= ATOMIC
    counts.merge({("result", "set"): 2})
    tally._send()
    assert counts.by_command() == {"set": 2}
    while blocked > 0:
        blocked -= len(os.read(tally._reader, 1 << 20))
    tally._send()
    assert counts.by_command() == {}
    tally._read()
    assert counts.by_command() == {"set": 2}


def test_the_last_lines_are_read_at_the_stop(tally: Tally, counts: Ledger) -> None:
    """Children write when they end; stop and terminate still read it."""
    for end in (tally.stop, tally.terminate):
        counts.merge({("result", "set"): 1})
        tally._send()
        end(None)
    assert counts.by_command() == {"set": 2}


def test_in_the_parent_nothing_is_connected(tally: Tally) -> None:
    """The solo and threads pools send the same signal in the parent: no line."""
    tally._in_child()
    receivers = [receiver for _, receiver in signals.task_postrun.receivers]
    assert tally._send not in receivers


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_real_child_reports_after_each_task(tally: Tally, counts: Ledger) -> None:
    """Fork, init, a task, a shutdown: two lines, everything counted once."""
    counts.merge({("poll", "exists"): 5})
    child = os.fork()
    if child == 0:
        signals.worker_process_init.send(sender=None)
        ledger.merge({("result", "set"): 1})
        signals.task_postrun.send(sender=None)
        ledger.merge({("publish", "lpush"): 2})
        signals.worker_process_shutdown.send(sender=None)
        os.kill(os.getpid(), signal.SIGKILL)
    _: Any = os.waitpid(child, 0)
    tally._read()
    assert counts.by_cause() == {
        "poll": {"exists": 5},
        "publish": {"lpush": 2},
        "result": {"set": 1},
    }
