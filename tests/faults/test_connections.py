"""Rows F19 to F29, F47, F61, F62, F66 and F71: what can happen to connections.

Intervals and outages are shorter here than in the matrix where a docstring says so;
what is promised about them stays as it is.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu.exceptions import OperationalError

import smartworker
from smartworker.broker.doorbell import ANSWER_WITHIN
from smartworker.events import EVENTS
from smartworker.testing import commandstats
from smartworker.worker import waiting
from tests.faults.conftest import Figures, StartServer, staged
from tests.faults.habits import (
    BACK,
    CONCURRENCY,
    HELD,
    PEAK,
    calm,
    configured,
    full,
    one_more,
)
from tests.faults.inside import HOST
from tests.faults.measure import (
    Seen,
    Spent,
    descriptors,
    processor_seconds,
    threads,
)
from tests.faults.proxy import FaultProxy
from tests.faults.rules import BOTH, Pieces, subscribed
from tests.faults.server import FaultServer
from tests.faults.stage import LEASE, Stage
from tests.processes import wait_until


@pytest.fixture
def behind(
    proxy: FaultProxy,
    fault_server: FaultServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stage]:
    """A stage whose producer goes through the proxy, while the tests do not."""
    with staged(fault_server.url, tmp_path, monkeypatch, publish_to=proxy.url) as stage:
        yield stage


# -- connections that are closed -----------------------------------------------------


def others(stage: Stage, known: set[str]) -> dict[str, str]:
    """The connections that are not known: id and what each is for."""
    found = {}
    for client in stage.client.client_list():
        if client["id"] not in known:
            hears = int(client["sub"]) + int(client["psub"])
            results = client["cmd"].partition("|")[0] == "set"
            kind = "results" if results else "commands"
            found[client["id"]] = "doorbell" if hears else kind
    return found


@pytest.mark.parametrize("pool", ["prefork", pytest.param("threads", marks=full)])
def test_f19_each_connection_is_killed(
    stage: Stage, pool: str, figures: Figures
) -> None:
    """Late tasks run on, none starts twice, and the next one runs at once."""
    stage.publish("note", ["before"])
    known = {client["id"] for client in stage.client.client_list()}
    stage.start("-P", pool, "-c", str(CONCURRENCY), **calm())
    stage.publish("note", range(HELD))
    stage.done(range(HELD))
    stage.publish("late", ["late-1", "late-2"])
    stage.started(HELD + 3)
    seen, waits = Seen(stage.client), []
    # A pool's processes leave their results to their parent.
    results = CONCURRENCY * ["results"] if pool == "threads" else []
    kinds = ["doorbell", "commands", *results, "doorbell"]
    for number, kind in enumerate(kinds):
        alive = others(stage, known)
        chosen = [client for client, found in alive.items() if found == kind]
        # The oldest of its kind: a result connection that was killed is a new one.
        assert stage.client.client_kill_filter(_id=chosen[0]) == 1
        waits.append(one_more(stage, f"after-{number}"))
    stage.open_gate()
    stage.done(["late-1", "late-2"])
    stage.settled()
    costs = seen.commands()
    costs.subtract({name: len(kinds) for name in ("lpush", "lmove", "lrem", "set")})
    costs.subtract({"lrem": 2, "set": 2})
    each = sum(costs.values()) / len(kinds)
    dup = stage.record.duplicates()
    figures(killed=len(kinds), lost=0, dup=dup, resume=max(waits), commands_each=each)
    assert dup == 0
    assert max(waits) <= 2
    assert each <= 6


def test_f19_all_connections_are_killed_in_solo(stage: Stage, figures: Figures) -> None:
    """A task that blocks the loop ends well, once; the next one runs at once."""
    stage.publish("note", ["before"])
    known = {client["id"] for client in stage.client.client_list()}
    stage.start("-P", "solo", **calm())
    stage.publish("late", ["late"])
    stage.started(2)
    kills = others(stage, known)
    seen = Seen(stage.client)
    for client in kills:
        stage.client.client_kill_filter(_id=client)
    stage.publish("note", ["after"])
    stage.open_gate()
    resume = stage.done(["late", "after"])
    stage.settled()
    costs = seen.commands()
    costs.subtract({"lpush": 1, "lmove": 1, "lrem": 2, "set": 2})
    each = sum(costs.values()) / len(kills)
    dup = stage.record.duplicates()
    figures(killed=len(kills), lost=0, dup=dup, resume=resume, commands_each=each)
    assert dup == 0
    assert resume <= 2
    assert each <= 6


class Cutter:
    """Kills connections at random while tasks flow."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self.rng = random.Random(seed)
        self.spared = stage.client.client_id()
        self.kills = 0

    def cut(self) -> None:
        """One connection of whomever, but not the one that kills."""
        ids = [client["id"] for client in self.stage.client.client_list()]
        chosen = self.rng.choice([found for found in ids if int(found) != self.spared])
        self.kills += self.stage.client.client_kill_filter(_id=chosen)

    def publish(self, numbers: range) -> None:
        """Each once, however often its connection is cut meanwhile."""
        for number in numbers:
            task, key = self.stage.project.note, str(number)
            for _ in range(20):
                with suppress(OperationalError):
                    smartworker.publish_once(task, key, (number,))
                    break

    def run(self, seconds: float, tasks: int, each: Callable[[], None]) -> None:
        """Cut each 10 to 60 ms; `each` is called between two cuts."""
        begun, published = time.monotonic(), 0
        while (gone := time.monotonic() - begun) < seconds:
            due = min(int(tasks * gone / seconds) + 1, tasks)
            self.publish(range(published, due))
            published = due
            self.cut()
            each()
            time.sleep(self.rng.uniform(0.01, 0.06))
        self.publish(range(published, tasks))


