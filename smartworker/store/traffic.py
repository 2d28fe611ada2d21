"""Who else is on the server, and what they send."""

import threading
from collections import Counter
from typing import Any

from smartworker.clock import Clock
from smartworker.doctor import TrafficFacts
from smartworker.store.client import ResponseError
from smartworker.store.meter import because, is_billed, ledger

#: kombu's set of queues bound to the exchange of Celery's events; a member is a routing
#: key, a pattern and a queue. Monitors hear everything, workers hear each other.
EVENTS_BINDING = "_kombu.binding.celeryev"
SEPARATOR = b"\x06\x16"
CAUSE = "doctor"


def watch(
    client: Any, clock: Clock, seconds: float, prefix: str = "", quiet: int = 0
) -> TrafficFacts:
    """What others send within so many seconds, and who of them is stock Celery.

    `quiet`: living workers of ours without a doorbell. 2 commands, and with `seconds`
    above zero 3 more, of which 1 is billed. What is refused stays unknown.
    """
    # Flower waits by BRPOP too, but only for the second that an answer takes.
    before = _popping(_clients(client)) if seconds else None
    calls = sample(client, clock, seconds) if seconds else None
    clients = _clients(client)
    loud, gossips = _hearers(client, prefix)
    popping = _popping(clients)
    workers = len(popping if before is None else popping & before)
    if calls and clients and not workers:
        calls.pop("brpop", None)
    # A stock worker holds one for remote control, and one more to hear its peers; one
    # of ours without a doorbell holds the first alone.
    explained = workers + min(gossips, workers) + quiet
    patterns = sum(_count(each, "psub") > 0 == _count(each, "sub") for each in clients)
    return TrafficFacts(
        seconds=seconds if calls else 0.0,
        calls=dict(calls or {}),
        stock_workers=workers,
        stock_producers=sum(map(_is_stock_producer, clients)),
        monitors=max(min(loud, patterns - explained), 0),
    )


def sample(client: Any, clock: Clock, seconds: float) -> Counter[str] | None:
    """The billed commands that others send meanwhile; None where INFO tells nothing.

    2 commands, not billed.
    """
    before, ours_before = _calls(client), ledger.by_command()
    clock.wait(threading.Event(), seconds)
    after, ours = _calls(client), ledger.by_command()
    if not before or not after:
        return None
    found: Counter[str] = Counter()
    for name, count in after.items():
        mine = ours.get(name, 0) - ours_before.get(name, 0)
        more = count - before.get(name, 0) - mine
        if more > 0 and is_billed(name):
            found[name] = more
    return found


def _calls(client: Any) -> dict[str, int]:
    with because(CAUSE):
        try:
            rows = client.info("commandstats")
        except ResponseError:
            return {}
    return {
        name.removeprefix("cmdstat_"): row["calls"]
        for name, row in rows.items()
        if isinstance(row, dict) and "calls" in row
    }


def _clients(client: Any) -> list[dict[str, str]]:
    with because(CAUSE):
        try:
            return list(client.client_list())
        except ResponseError:
            return []


def _hearers(client: Any, prefix: str) -> tuple[int, int]:
    """How many queues hear all events, and how many those of workers alone."""
    with because(CAUSE):
        try:
            members = client.smembers(prefix + EVENTS_BINDING)
        except ResponseError:
            return 0, 0
    keys = Counter(bytes(member).partition(SEPARATOR)[0] for member in members)
    return keys[b"#"], keys[b"worker.#"]


def _popping(clients: list[dict[str, str]]) -> set[str]:
    """The ids of connections that wait by BRPOP at this moment."""
    return {
        each["id"]
        for each in clients
        if each.get("cmd") == "brpop" and "b" in each.get("flags", "")
    }


def _is_stock_producer(each: dict[str, str]) -> bool:
    """One that subscribes to the result of each task it has sent, and leaves again.

    Our own processes never send UNSUBSCRIBE on a connection that hears nothing else.
    """
    hears = _count(each, "sub") or _count(each, "psub")
    return each.get("cmd") == "unsubscribe" and not hears


def _count(each: dict[str, str], name: str) -> int:
    text = each.get(name, "0")
    return int(text) if text.isdecimal() else 0
