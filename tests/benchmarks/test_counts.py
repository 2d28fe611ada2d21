"""What is promised in commands, counted by a real server: exact, so CI holds it."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.lab.peers import PEERS, Peer
from benchmarks.measures import idle, tasks

#: A burst and a group are of 500.
SIZE = tasks.Size(single=50, idle=2.0)
#: The month's row: one each 90 commands.
ROW = "hset"
#: Polls of a window each 5 s, instead of 30, and as many of them as in a minute.
POLL, LOOK = 5, idle.Look(settle=4.0, idle=10.0)

Facts = dict[str, Any]


def here(name: str, **settings: str) -> Peer:
    """A peer in the environment of these tests."""
    peer = PEERS[name]
    found = {**peer.settings, **settings}
    return replace(peer, settings=found, environment_python=Path(sys.executable))


@pytest.fixture(scope="module")
def counted() -> Iterator[Callable[[str], Facts]]:
    """All benches, which run at the same time; asked for by name."""
    window = here("smartworker", SMARTWORKER_WINDOWS=f"00:00-24:00={POLL}s")
    benches = {
        "results": partial(tasks.cost, here("smartworker"), SIZE),
        "no results": partial(tasks.cost, here("smartworker"), SIZE, results=False),
        "ten workers": partial(tasks.cost, here("smartworker"), SIZE, workers=10),
        "celery": partial(tasks.cost, here("celery"), SIZE),
        "window": partial(idle.count, window, (idle.SINGLE,), LOOK),
    }
    with ThreadPoolExecutor(len(benches)) as pool:
        pending = {name: pool.submit(run) for name, run in benches.items()}
        yield lambda name: pending[name].result()


def each(count: Facts) -> dict[str, float]:
    """Commands of a task by name, without the month's row."""
    raw = {name: n for name, n in count["raw"].items() if name != ROW}
    return {name: round(n / count["tasks"], 2) for name, n in raw.items()}


def test_a_task_with_a_result_costs_four_commands(counted):
    """Published, taken, done, stored: and the month's row now and then."""
    four = {"lpush": 1.0, "lmove": 1.0, "lrem": 1.0, "set": 1.0}
    facts = counted("results")
    assert each(facts["burst"]) == four
    assert each(facts["single"]) == four
    assert facts["burst"]["per_task"] <= 4.05
    assert facts["burst"]["producer"] == 1.0


def test_a_task_without_a_result_costs_three(counted):
    """Nothing is stored."""
    facts = counted("no results")
    assert each(facts["burst"]) == {"lpush": 1.0, "lmove": 1.0, "lrem": 1.0}


def test_idle_workers_do_not_make_tasks_dearer(counted):
    """Ten workers on one queue, and a burst of 500."""
    assert counted("ten workers")["burst"]["per_task"] <= 4.2


def test_a_group_is_published_in_one_command(counted):
    """500 tasks in one call: everything included they cost three commands each."""
    facts = counted("results")["group"]
    assert facts["raw"]["lpush"] == 1
    assert facts["per_task"] <= 3.1


def test_a_worker_starts_with_few_commands(counted):
    """All that it sends until it waits for work."""
    boot = counted("window")["cases"][str(idle.SINGLE)]["boot"]
    assert 0 < boot["total"] <= 15


def test_an_idle_worker_sends_its_polls_and_nothing_else(counted):
    """In a window, one command for each poll."""
    window = counted("window")["cases"][str(idle.SINGLE)]["idle"]
    polls = LOOK.idle / POLL
    assert window["commands"].keys() == {"exists"}
    assert polls - 1 <= window["total"] <= polls + 1


def test_stock_celery_costs_seventeen(counted):
    """The figure beside ours, counted in the same way."""
    facts = counted("celery")["burst"]
    assert facts["per_task"] == pytest.approx(17, abs=0.2)
    assert Counter(each(facts))["exec"] == 3.0