def test_f20_connections_are_killed_at_random(
    stage: Stage, figures: Figures, seed: int
) -> None:
    """Four seconds of kills each 10 to 60 ms, the producer's too, with 400 tasks."""
    stage.start("-c", str(CONCURRENCY))
    cutter = Cutter(stage, seed)
    cutter.run(4.0, 400, lambda: None)
    stage.done(range(400), BACK)
    stage.settled(BACK)
    dup = stage.record.duplicates()
    figures(kills=cutter.kills, lost=0, dup=dup)
    assert cutter.kills >= 40
    assert dup <= max(cutter.kills / 40, 1)


@full
@pytest.mark.timeout(240)
def test_f20_connections_and_workers_are_killed_at_random(
    stage: Stage, figures: Figures, seed: int
) -> None:
    """A minute with 6,000 tasks, and each seven seconds the worker is killed too."""
    cutter = Cutter(stage, seed)
    alive = [stage.start("-c", str(CONCURRENCY)) for _ in range(2)]
    killed = 0
    next_kill = time.monotonic() + 7

    def kill_now_and_then() -> None:
        nonlocal killed, next_kill
        if time.monotonic() > next_kill:
            alive.pop(0).kill_all()
            alive.append(stage.spawn("-c", str(CONCURRENCY)))
            killed, next_kill = killed + 1, time.monotonic() + 7

    cutter.run(60.0, 6000, kill_now_and_then)
    stage.done(range(6000), 90)
    stage.settled(90)
    dup = stage.record.duplicates()
    figures(kills=cutter.kills, workers_killed=killed, lost=0, dup=dup)
    assert cutter.kills >= 600
    # What was running when its worker was killed runs again: that is F02's figure.
    assert dup <= cutter.kills / 40 + CONCURRENCY * killed


def reconnected(proxy: FaultProxy, seconds: float = BACK) -> Callable[[], None]:
    """Waits until a worker has come back from what happens after this call.

    It asks for a PONG when everything else has been answered.
    """
    pings = proxy.counters.commands["PING"]
    return lambda: proxy.wait_for(
        lambda: proxy.counters.commands["PING"] > pings, seconds
    )


