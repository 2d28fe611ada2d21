"""`smartworker doctor --probe` on real servers: its cost, its answers, no key left."""

import ast
import json
import os
import pty
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import smartworker
from smartworker.clock import system_clock
from smartworker.store.bill import steps
from smartworker.store.client import connect
from smartworker.store.meter import is_billed, ledger
from smartworker.store.probe import (
    BELL_COST,
    HEARING,
    SCRATCH_SECONDS,
    SILENCE_COST,
    TRIALS,
    refused,
    scratch,
    silence,
    trials_cost,
)
from smartworker.testing import commandstats
from tests.commands import ENTRY, clerk, environment, run_command
from tests.faults.proxy import FaultProxy
from tests.processes import wait_until

HOME = Path(smartworker.__file__).parent
COST = re.compile(r"This costs ([\d,]+) commands that are billed")
PROBE = ("doctor", "--probe", "--yes")
AT_ONCE = (*PROBE, "--silence", "0")


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """The operator's client."""
    with redis.Redis.from_url(redis_url, driver_info=None, protocol=2) as made:
        made.ping()
        yield made
        made.acl_deluser("clerk")
        made.config_set("timeout", "0")
        made.config_set("notify-keyspace-events", "")


def billed(client: Any) -> int:
    """What the server has counted, if it is billed."""
    return sum(n for name, n in commandstats(client).items() if is_billed(name))


@pytest.mark.every_server
@pytest.mark.usefixtures("exact_counts")
@pytest.mark.parametrize(
    "words",
    [("--silence", "1s"), ("--silence", "0"), ("--silence", "1s", "--bill", "7")],
)
def test_the_cost_is_the_one_that_was_named(
    redis_url: str, client: Any, words: tuple[str, ...]
) -> None:
    """To the command, as the server counts; nothing is left behind."""
    before = billed(client)
    done = run_command(redis_url, *PROBE, *words, "--json")
    assert done.returncode == 0, done.stderr
    (named,) = COST.findall(done.stderr)
    found = json.loads(done.stdout)
    # Debian's Redis 7.0 does not know one of them.
    unknown = sum(7 for step in found["bill"] if step["error"])
    assert billed(client) - before == int(named.replace(",", "")) - unknown
    assert found["commands"] == int(named.replace(",", ""))
    assert found["refused"] == {}
    assert client.keys("smartworker:probe:*") == []


@pytest.mark.usefixtures("exact_counts")
def test_the_ledger_knows_all_of_it(redis_url: str, client: Any) -> None:
    """Scripts included, it says what the server says."""
    with connect(redis_url) as ours:
        ledger.drain()
        before = commandstats(client)
        assert refused(ours, scratch()) == {}
        after = commandstats(client)
    seen = {
        name: count - before.get(name, 0)
        for name, count in after.items()
        if count != before.get(name, 0)
    }
    # The test's own question.
    seen["info"] -= 1
    assert {name: n for name, n in seen.items() if n} == {
        name: n for name, n in ledger.by_command().items() if name != "hello"
    }


def test_without_a_terminal_somebody_must_say_yes(redis_url: str, client: Any) -> None:
    """One sentence, exit status 2, and not one command."""
    before = billed(client)
    done = run_command(redis_url, "doctor", "--probe")
    assert done.returncode == 2
    cost = trials_cost() + BELL_COST + SILENCE_COST
    assert f"This costs {cost} commands that are billed, and takes 10m" in done.stderr
    assert "There is no terminal to ask in: say --yes." in done.stderr
    assert billed(client) == before


