"""The ledger: commands by cause and name."""

import json
import os
import threading
from collections.abc import Iterator

import pytest

from smartworker.store.meter import (
    Ledger,
    because,
    command_name,
    is_billed,
)
from smartworker.store.meter import (
    ledger as process_ledger,
)


@pytest.fixture
def ledger() -> Ledger:
    """An empty one of our own."""
    return Ledger()


@pytest.fixture
def shared() -> Iterator[Ledger]:
    """The one of this process, as it was afterwards."""
    before = process_ledger.drain()
    yield process_ledger
    process_ledger.drain()
    process_ledger.merge(before)


def test_commands_without_a_cause_are_other(ledger: Ledger) -> None:
    """Nobody said why: they are counted all the same."""
    ledger.book(["get", "get", "set"])
    assert ledger.by_cause() == {"other": {"get": 2, "set": 1}}
    assert ledger.by_command() == {"get": 2, "set": 1}


def test_commands_are_booked_on_the_running_cause(ledger: Ledger) -> None:
    """Inside the block on the cause, after it on what was before."""
    with because("poll"):
        ledger.book(["exists"])
    ledger.book(["exists"])
    assert ledger.by_cause() == {"other": {"exists": 1}, "poll": {"exists": 1}}


def test_exceptions_book_single_commands_elsewhere(ledger: Ledger) -> None:
    """One round trip, two causes: takes and acknowledgements."""
    with because("take", lrem="done"):
        ledger.book(["lrem", "lmove", "lmove"])
    assert ledger.by_cause() == {"done": {"lrem": 1}, "take": {"lmove": 2}}


def test_nested_causes_the_inner_wins_and_exceptions_end(ledger: Ledger) -> None:
    """An inner block neither inherits exceptions nor loses the outer ones."""
    with because("take", lrem="done"):
        with because("boot"):
            ledger.book(["lrem"])
        ledger.book(["lrem"])
    assert ledger.by_cause() == {"boot": {"lrem": 1}, "done": {"lrem": 1}}


def test_an_error_inside_ends_the_cause(ledger: Ledger) -> None:
    """What comes after a failed block is not booked on it."""
    with pytest.raises(OSError, match="gone"), because("poll"):
        raise OSError("gone")
    ledger.book(["get"])
    assert ledger.by_cause() == {"other": {"get": 1}}


def test_a_cause_holds_for_its_own_thread(ledger: Ledger) -> None:
    """A second thread is not blamed for what the first one does."""
    with because("poll"):
        thread = threading.Thread(target=ledger.book, args=(["get"],))
        thread.start()
        thread.join()
    assert ledger.by_cause() == {"other": {"get": 1}}


def test_many_threads_lose_no_count(ledger: Ledger) -> None:
    """8 threads of 2,000 commands are 16,000 commands."""

    def work() -> None:
        for _ in range(1000):
            ledger.book(["get", "set"])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.by_command() == {"get": 8000, "set": 8000}


def test_drain_takes_everything_out(ledger: Ledger) -> None:
    """What was drained is gone here and can be merged elsewhere."""
    with because("result"):
        ledger.book(["set", "set"])
    counts = ledger.drain()
    assert counts == {("result", "set"): 2}
    assert ledger.by_cause() == {}
    assert ledger.drain() == {}


def test_merge_adds_to_what_is_there(ledger: Ledger) -> None:
    """The sum of both, key by key."""
    ledger.book(["set"])
    ledger.merge({("other", "set"): 2, ("result", "set"): 3})
    assert ledger.by_cause() == {"other": {"set": 3}, "result": {"set": 3}}
    assert ledger.by_command() == {"set": 6}


def test_billed_leaves_out_what_costs_nothing(ledger: Ledger) -> None:
    """PING, CONFIG, INFO and AUTH are free, CLIENT and PUBLISH are not."""
    ledger.book(["ping", "config|get", "info", "auth", "hello", "select"])
    assert ledger.billed() == 0
    ledger.book(["client|setinfo", "publish", "lmove", "lmove"])
    assert ledger.billed() == 4
    assert not is_billed("command|docs")
    assert is_billed("subscribe")


def test_by_cause_is_sorted_and_plain(ledger: Ledger) -> None:
    """It goes into JSON as it is, in a stable order."""
    with because("take"):
        ledger.book(["rpop", "lmove"])
    with because("poll"):
        ledger.book(["exists"])
    assert json.dumps(ledger.by_cause()) == (
        '{"poll": {"exists": 1}, "take": {"lmove": 1, "rpop": 1}}'
    )


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("GET", "key"), "get"),
        ((b"LPUSH", b"\xff\x00"), "lpush"),
        (("CONFIG GET", "notify-keyspace-events"), "config|get"),
        (("CONFIG", "SET", "maxmemory", 1), "config|set"),
        (("CLIENT", "SETINFO", "LIB-NAME", "x"), "client|setinfo"),
        ((b"client", b"maint_notifications", b"on"), "client|maint_notifications"),
        (("PUBSUB", "CHANNELS"), "pubsub|channels"),
        (("SCRIPT LOAD", "return 1"), "script|load"),
        (("ACL", "WHOAMI"), "acl|whoami"),
        (("MEMORY USAGE", "key"), "memory|usage"),
        (("OBJECT", "ENCODING", "key"), "object|encoding"),
        (("FUNCTION", "LIST"), "function|list"),
        (("CONFIG",), "config"),
        (("INFO", "commandstats"), "info"),
        (("SET", "config", "get"), "set"),
        (("EVALSHA", "f" * 40, 0), "evalsha"),
    ],
)
def test_command_names_are_those_of_the_server(
    arguments: tuple[object, ...], name: str
) -> None:
    """As `INFO commandstats` writes them, containers with their subcommand."""
    assert command_name(arguments) == name


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_from_nothing(shared: Ledger) -> None:
    """The parent's counts are not counted twice, even if its lock was held."""
    shared.book(["get"])
    reader, writer = os.pipe()
    with shared._lock:
        child = os.fork()
        if child == 0:
            shared.book(["set"])
            os.write(writer, json.dumps(shared.by_command()).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert json.load(pipe) == {"set": 1}
    assert os.waitpid(child, 0)[1] == 0
    assert shared.by_command() == {"get": 1}


def test_an_alarm_rings_while_too_much_is_not_settled(ledger: Ledger) -> None:
    """Billed commands alone count, wherever they come from; settled ones do not."""
    rung: list[int] = []
    ledger.book(["exists"] * 5)
    ledger.watch(3, lambda: rung.append(ledger.fresh))
    ledger.book(["exists", "ping", "exists"])
    assert rung == []
    ledger.merge({("take", "lmove"): 2, ("control", "ping"): 9})
    assert rung == [4]
    ledger.settle(4)
    ledger.book(["exists"])
    assert rung == [4]
    assert ledger.fresh == 1


def test_only_the_own_alarm_is_taken_away(ledger: Ledger) -> None:
    """Whoever came later keeps his."""
    rung: list[str] = []

    def first() -> None:
        rung.append("first")

    def second() -> None:
        rung.append("second")

    ledger.watch(1, first)
    ledger.watch(1, second)
    ledger.unwatch(first)
    ledger.book(["exists"])
    ledger.unwatch(second)
    ledger.book(["exists"])
    assert rung == ["second"]