@full
@pytest.mark.timeout(180)
def test_f24_a_reset_each_second(
    stage: Stage, proxy: FaultProxy, figures: Figures
) -> None:
    """Sixty of them: at most 300 commands and a fifth of a processor, and no stall."""
    resets = 60
    worker = stage.start("-c", "2", url=proxy.url, **calm())
    stage.publish("late", ["late"])
    stage.started(1)
    spent, begun = Spent(proxy), time.monotonic()
    used = processor_seconds(worker.process.pid)
    for number in range(resets):
        connected = reconnected(proxy)
        assert proxy.close(reset=True) >= 1
        # Published before that, it would be looked for in all priority steps.
        connected()
        one_more(stage, number)
        time.sleep(max(begun + number + 1 - time.monotonic(), 0))
    used = processor_seconds(worker.process.pid) - used
    share = used / (time.monotonic() - begun)
    stage.open_gate()
    stage.done(["late"])
    stage.settled()
    commands = spent.commands(tasks=resets) - Counter({"LREM": 1, "SET": 1})
    cost, dup = commands.total(), stage.record.duplicates()
    figures(resets=resets, lost=0, dup=dup, commands=cost, processor=share)
    assert dup == 0
    assert cost <= 5 * resets
    assert share < 0.2


@pytest.mark.parametrize(
    ("idle", "interval", "closes"), [(0.5, 1, 3), pytest.param(10.0, 20, 3, marks=full)]
)
def test_f25_idle_connections_are_closed(
    stage: Stage,
    proxy: FaultProxy,
    figures: Figures,
    idle: float,
    interval: float,
    closes: int,
) -> None:
    """The endpoint ends what is idle for half an interval: nobody is told, or twice."""
    worker = stage.start(
        *("-c", "2"),
        url=proxy.url,
        **calm(SMARTWORKER_QUIET_POLL=f"{interval}s"),
    )
    stage.publish("late", ["late"])
    stage.started(1)
    proxy.wait_for(lambda: proxy.counters.commands["EXISTS"] >= 2, 2 * interval)
    spent = Spent(proxy)
    proxy.line(idle=idle)
    proxy.wait_for(
        lambda: spent.commands()["PSUBSCRIBE"] >= closes, (closes + 2) * interval
    )
    reconnected(proxy)()
    proxy.clear()
    commands = spent.commands()
    stage.open_gate()
    resume = one_more(stage, "after", 5)
    stage.done(["late"])
    stage.settled()
    reconnects = commands["PSUBSCRIBE"]
    each = commands.total() / reconnects
    dup = stage.record.duplicates()
    said = {line["event"] for line in worker.lines} & EVENTS.keys()
    figures(closes=reconnects, lost=0, dup=dup, commands_each=each, resume=resume)
    assert dup == 0
    assert not said & {"broker_lost", "broker_back", "results_away", "delivery_lost"}
    assert each <= 3


@full
@pytest.mark.timeout(240)
def test_f71_reconnects_in_a_row(
    stage: Stage, proxy: FaultProxy, figures: Figures
) -> None:
    """A thousand: still consuming, with the timers, threads and files it had before."""
    times = 1000
    worker = stage.start("-P", "threads", "-c", "2", url=proxy.url, **calm())
    one_more(stage, "before")

    def look() -> tuple[int, int, int]:
        inspect = stage.project.app.control.inspect(timeout=5, limit=1)
        (timers,) = inspect._request("faulty_timers").values()
        return timers, threads(worker), descriptors(worker)

    before = look()
    begun = time.monotonic()
    for _ in range(times):
        connected = reconnected(proxy)
        proxy.close()
        connected()
    took = time.monotonic() - begun
    resume = one_more(stage, "after")
    stage.settled()
    # The questions whose answers are looked for a while later are timers as well.
    wait_until(
        lambda: look() <= before, ANSWER_WITHIN + 5, f"as at the start: {before}"
    )
    figures(reconnects=times, seconds=took, resume=resume, before=before, after=look())
    assert proxy.counters.connections >= times
    assert resume <= 2