def used_commands() -> set[str]:
    """The commands in our code: methods of redis-py's clients, and those in scripts."""
    names = {
        node.func.attr
        for folder in ("store", "broker", "worker", "web")
        for path in (HOME / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and RECEIVER.search(ast.unparse(node.func.value))
    }
    scripts = "".join(p.read_text(encoding="utf-8") for p in HOME.rglob("*.lua"))
    names |= set(re.findall(r'call\("([a-z]+)"', scripts))
    return {name for name in names if hasattr(redis.Redis, name)} - NO_COMMANDS


#: How a client or a pipeline is called in our code.
RECEIVER = re.compile(r"(client|pipe|pipeline|many|batch|transaction)$")
#: Methods that are no commands.
NO_COMMANDS = {"close", "pipeline", "pubsub", "transaction", "reset"}
WRITTEN = {
    "delete": "del",
    "config_get": "config|get",
    "client_list": "client|list",
    "scan_iter": "scan",
}


def test_every_command_of_the_code_is_tried() -> None:
    """What smartworker learns to send, the probe learns to try."""
    used = {WRITTEN.get(name, name) for name in used_commands()}
    assert {"lmove", "lrem", "eval", "xadd", "del", "hmget", "scan"} <= used
    tried = {trial.name for trial in (*TRIALS, *HEARING)} | {"del"}
    # CONFIG SET is tried with keyspace events, and only where a worker would too.
    assert used - tried == {"config_set"}


@pytest.mark.every_server
def test_what_is_refused_is_named(redis_url: str, client: Any) -> None:
    """By an ACL: commands, a script's inside, subscriptions; the rest is tried on."""
    url = clerk(client, redis_url, "+@all", "-lmove", "-get", "-multi", "-subscribe")
    done = run_command(url, *AT_ONCE, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["refused"]) == {"eval", "lmove", "get", "multi", "subscribe"}
    assert "lmove" in found["refused"]["lmove"].lower()
    assert found["keyspace_events"]["rang"] is False
    assert found["keyspace_events"]["error"]
    assert "very-secret-word" not in done.stdout + done.stderr
    assert client.keys("smartworker:probe:*") == []


def test_what_may_not_be_deleted_expires(redis_url: str, client: Any) -> None:
    """A user without DEL leaves keys for a minute; the answer names it."""
    url = clerk(client, redis_url, "+@all", "-del")
    done = run_command(url, *AT_ONCE, "--json")
    assert set(json.loads(done.stdout)["refused"]) == {"del"}
    left = client.keys("smartworker:probe:*")
    assert left
    assert all(0 < client.ttl(key) <= SCRATCH_SECONDS for key in left)
    client.delete(*left)


def test_a_refused_command_of_the_bill_is_said(redis_url: str, client: Any) -> None:
    """And the next ones follow; with deliveries nobody waits for what never comes."""
    url = clerk(client, redis_url, "+@all", "-publish", "-config")
    done = run_command(url, *AT_ONCE, "--bill", "3")
    assert done.returncode == 0, done.stderr
    assert "PUBLISH to a subscriber: refused" in done.stdout
    assert re.search(r"EVAL with 2 EXISTS.*\n +9 ", done.stdout)
    assert "CONFIG is refused, so the flags are unknown" in " ".join(
        done.stdout.split()
    )


def test_the_words_fit_the_screen(redis_url: str, client: Any) -> None:
    """All answers in 80 columns, one row each."""
    done = run_command(redis_url, *PROBE, "--silence", "1s")
    assert max(map(len, done.stdout.splitlines())) <= 80
    text = done.stdout
    assert re.search(r"^round trip +\d+\.\d ms, at most \d+\.\d ms\.", text, re.M)
    assert re.search(
        r"^refused +nothing; all commands of smartworker pass\.", text, re.M
    )
    assert re.search(
        r"^keyspace events +they arrive; flags were off, and are", text, re.M
    )
    assert re.search(r"^silent connection +alive after 1s\.", text, re.M)
    assert re.search(r"^silent subscription +alive after 1s\.", text, re.M)


@pytest.mark.parametrize("doorbell", ["publish", "off"])
def test_flags_are_left_alone(redis_url: str, client: Any, doorbell: str) -> None:
    """Where no worker would set them; the answer is what the server does then."""
    extra: dict[str, Any] = {"SMARTWORKER_DOORBELL": doorbell}
    done = run_command(redis_url, *AT_ONCE, **extra)
    assert "they do not arrive; flags are off." in " ".join(done.stdout.split())
    assert client.config_get("notify-keyspace-events")["notify-keyspace-events"] == ""


def test_a_server_that_hangs_up(redis_url: str, client: Any) -> None:
    """Its own time-out takes the connection, and leaves the subscription."""
    client.config_set("timeout", "1")
    with connect(redis_url) as ours:
        found = {s.kind: s for s in silence(ours, scratch(), system_clock, 4)}
    assert (found["connection"].alive, found["connection"].told) == (False, True)
    assert 1 <= found["connection"].seconds <= 4
    assert found["subscription"].alive


def test_a_way_that_closes_what_is_idle(redis_url: str) -> None:
    """A proxy ends both; the command says when."""
    port = int(redis_url.rpartition(":")[2].partition("/")[0])
    with FaultProxy(port) as proxy:
        proxy.line(idle=1.5)
        done = run_command(proxy.url, *PROBE, "--silence", "8s", "--json")
    found = json.loads(done.stdout)["silence"]
    assert {each["kind"] for each in found} == {"connection", "subscription"}
    for each in found:
        assert (each["alive"], each["told"]) == (False, True)
        assert 1 <= each["seconds"] <= 4


class Impatient:
    """A clock that passes an hour with each wait, and may be interrupted."""

    def __init__(self, most: int) -> None:
        self.hours = 0
        self._most = most

    now = system_clock.now

    def monotonic(self) -> float:
        """Seconds since the start."""
        return 3600.0 * self.hours

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """An hour at once."""
        if self.hours == self._most:
            raise KeyboardInterrupt
        self.hours += 1
        return False


def test_who_gives_up_learns_what_is_known(redis_url: str) -> None:
    """Ctrl-C after three hours of ten: both are alive until then."""
    said: list[float] = []
    with connect(redis_url) as ours:
        found = silence(ours, scratch(), Impatient(3), 36_000, said.append)
    assert [(each.kind, each.seconds, each.alive) for each in found] == [
        ("connection", 10_800.0, True),
        ("subscription", 10_800.0, True),
    ]
    assert said == [3600.0, 7200.0, 10_800.0]


def test_ctrl_c_prints_what_is_known(redis_url: str, client: Any) -> None:
    """The command ends at once, and as if the time had been over."""
    process = subprocess.Popen(
        [*ENTRY, *PROBE, "--silence", "1h"],
        env=environment(redis_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: hears(client, "smartworker:probe:*:silence"))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert re.search(r"^silent subscription +alive after \ds", out, re.MULTILINE)


def hears(client: Any, pattern: str) -> bool:
    """Whether somebody has subscribed to such a channel."""
    return bool(client.pubsub_channels(pattern))


def test_a_link_that_is_gone_without_a_word(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a router that has forgotten it: nothing comes back."""
    port = int(redis_url.rpartition(":")[2].partition("/")[0])
    monkeypatch.setattr("smartworker.store.client.COMMAND_TIMEOUT", 0.5)
    with FaultProxy(port) as proxy, connect(proxy.url) as ours:
        clock = Impatient(9)
        fall_silent = clock.wait

        def wait(event: threading.Event, seconds: float) -> bool:
            proxy.line(swallow=("up",))
            return fall_silent(event, seconds)

        clock.wait = wait  # type: ignore[method-assign]
        found = silence(ours, scratch(), clock, 3600)
    assert [(each.alive, each.told) for each in found] == [(False, False)] * 2


def test_a_person_reads_the_counter(redis_url: str, client: Any) -> None:
    """In a terminal: the question first, then a pause before each step."""
    near, far = pty.openpty()
    process = subprocess.Popen(
        [*ENTRY, "doctor", "--probe", "--silence", "0", "--bill", "2"],
        env=environment(redis_url),
        stdin=far,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(near, b"y\n" + b"\n" * (len(steps("")) + 1))
    out, err = process.communicate(timeout=30)
    os.close(near)
    os.close(far)
    assert process.returncode == 0, err
    assert err.count("Read the counter now") == len(steps("")) + 1
    assert "Read the counter now, before 2 x empty EXISTS, then press Enter." in err
    # Redis before 7.2 does not know one of them.
    refused = out.count(": refused (")
    assert out.count("the counter goes up by") + refused == len(steps(""))
    assert refused <= 1


def test_the_readings_have_the_cost_that_we_count() -> None:
    """What we take for billed is the first reading of each question."""
    for step in steps("key"):
        assert step.readings[0][0] == step.cost, step.name
