"""What the plan says of a row, and what a clerk sends, on a real server."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from smartworker.row_cost import EDGE_COMMANDS, between_edges
from smartworker.store.client import connect
from smartworker.store.meter import because, ledger
from smartworker.testing import ManualClock, commandstats
from smartworker.worker.clerk import Clerk

HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)


def sent(url: str, length: timedelta, commands: int) -> dict[str, int]:
    """What a worker's clerk sends from an edge on, that edge included.

    So many other commands come at even distances.
    """
    client, clock = connect(url), ManualClock()
    link = SimpleNamespace(client=client, prefix="", close=lambda: None)
    clerk = Clerk(None, "worker", "celery@plan", clock=clock, open_=lambda _: link)
    # Its thread is this one: it looks each minute, and when it is woken.
    woken: list[bool] = []
    clerk.wake = lambda: woken.append(True)  # type: ignore[method-assign]
    clerk.attend()
    clerk.edge()
    clerk.turn()
    minutes, done = length // MINUTE, 0
    for minute in range(1, minutes + 1):
        clock.advance(60)
        while done < commands * minute // minutes:
            done += 1
            woken.clear()
            with because("poll"):
                ledger.book(["exists"])
            if woken:
                clerk.turn()
        if minute < minutes:
            clerk.turn()
    ledger.unwatch(clerk.wake)
    counts = commandstats(client)
    client.close()
    return {name: counts[name] for name in ("hgetall", "hset")}


@pytest.mark.parametrize(
    ("length", "commands", "reads", "writes"),
    [
        (20 * HOUR, 40, 0, 0),  # the quiet hours of the default day
        (3 * HOUR, 360, 0, 4),  # its window
        (DAY, 48, 0, 0),
        (2 * DAY, 96, 1, 1),  # nothing was written for a day
        (10 * DAY, 480, 9, 9),
        (10 * DAY, 0, 9, 9),
        (DAY, 1440, 1, 16),  # each 89 minutes, and the ninth time it is read
        (10 * DAY, 28_800, 19, 323),  # each 44.5 minutes, and the 17th
    ],
)
def test_a_row_costs_what_the_plan_says(
    redis_url: str, length: timedelta, commands: int, reads: int, writes: int
) -> None:
    """Each 90 commands, one of them being the write; read again after half a day."""
    assert between_edges(length, commands) == reads + writes
    found = sent(redis_url, length, commands)
    edge = {name.lower(): 1 for name in EDGE_COMMANDS}
    assert found == {
        "hgetall": edge["hgetall"] + reads,
        "hset": edge["hset"] + writes,
    }