# -- lost answers --------------------------------------------------------------------


@pytest.mark.parametrize("then", ["close", pytest.param("silent", marks=full)])
def test_f21_the_reply_of_a_take_is_lost(
    stage: Stage, proxy: FaultProxy, figures: Figures, then: Any
) -> None:
    """The server has moved the message: it is read back and runs, once."""
    worker = stage.start("-c", "2", url=proxy.url, **calm())
    trap = proxy.trap("LMOVE", then=then)
    stage.publish("note", range(5))
    took = stage.done(range(5), 10)
    stage.settled()
    dup = stage.record.duplicates()
    figures(lost=0, dup=dup, executed_after=took)
    assert trap.caught == 1
    assert sum(line["read_back"] for line in worker.events("broker_back")) >= 1
    assert dup == 0
    assert took <= 10


@pytest.mark.parametrize("then", ["close", pytest.param("silent", marks=full)])
def test_f22_the_reply_of_an_acknowledgement_is_lost(
    stage: Stage, proxy: FaultProxy, figures: Figures, then: Any
) -> None:
    """It is asked again, and the task does not run again."""
    worker = stage.start("-c", "2", url=proxy.url, **calm())
    trap = proxy.trap("LREM", then=then)
    stage.publish("note", range(5))
    stage.done(range(5), 15)
    stage.settled()
    dup = stage.record.duplicates()
    figures(lost=0, dup=dup)
    assert trap.caught == 1
    assert dup <= 1
    assert worker.events("delivery_lost") == []


@full
@pytest.mark.parametrize("command", ["LMOVE", "LREM"])
def test_f21_f22_a_command_that_arrives_late(
    stage: Stage, proxy: FaultProxy, figures: Figures, command: str
) -> None:
    """Given up by the worker, carried out by the server much later: nothing is lost.

    By then the worker has looked into its in-flight list, has come back on another
    connection, and holds as much as it may, while more messages wait.
    """
    stage.start("-c", "1", url=proxy.url)
    stuck: set[int] = set()

    def holds(link: Any) -> bool:
        if link.seen[command] and not stuck:
            stuck.add(link.number)
        return link.number in stuck

    fault = proxy.line(where=holds, hold=("up",))
    stage.publish("note", ["first"])
    proxy.wait_for(lambda: proxy.counters.commands[command] >= 1)
    stage.publish("late", range(10))
    # Beyond the time-out of a command: the worker has come back without it.
    wait_until(lambda: stage.held() >= 4, 20, "a full prefetch")
    stage.started(2)
    proxy.end(fault)
    wait_until(lambda: proxy.connections <= 3, 5, "the end of the old connection")
    stage.open_gate()
    stage.done(["first", *range(10)], 3 * LEASE)
    stage.settled()
    figures(lost=0, dup=stage.record.duplicates())
    assert stage.record.duplicates() == 0


@pytest.mark.parametrize("once", [True, False])
def test_f27_the_reply_of_a_publish_is_lost(
    behind: Stage, proxy: FaultProxy, figures: Figures, once: bool
) -> None:
    """kombu publishes again: one execution with a key, at most two without."""
    note = behind.project.note
    note.delay("before")
    trap = proxy.trap("EVAL", "LPUSH", then="close")
    if once:
        smartworker.publish_once(note, "key", ("after",))
    else:
        note.delay("after")
    behind.start("-c", "2")
    behind.done(["before", "after"])
    behind.settled()
    executions = behind.record.starts()["after"]
    figures(executions=executions)
    assert trap.caught == 1
    assert executions == 1 if once else executions <= 2


@full
def test_f28_the_doorbell_is_half_open(
    stage: Stage, proxy: FaultProxy, figures: Figures
) -> None:
    """Messages come with the next poll; a PING finds the dead line, at no cost."""
    stage.start("-c", "2", url=proxy.url, SMARTWORKER_LEASE="300s")
    one_more(stage, "before")
    stage.settled()
    dead = set(range(1, proxy.counters.connections + 1))
    spent, begun = Spent(proxy), time.monotonic()
    proxy.line(
        where=lambda link: subscribed(link) and link.number in dead, swallow=BOTH
    )
    pick_up = one_more(stage, "meanwhile")
    proxy.wait_for(lambda: spent.commands()["PSUBSCRIBE"] == 1)
    detected = time.monotonic() - begun
    again = one_more(stage, "after")
    stage.settled()
    commands = spent.commands(tasks=2)
    polls = commands.pop("EXISTS")
    # A message that no bell told of is looked for in all priority steps.
    del commands["LMOVE"], commands["ZADD"]
    figures(pick_up=pick_up, detected=detected, rung=again, commands=dict(commands))
    assert pick_up <= 1.5 * PEAK + 0.5  # the first gap may be half as long again
    # The answer is waited for after the poll that asked for it.
    assert detected <= 1.5 * PEAK + ANSWER_WITHIN + 0.5
    assert again <= 1
    assert polls <= 2 + (time.monotonic() - begun) / PEAK
    assert commands == {"SUBSCRIBE": 1, "PSUBSCRIBE": 1}


@pytest.mark.parametrize(
    ("broken", "look"),
    [
        ("subscription", 1.0),
        pytest.param("subscription", waiting.LOOK_AGAIN, marks=full),
        pytest.param("everything", 2.0, marks=full),
        pytest.param("everything", waiting.LOOK_AGAIN, marks=full),
    ],
)
def test_f66_the_waiters_connection_is_half_open(
    behind: Stage,
    proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
    figures: Figures,
    broken: str,
    look: float,
) -> None:
    """`get()` looks by itself now and then; every second here, 30 s in the full run."""
    monkeypatch.setattr(waiting, "LOOK_AGAIN", look)
    behind.start("-c", "2")
    result = behind.project.late.delay("late")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(result.get, timeout=look + 20)
        # Its first look comes when the subscription is confirmed.
        proxy.wait_for(lambda: proxy.counters.commands["GET"] >= 1)
        behind.started(1)
        old = proxy.counters.connections
        proxy.line(
            where=lambda link: (
                link.number <= old and (broken == "everything" or subscribed(link))
            ),
            swallow=BOTH,
        )
        behind.open_gate()
        begun = time.monotonic()
        answer.result(look + 20)
    took = time.monotonic() - begun
    figures(waited=took, limit=look + 5)
    # It wakes once a second to see whether it is time to look.
    assert took <= look + 5 + 1


@full
def test_f66_the_waiters_subscription_is_never_confirmed(
    behind: Stage, proxy: FaultProxy, figures: Figures
) -> None:
    """Silence instead of a confirmation: another subscription, and the result."""
    behind.start("-c", "2")
    trap = proxy.trap("SUBSCRIBE")
    result = behind.project.note.delay("note")
    begun = time.monotonic()
    result.get(timeout=30)
    took = time.monotonic() - begun
    figures(waited=took, limit=ANSWER_WITHIN + 2)
    assert trap.caught == 1
    assert took <= ANSWER_WITHIN + 2


# -- lines that are dead or slow -----------------------------------------------------


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("state", "results_pass", "seconds"),
    [
        ("running", False, 6),
        *(
            pytest.param(state, True, 120, marks=full)
            for state in ("idle", "running", "backlog")
        ),
        pytest.param("backlog", False, 120, marks=full),
    ],
)
def test_f23_black_hole(
    stage: Stage,
    proxy: FaultProxy,
    figures: Figures,
    state: str,
    results_pass: bool,
    seconds: float,
) -> None:
    """Nothing passes for 6 s, 120 s in the full run; what was sent arrives late.

    Each pool process tries by itself to store a result: where those pass, what is
    left is the worker's own traffic.
    """
    store = {"SMARTWORKER_RESULT_URL": stage.url} if results_pass else {}
    worker = stage.start("-c", str(CONCURRENCY), url=proxy.url, **calm(**store))
    one_more(stage, "before")
    names = ["before", *work_in(state, stage)]
    spent = Spent(proxy)
    hole = proxy.line(hold=BOTH)
    passed = proxy.counters.bytes["up"]
    time.sleep(seconds / 2)
    stage.open_gate()
    time.sleep(seconds / 2)
    arrived = proxy.counters.bytes["up"] - passed
    attempts = spent.connections
    proxy.end(hole)
    resume = one_more(stage, "after")
    stage.done(names, BACK)
    stage.settled(BACK)
    dup = stage.record.duplicates()
    figures(
        seconds=seconds,
        lost=0,
        dup=dup,
        resume=resume,
        bytes_meanwhile=arrived,
        connects=attempts,
    )
    assert dup == 0
    assert resume <= BACK
    assert arrived == 0
    assert attempts <= 12 + (0 if results_pass else 10 * CONCURRENCY)
    assert worker.process.poll() is None


def work_in(state: str, stage: Stage) -> list[str]:
    """What the worker has to do when the fault begins."""
    late = [f"late-{n}" for n in range(2 if state == "running" else CONCURRENCY)]
    notes = [f"note-{n}" for n in range(40)]
    if state == "idle":
        return []
    stage.publish("late", late)
    stage.started(1 + len(late))
    if state == "running":
        return late
    stage.publish("note", notes)
    wait_until(lambda: stage.held() == HELD, what="a full prefetch")
    return late + notes


def round_trip(seconds: float) -> dict[str, Any]:
    """Latency, half of it on each way."""
    return {"up_delay": seconds / 2, "down_delay": seconds / 2}


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("kind", "line", "tasks"),
    [
        ("segments", {"pieces": Pieces(share=0.3)}, 100),
        pytest.param("latency", round_trip(2.0), 20, marks=full),
        pytest.param("latency of both ways", round_trip(4.0), 10, marks=full),
        pytest.param("1 kB/s", {"rate": 1000.0}, 20, marks=full),
    ],
)
def test_f26_a_slow_line(
    stage: Stage,
    proxy: FaultProxy,
    figures: Figures,
    kind: str,
    line: dict[str, Any],
    tasks: int,
) -> None:
    """Late, and in pieces, everything arrives, and nothing twice."""
    worker = stage.start("-c", str(CONCURRENCY), url=proxy.url)
    proxy.line(**line)
    stage.publish("note", range(tasks))
    took = stage.done(range(tasks), 120)
    stage.settled(60)
    dup = stage.record.duplicates()
    figures(kind=kind, tasks=tasks, lost=0, dup=dup, seconds=took)
    assert dup == 0
    assert worker.process.poll() is None


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seconds", [1.0, pytest.param(60.0, marks=full)])
def test_f29_the_name_is_gone(
    stage: Stage,
    proxy: FaultProxy,
    tmp_path: Path,
    figures: Figures,
    seconds: float,
) -> None:
    """A worker that loses its connections and finds no address waits for one."""
    hosts = tmp_path / "hosts"
    hosts.touch()
    url = f"redis://{HOST}:{proxy.port}/0"
    worker = stage.start("-c", "2", url=url, **calm(FAULTY_HOSTS=str(hosts)))
    stage.publish("late", ["late"])
    stage.started(1)
    hosts.unlink()
    proxy.close()
    worker.wait_for("broker_lost")
    stage.open_gate()
    time.sleep(seconds)
    hosts.touch()
    resume = one_more(stage, "after")
    stage.done(["late"], BACK)
    stage.settled(BACK)
    (lost,) = worker.events("broker_lost")
    dup = stage.record.duplicates()
    figures(seconds=seconds, lost=0, dup=dup, resume=resume)
    assert "name resolution" in lost["error"]
    assert dup == 0
    assert resume <= BACK


@pytest.mark.parametrize(
    "answer",
    [
        "HTTP/1.1 502 Bad Gateway",
        pytest.param("$-17", marks=full),
        pytest.param("*abc", marks=full),
        pytest.param(":\x00\xff", marks=full),
    ],
)
@pytest.mark.parametrize(
    "command",
    ["LMOVE", pytest.param("EXISTS", marks=full), pytest.param("LREM", marks=full)],
)
def test_f47_garbage(
    stage: Stage, proxy: FaultProxy, figures: Figures, answer: str, command: str
) -> None:
    """An answer that is no answer is a lost connection: a new one, and nothing lost."""
    worker = stage.start("-c", "2", url=proxy.url)
    trap = proxy.answer(answer, command, times=1)
    stage.publish("note", range(5))
    took = stage.done(range(5), BACK)
    wait_until(lambda: trap.caught == 1, what="the garbage")
    stage.settled(BACK)
    dup = stage.record.duplicates()
    figures(lost=0, dup=dup, seconds=took)
    assert dup == 0
    assert worker.process.poll() is None


def test_f47_a_reply_is_cut_off(
    stage: Stage, proxy: FaultProxy, figures: Figures
) -> None:
    """Half a message and then the end: the whole one is read back."""
    worker = stage.start("-c", "2", url=proxy.url)
    stage.publish("carry", ["big"], payload="x" * 200_000)
    stage.done(["big"])
    slow = proxy.line(rate=100_000.0)
    down = proxy.counters.bytes["down"]
    stage.publish("carry", ["cut"], payload="x" * 200_000)
    proxy.wait_for(lambda: proxy.counters.bytes["down"] > down + 20_000)
    proxy.close()
    proxy.end(slow)
    took = stage.done(["cut"], BACK)
    stage.settled(BACK)
    dup = stage.record.duplicates()
    figures(lost=0, dup=dup, seconds=took)
    assert dup == 0
    assert worker.process.poll() is None


def test_f47_a_server_without_resp3(
    stage: Stage, proxy: FaultProxy, figures: Figures
) -> None:
    """HELLO is never asked for: RESP2 is all that is needed."""
    proxy.answer("-ERR unknown command 'HELLO'", "HELLO")
    stage.start("-c", "2", url=proxy.url)
    resume = one_more(stage, "note")
    figures(hellos=proxy.counters.commands["HELLO"], seconds=resume)
    assert proxy.counters.commands["HELLO"] == 0


# -- where the server is -------------------------------------------------------------


def lives_through(stage: Stage, figures: Figures, **env: str) -> None:
    """F19 and F02 one after the other, with a lease of one second."""
    numbers = range(12)
    known = {client["id"] for client in stage.client.client_list()}
    settings = {"SMARTWORKER_LEASE": "1s", **env}
    first = stage.start("-c", "2", **settings)
    stage.publish("late", numbers)
    stage.started(2)
    for client in others(stage, known):
        stage.client.client_kill_filter(_id=client)
    time.sleep(1.5)  # longer than the lease: the worker has to keep it
    assert len(stage.record.runs()) == 2
    first.kill_all()
    stage.open_gate()
    begun = time.monotonic()
    stage.start("-c", "2", **settings)
    stage.done(numbers, 1 + 5)
    took = time.monotonic() - begun
    dup = stage.record.duplicates()
    figures(lost=0, dup=dup, again=took, limit=1 + 5)
    assert dup <= 2


def test_f61_a_prefix_and_another_database(
    fault_server: FaultServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    figures: Figures,
) -> None:
    """Every key carries the prefix, and database 0 stays empty."""
    prefixed = {"global_keyprefix": "shop*[1]:"}
    conf = configured(
        broker_transport_options=prefixed, result_backend_transport_options=prefixed
    )
    url = fault_server.url.removesuffix("/0") + "/3"
    with staged(url, tmp_path, monkeypatch, FAULTY_CONF=conf) as stage:
        lives_through(stage, figures)
        names = {name.decode() for name in stage.client.keys("*")}
        assert names
        assert {name for name in names if not name.startswith("shop*[1]:")} == set()
        with redis.Redis.from_url(fault_server.url) as first:
            assert first.dbsize() == 0


@full
def test_f61_a_unix_socket(
    start_server: StartServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    figures: Figures,
) -> None:
    """The broker and the results over a socket in the file system."""
    path = tmp_path / "redis.sock"
    server = start_server(None, "--unixsocket", str(path))
    url = f"redis+socket://{path}"
    conf = configured(broker_url=url, result_backend=url)
    with staged(server.url, tmp_path, monkeypatch, FAULTY_CONF=conf) as stage:
        lives_through(stage, figures)
        ours = stage.client.client_id()
        places = {
            client["addr"]
            for client in stage.client.client_list()
            if int(client["id"]) != ours
        }
        assert places
        assert all(str(path) in place for place in places)


@full
def test_f61_ipv6(
    start_server: StartServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    figures: Figures,
) -> None:
    """An address in brackets."""
    server = start_server(None, "--bind", "127.0.0.1", "::1")
    url = f"redis://[::1]:{server.port}/0"
    with staged(url, tmp_path, monkeypatch) as stage:
        lives_through(stage, figures)


# -- what travels --------------------------------------------------------------------

STRANGE = {
    "big": "x" * 5_000_000,
    "nothing": "",
    "unicode": "Füße 🏊 \u2028 \U0010ffff",
    "nul": "a\x00b\r\n\x1b[31m",
}


def test_f62_strange_payloads(stage: Stage, figures: Figures) -> None:
    """5 MB, nothing at all, unicode and NUL: each comes back as its own result."""
    worker = stage.start("-c", "2")
    carry = stage.project.carry
    sent = {name: carry.delay(name, text) for name, text in STRANGE.items()}
    empty = carry.delay()
    begun = time.monotonic()
    got = {name: result.get(timeout=20)[1] for name, result in sent.items()}
    assert empty.get(timeout=20) == ["", ""]
    stage.settled()
    figures(kinds=len(STRANGE) + 1, seconds=time.monotonic() - begun)
    assert got == STRANGE
    assert stage.record.duplicates() == 0
    assert worker.process.poll() is None


def test_f62_beyond_the_limit(
    start_server: StartServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    figures: Figures,
) -> None:
    """What the server does not take is the publisher's error, and nobody else's."""
    server = start_server(None, "--proto-max-bulk-len", "1mb")
    with staged(server.url, tmp_path, monkeypatch) as stage:
        worker = stage.start("-c", "2")
        begun = time.monotonic()
        with pytest.raises(OperationalError):
            stage.project.carry.delay("big", "x" * 2_000_000)
        refused = time.monotonic() - begun
        resume = one_more(stage, "after")
        figures(refused_after=refused, resume=resume)
        assert stage.queue() == []
        assert refused <= 5
        assert worker.events("broker_lost") == []


@full
@pytest.mark.timeout(180)
def test_f62_a_backlog_of_10_000(stage: Stage, figures: Figures) -> None:
    """All of them run, each once."""
    with stage.project.app.producer_pool.acquire() as producer:
        for number in range(10_000):
            stage.project.note.apply_async((number,), producer=producer)
    assert stage.client.llen("celery") == 10_000
    before = commandstats(stage.client).get("lmove", 0)
    stage.start("-c", str(CONCURRENCY))
    took = stage.done(range(10_000), 120)
    stage.settled()
    takes = commandstats(stage.client)["lmove"] - before
    figures(lost=0, dup=stage.record.duplicates(), seconds=took, lmoves=takes)
    assert stage.record.duplicates() == 0
