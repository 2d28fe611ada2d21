"""Rows F30 to F46: servers that die, forget, refuse, or are none.

Outages are shorter here than in the matrix where a docstring says so; what is promised
about them stays as it is.
"""

import json
import os
import resource
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu.exceptions import OperationalError

import smartworker
from tests.faults.conftest import Figures, StartServer, staged
from tests.faults.habits import (
    BACK,
    CONCURRENCY,
    DAY,
    HELD,
    calm,
    configured,
    full,
    one_more,
)
from tests.faults.measure import Seen, Spent
from tests.faults.proxy import HOST, FaultProxy
from tests.faults.rules import subscribed
from tests.faults.server import FaultServer
from tests.faults.stage import LEASE, Stage
from tests.processes import wait_until

StageOn = Callable[..., Stage]


@pytest.fixture
def stage_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StageOn]:
    """Makes the stage on a server of the test's own."""
    with ExitStack() as stack:
        yield lambda url, **options: stack.enter_context(
            staged(url, tmp_path, monkeypatch, **options)
        )


# -- servers that die ----------------------------------------------------------------


class Publisher:
    """Publishes each task until the server has taken it, in a thread of its own."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._stopping = threading.Event()
        self.accepted: list[int] = []
        self.errors = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Publisher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)

    def _run(self) -> None:
        number = 0
        while not self._stopping.wait(0.02):
            try:
                smartworker.publish_once(
                    self._stage.project.note, f"flow-{number}", (number,)
                )
            except (OperationalError, redis.RedisError):
                self.errors += 1
            else:
                self.accepted.append(number)
                number += 1


STATES = ("idle", "running", "prefetched", "publishing")


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("state", "outage", "limit"),
    [
        ("publishing", 1.0, 5.0),
        pytest.param("running", 1.0, 5.0, marks=full),
        *(pytest.param(state, 10.0, 5.0, marks=full) for state in STATES),
        pytest.param("prefetched", 120.0, BACK, marks=full),
    ],
)
def test_f30_killed_and_started_again(
    start_server: StartServer,
    stage_on: StageOn,
    tmp_path: Path,
    figures: Figures,
    state: str,
    outage: float,
    limit: float,
) -> None:
    """With AOF `always` nothing is lost; 1 s, 10 s, or 2 min in place of 10 min."""
    server = start_server(tmp_path / "data", "--appendfsync", "always")
    stage = stage_on(server.url)
    worker = stage.start("-c", str(CONCURRENCY), **calm())
    one_more(stage, "before")
    names = begin(state, stage)
    with ExitStack() as stack:
        flow = stack.enter_context(Publisher(stage)) if state == "publishing" else None
        if flow:
            wait_until(lambda: len(flow.accepted) >= 20, what="a flow of tasks")
        server.kill()
        time.sleep(outage / 2)
        stage.open_gate()
        time.sleep(outage / 2)
        server.restart()
        begun = time.monotonic()
        stage.client.connection_pool.disconnect()
        if not flow:
            one_more(stage, "after", BACK)
    if flow:
        names += [str(number) for number in flow.accepted]
        # The first one that was accepted and done since.
        stage.done(names, BACK)
    resume = first_start(stage, after=begun)
    stage.done(names, BACK)
    stage.settled(BACK)
    dup = stage.record.duplicates()
    figures(outage=outage, tasks=len(names), lost=0, dup=dup, resume=resume)
    assert dup <= CONCURRENCY
    assert resume <= limit
    assert worker.process.poll() is None


def first_start(stage: Stage, after: float) -> float:
    """Seconds from a moment on the monotonic clock to the first task begun since."""
    moment = time.time() - (time.monotonic() - after)
    return min(run.at for run in stage.record.runs() if run.at >= moment) - moment


def begin(state: str, stage: Stage) -> list[str]:
    """What the worker does when the server dies."""
    late = [f"late-{n}" for n in range(CONCURRENCY if state == "prefetched" else 2)]
    notes = [f"note-{n}" for n in range(40)]
    if state in ("idle", "publishing"):
        return []
    stage.publish("late", late)
    stage.started(1 + len(late))
    if state == "running":
        return late
    stage.publish("note", notes)
    wait_until(lambda: stage.held() == HELD, what="a full prefetch")
    return late + notes


@full
def test_f31_killed_with_an_aof_each_second(
    start_server: StartServer, stage_on: StageOn, tmp_path: Path, figures: Figures
) -> None:
    """Lost is at the most what was accepted in the last second, and it is counted."""
    server = start_server(tmp_path / "data", "--appendfsync", "everysec")
    stage = stage_on(server.url)
    worker = stage.start("-c", str(CONCURRENCY), **calm())
    with Publisher(stage) as flow:
        wait_until(lambda: len(flow.accepted) >= 50, what="a flow of tasks")
        before = len(flow.accepted)
        wait_until(lambda: len(flow.accepted) >= before + 50, what="more of it")
        server.kill()
        last = flow.accepted.copy()
        server.restart()
        stage.client.connection_pool.disconnect()
        wait_until(lambda: len(flow.accepted) >= len(last) + 20, 30, "the flow again")
    one_more(stage, "after")
    stage.settled(BACK)
    lost = stage.record.lost(flow.accepted)
    dup = stage.record.duplicates()
    figures(accepted=len(flow.accepted), lost=len(lost), dup=dup)
    assert {int(number) for number in lost} <= set(last[-60:])
    assert dup <= CONCURRENCY
    assert worker.process.poll() is None


@pytest.mark.parametrize("how", ["flushed", pytest.param("empty", marks=full)])
def test_f32_the_server_forgets_everything(
    fault_server: FaultServer, stage: Stage, figures: Figures, how: str
) -> None:
    """FLUSHALL, or a restart without a file: new messages run, with a new lease."""
    worker = stage.start("-c", "3", SMARTWORKER_QUIET_POLL=f"{DAY:g}s")
    stage.publish("late", ["late-1", "late-2"])
    stage.started(2)
    if how == "flushed":
        stage.client.flushall()
    else:
        fault_server.kill()
        fault_server.restart()
        stage.client.connection_pool.disconnect()
    resume = one_more(stage, "after")
    stage.open_gate()
    stage.done(["late-1", "late-2"])
    stage.gate.unlink()
    stage.publish("late", ["late-3"])
    stage.started(4)
    registered = wait_until(
        lambda: not stage.unreachable() and stage.held(), LEASE, "a lease"
    )
    flags = stage.client.config_get("notify-keyspace-events")
    stage.open_gate()
    stage.done(["late-3"])
    stage.settled()
    figures(resume=resume, registered=registered, dup=stage.record.duplicates())
    assert resume <= 5
    assert set("Kl$g") <= set(flags["notify-keyspace-events"])
    assert worker.process.poll() is None


@full
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("how", "seconds"), [("sleeps", 20), ("pauses", 30), ("stops", 20)]
)
def test_f33_a_slow_server(
    start_server: StartServer,
    stage_on: StageOn,
    figures: Figures,
    how: str,
    seconds: int,
) -> None:
    """It answers nobody for 20 or 30 s; then all goes on."""
    server = start_server(None, "--enable-debug-command", "yes")
    stage = stage_on(server.url)
    worker = stage.start("-c", str(CONCURRENCY), **calm())
    one_more(stage, "before")
    names = begin("prefetched", stage)
    with slow(server, how, seconds):
        time.sleep(seconds / 2)
        stage.open_gate()
    begun = time.monotonic()
    one_more(stage, "after")
    resume = first_start(stage, after=begun)
    stage.done(names, BACK)
    stage.settled(BACK)
    dup = stage.record.duplicates()
    figures(how=how, seconds=seconds, lost=0, dup=dup, resume=resume)
    assert dup <= CONCURRENCY
    assert resume <= 5
    assert worker.process.poll() is None


@contextmanager
def slow(server: FaultServer, how: str, seconds: int) -> Iterator[None]:
    """A server that is slow for so many seconds; over at the end."""
    client = redis.Redis.from_url(server.url, socket_timeout=seconds + 10)
    begun = time.monotonic()
    with client, ThreadPoolExecutor(1) as pool:
        if how == "sleeps":
            pool.submit(client.execute_command, "DEBUG", "SLEEP", seconds)
        elif how == "pauses":
            client.client_pause(seconds * 1000)
        else:
            server.pause()
        yield
        time.sleep(max(begun + seconds - time.monotonic(), 0))
        if how == "stops":
            server.resume()


# -- servers that refuse -------------------------------------------------------------


def set_memory(client: Any, limit: int) -> None:
    """A limit that is exceeded at once (1), or none (0); nothing is evicted."""
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", limit)


@pytest.mark.parametrize("wait_for_it", [False, pytest.param(True, marks=full)])
def test_f34_out_of_memory(
    start_server: StartServer, stage_on: StageOn, figures: Figures, wait_for_it: bool
) -> None:
    """Acknowledgements pass, the publisher hears of it, the backlog waits."""
    # The results elsewhere: a task whose result nobody takes is not acknowledged.
    results = start_server()
    server = start_server()
    stage = stage_on(server.url, SMARTWORKER_RESULT_URL=results.url)
    worker = stage.start("-c", str(CONCURRENCY), **calm())
    one_more(stage, "before")
    names = begin("prefetched", stage)
    set_memory(stage.client, 1)
    with pytest.raises((OperationalError, redis.RedisError)):
        stage.project.note.delay("refused")
    stage.open_gate()
    held = wait_until(lambda: stage.held() == 0, 10, "all acknowledged")
    worker.wait_for("broker_lost")
    assert worker.process.poll() is None
    if wait_for_it:
        time.sleep(2 * DAY)
    done = len(stage.record.ends())
    set_memory(stage.client, 0)
    begun = time.monotonic()
    if not wait_for_it:
        figures(acknowledged_after=held, kind=worker.events("broker_lost")[0]["kind"])
        return
    stage.done(names, DAY + 5)
    resume = first_start(stage, after=begun)
    stage.settled(BACK)
    dup = stage.record.duplicates()
    figures(lost=0, dup=dup, acknowledged_after=held, resume=resume, limit=DAY)
    assert done == 1 + HELD
    assert dup == 0
    assert resume <= DAY


def test_f35_a_server_that_evicts(fault_server: FaultServer, stage: Stage) -> None:
    """One critical line at the start, and `doctor` fails."""
    stage.client.config_set("maxmemory-policy", "allkeys-lru")
    worker = stage.start("-c", "1")
    (risk,) = worker.events("server_risk")
    assert risk["level"] == "critical"
    assert "allkeys-lru" in risk["risk"]
    asked = [
        "-m",
        "smartworker.cli.main",
        "doctor",
        "-A",
        "tests.faults.faulty",
        "--json",
    ]
    done = command(stage, *asked)
    found = json.loads(done.stdout)
    assert done.returncode == 3
    assert {"critical"} == {f["severity"] for f in found if f["subject"] == "eviction"}
    assert one_more(stage, "note") <= 5


def command(
    stage: Stage, *words: str, url: str | None = None
) -> subprocess.CompletedProcess[str]:
    """A Python program in the project's environment, run to its end."""
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, **stage.environment, "REDIS_URL": url or stage.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@full
def test_f36_a_disk_that_is_full(
    start_server: StartServer, stage_on: StageOn, tmp_path: Path, figures: Figures
) -> None:
    """Its AOF may not grow any more, as on a full disk; 10 s of it, without root."""
    server = start_server(tmp_path / "data", "--appendfsync", "everysec")
    stage = stage_on(server.url)
    worker = stage.start("-c", str(CONCURRENCY), **calm())
    one_more(stage, "before")
    names = begin("prefetched", stage)
    limit_files(server, 16)
    accepted = publish_until_refused(stage)
    stage.open_gate()
    # Nothing is acknowledged whose result is not stored: that is what they wait for.
    worker.wait_for("results_away")
    time.sleep(10)
    assert worker.process.poll() is None
    assert server.status is None
    limit_files(server, resource.RLIM_INFINITY)
    wait_until(lambda: writes(stage), 10, "a server that takes commands")
    begun = time.monotonic()
    stage.done([*names, *accepted], DAY + 15)
    stage.settled(BACK)
    resume = first_start(stage, after=begun)
    kinds = {line["kind"] for line in worker.events("broker_lost")}
    dup = stage.record.duplicates()
    figures(
        lost=0, dup=dup, resume=resume, limit=DAY, accepted=len(accepted), kinds=kinds
    )
    assert kinds <= {"not_ready"}
    assert dup == 0
    assert resume <= DAY


def limit_files(server: FaultServer, most: int) -> None:
    """Let no file of the server grow beyond so many bytes.

    Its parent for a moment was Python, which ignores the signal for that: the server
    sees an error, as of a full disk.
    """
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (most, hard))


def publish_until_refused(stage: Stage) -> list[str]:
    """The tasks that were accepted before the server took no more."""
    accepted = []
    for number in range(1000):
        try:
            stage.project.note.delay(f"full-{number}")
        except (OperationalError, redis.RedisError):
            return accepted
        accepted.append(f"full-{number}")
        time.sleep(0.05)
    raise AssertionError("the server never refused")


def writes(stage: Stage) -> bool:
    """Whether the server takes a write."""
    with suppress(redis.RedisError):
        return bool(stage.client.set("probe", 1) and stage.client.delete("probe"))
    return False


@pytest.mark.parametrize(
    ("seconds", "results"),
    [
        (2, "elsewhere"),
        pytest.param(30, "elsewhere", marks=full),
        pytest.param(30, "here", marks=full),
    ],
)
def test_f37_read_only_for_a_while(
    start_server: StartServer,
    stage_on: StageOn,
    figures: Figures,
    seconds: int,
    results: str,
) -> None:
    """A replica for 2 s, 30 s in the full run, and then the master again.

    Where the results go to the same server, a pool whose processes all wait to store
    one takes no task: then F65's 30 s hold.
    """
    server = start_server()
    store = start_server() if results == "elsewhere" else server
    stage = stage_on(server.url, SMARTWORKER_RESULT_URL=store.url)
    with FaultProxy(server.port) as proxy:
        worker = stage.start("-c", str(CONCURRENCY), url=proxy.url, **calm())
        one_more(stage, "before")
        names = begin("prefetched", stage)
        spent = Spent(proxy)
        stage.client.replicaof(HOST, 1)
        stage.open_gate()
        if results == "elsewhere":
            worker.wait_for("broker_lost")
        time.sleep(seconds)
        meanwhile = spent.commands()
        stage.client.replicaof("NO", "ONE")
        begun = time.monotonic()
        one_more(stage, "after")
        resume = first_start(stage, after=begun)
        stage.done(names, BACK)
        stage.settled(BACK)
    dup = stage.record.duplicates()
    cost = meanwhile.total()
    figures(seconds=seconds, lost=0, dup=dup, resume=resume, commands=dict(meanwhile))
    assert dup == 0
    assert resume <= (5 if results == "elsewhere" else 30)
    # In a minute; what has just ended is tried once or twice before the pauses grow.
    assert cost <= (10 if seconds > 2 else 15)
    assert worker.process.poll() is None


@full
def test_f38_a_failover_that_forgets(
    start_server: StartServer, stage_on: StageOn, figures: Figures
) -> None:
    """Behind one address a replica takes over that has not seen the last writes.

    Without Sentinel, whose addresses the settings refuse: an endpoint moves by itself.
    """
    master, replica = start_server(), start_server()
    with redis.Redis.from_url(replica.url) as second, FaultProxy(master.port) as proxy:
        second.replicaof(HOST, master.port)
        stage = stage_on(master.url)
        worker = stage.start("-c", "2", url=proxy.url, **calm())
        stage.publish("late", ["late-1", "late-2"])
        stage.started(2)
        known = [f"known-{number}" for number in range(20)]
        stage.publish("note", known)
        wait_until(lambda: stage.held() == 8, what="a full prefetch")
        assert stage.client.wait(1, 5000) == 1
        second.replicaof("NO", "ONE")
        unseen = [f"unseen-{number}" for number in range(20)]
        stage.publish("note", unseen)
        stage.client.close()
        master.kill()
        proxy._upstream = (HOST, replica.port)
        proxy.close()
        stage.client = redis.Redis.from_url(replica.url)
        stage.open_gate()
        begun = time.monotonic()
        stage.done([*known, "late-1", "late-2"], BACK)
        stage.settled(BACK)
        lost = stage.record.lost(unseen)
        dup = stage.record.duplicates()
        figures(lost=len(lost), dup=dup, seconds=time.monotonic() - begun)
        assert lost == set(unseen)
        assert dup == 0
        assert worker.process.poll() is None


def test_f39_scripts_are_forgotten(stage: Stage, figures: Figures) -> None:
    """SCRIPT FLUSH between two calls costs no error, and no command more."""
    worker = stage.start("-c", "1", **calm())
    control = stage.project.app.control
    smartworker.publish_once(stage.project.note, "a", ("a",))
    stage.done(["a"])
    assert control.ping(timeout=2, limit=1)
    costs = []
    for key in ("b", "c"):
        seen = Seen(stage.client)
        smartworker.publish_once(stage.project.note, key, (key,))
        stage.done([key])
        stage.settled()
        costs.append(seen.commands())
        stage.client.script_flush()
    assert control.ping(timeout=2, limit=1)
    figures(commands=costs[1].total(), more=costs[1].total() - costs[0].total())
    assert costs[1].total() <= costs[0].total() + 1
    assert not [line for line in worker.lines if line.get("level") == "error"]


# -- servers that know nobody --------------------------------------------------------


def test_f40_a_wrong_password_at_the_start(
    start_server: StartServer, stage_on: StageOn, figures: Figures
) -> None:
    """One try, one sentence without the password, exit status 78."""
    server = start_server()
    stage = stage_on(server.url)
    stage.client.config_set("requirepass", "right-pass-word")
    with FaultProxy(server.port) as proxy:
        for password in ("wrong-pass-word@", ""):
            spent = Spent(proxy)
            url = f"redis://{':' if password else ''}{password}{HOST}:{proxy.port}/0"
            worker = stage.spawn("-c", "1", url=url)
            status = worker.process.wait(20)
            worker.kill()
            figures(exit=status, connections=spent.connections)
            assert status == 78
            assert spent.connections == 1
            assert "refused the password" in worker.text
            assert "wrong-pass-word" not in worker.text
            assert "Traceback" not in worker.text


@full
@pytest.mark.timeout(180)
@pytest.mark.parametrize("before", ["", "first-pass-word"])
def test_f40_the_password_changes_while_it_runs(
    start_server: StartServer, stage_on: StageOn, figures: Figures, before: str
) -> None:
    """At most one try in 30 s; back within 35 s after it was put right."""
    server = start_server()
    with FaultProxy(server.port) as proxy:
        login = f":{before}@" if before else ""
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", before)
        stage = stage_on(f"redis://{login}{HOST}:{server.port}/0")
        url = f"redis://{login}{HOST}:{proxy.port}/0"
        worker = stage.start("-c", "2", url=url, **calm())
        one_more(stage, "before")
        stage.settled()
        spent = Spent(proxy)
        stage.client.config_set("requirepass", "second-pass-word")
        proxy.close()
        worker.wait_for("broker_lost")
        time.sleep(35)
        tries = spent.connections
        stage.client.config_set("requirepass", before)
        resume = one_more(stage, "after", BACK)
        stage.settled()
        (lost,) = worker.events("broker_lost")
        figures(tries=tries, resume=resume, limit=BACK)
        assert lost["kind"] == "denied"
        # The first try of all is made at once, as after any lost connection.
        assert tries <= 1 + 35 // 24
        assert resume <= BACK
        assert "first-pass-word" not in worker.text


@pytest.mark.parametrize(
    ("name", "wait_for_it"),
    [
        ("lmove", False),
        ("exists", False),
        pytest.param("lmove", True, marks=full),
        pytest.param("subscribe", True, marks=full),
    ],
)
def test_f41_a_needed_command_is_forbidden(
    fault_server: FaultServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    proxy: FaultProxy,
    figures: Figures,
    name: str,
    wait_for_it: bool,
) -> None:
    """Its name stands in one line, and then there is one try in 30 s.

    The worker stays: what it waits for may be granted while it runs. One priority
    step, for a message is looked for in each.
    """
    conf = configured(broker_transport_options={"priority_steps": [0]})
    with staged(fault_server.url, tmp_path, monkeypatch, FAULTY_CONF=conf) as stage:
        stage.client.execute_command("ACL", "SETUSER", "default", f"-{name}")
        stage.publish("note", ["note"])
        spent = Spent(proxy)
        worker = stage.spawn("-c", "1", url=proxy.url, **calm())
        worker.wait_for("broker_lost")
        commands = spent.commands()
        (lost,) = worker.events("broker_lost")
        figures(commands=dict(commands), kind=lost["kind"])
        assert f"'{name}'" in lost["error"]
        assert lost["kind"] == "denied"
        assert commands.total() <= 8
        assert lost["retry_seconds"] == 30
        if wait_for_it:
            time.sleep(10)
            assert spent.total() == commands.total()
            stage.client.execute_command("ACL", "SETUSER", "default", f"+{name}")
            figures(resume=stage.done(["note"], BACK), limit=BACK)
            stage.settled()


# -- answers that are refusals -------------------------------------------------------

QUOTA = "-ERR max requests limit exceeded. Limit: 500000, Usage: 500000."


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seconds", [1, pytest.param(100, marks=full)])
def test_f42_the_quota_is_used_up(
    stage: Stage, proxy: FaultProxy, figures: Figures, seconds: int
) -> None:
    """Hardly a command for 1 s, or 100 s in place of 10 min; back within 5 min."""
    worker = stage.start("-c", "2", url=proxy.url, **calm())
    one_more(stage, "before")
    stage.settled()
    spent = Spent(proxy)
    proxy.answer(QUOTA)
    stage.publish("note", ["meanwhile"])
    worker.wait_for("broker_lost")
    time.sleep(seconds)
    commands = spent.total()
    proxy.clear()
    (lost,) = worker.events("broker_lost")
    assert lost["kind"] == "quota"
    assert commands <= 12
    assert worker.process.poll() is None
    if seconds < 30:
        figures(seconds=seconds, commands=commands, kind=lost["kind"])
        return
    resume = stage.done(["meanwhile"], 300)
    stage.settled()
    figures(seconds=seconds, commands=commands, resume=resume, limit=300)
    assert stage.record.duplicates() == 0


REFUSALS = (
    "-LOADING Redis is loading the dataset in memory",
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL.",
    "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "-CLUSTERDOWN The cluster is down",
    "-TRYAGAIN Multiple keys request during rehashing of slot",
    "-ERR x",
)


@pytest.mark.parametrize(
    "answer",
    [REFUSALS[0], *(pytest.param(text, marks=full) for text in REFUSALS[1:])],
)
def test_f44_refused_for_a_while(
    stage: Stage, proxy: FaultProxy, figures: Figures, answer: str
) -> None:
    """Every command for a second: the worker waits, and acknowledges once it may."""
    worker = stage.start("-c", "2", url=proxy.url, **calm())
    stage.publish("late", ["late"])
    stage.started(1)
    spent = Spent(proxy)
    proxy.answer(answer, where=lambda link: not subscribed(link))
    stage.publish("note", ["meanwhile"])
    stage.open_gate()
    worker.wait_for("broker_lost")
    time.sleep(1)
    commands = spent.total()
    proxy.clear()
    resume = one_more(stage, "after", BACK)
    stage.done(["late", "meanwhile"], BACK)
    stage.settled(BACK)
    dup = stage.record.duplicates()
    kind = worker.events("broker_lost")[0]["kind"]
    figures(kind=kind, lost=0, dup=dup, commands=commands, resume=resume)
    # A result that is refused for ever, as far as anybody knows, is not waited for.
    assert dup <= len(worker.events("result_lost"))
    assert resume <= BACK
    assert worker.process.poll() is None


@full
def test_f45_no_more_clients(stage: Stage, figures: Figures) -> None:
    """Every place is taken for a second: the worker waits for one."""
    worker = stage.start("-c", "2", **calm())
    stage.publish("late", ["late"])
    stage.started(1)
    ours = {stage.client.client_id()}
    theirs = [c["id"] for c in stage.client.client_list() if int(c["id"]) not in ours]
    before = int(stage.client.config_get("maxclients")["maxclients"])
    stage.client.config_set("maxclients", 1)
    for client in theirs:
        stage.client.client_kill_filter(_id=client)
    worker.wait_for("broker_lost")
    stage.open_gate()
    time.sleep(1)
    stage.client.config_set("maxclients", before)
    resume = one_more(stage, "after", BACK)
    stage.done(["late"], BACK)
    stage.settled(BACK)
    (lost,) = worker.events("broker_lost")
    figures(dup=stage.record.duplicates(), resume=resume, error=lost["error"][:60])
    assert stage.record.duplicates() == 0
    assert resume <= BACK
    assert worker.process.poll() is None


@pytest.mark.parametrize("version", ["6.0.16", pytest.param("5.0.14", marks=full)])
def test_f46_a_server_that_is_too_old(
    stage: Stage, proxy: FaultProxy, figures: Figures, version: str
) -> None:
    """One sentence that names its version and the one that is needed, status 78."""
    body = f"# Server\r\nredis_version:{version}\r\n"
    proxy.answer(f"${len(body)}\r\n{body}", "INFO")
    worker = stage.spawn("-c", "1", url=proxy.url)
    status = worker.process.wait(20)
    worker.kill()
    figures(exit=status, commands=sum(proxy.counters.commands.values()))
    assert status == 78
    assert f"Redis {version}" in worker.text
    assert "6.2" in worker.text
    assert "Traceback" not in worker.text


# -- servers that are none -----------------------------------------------------------


class Listener:
    """Speaks TLS as it is told, answers nothing, and keeps what it is sent."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._listener = socket.create_server((HOST, 0))
        self.port = self._listener.getsockname()[1]
        #: Bytes inside TLS; without a context all bytes.
        self.heard = b""
        self.callers = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Listener":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A thread that accepts is not woken by closing: it is called.
        self._listener.settimeout(0)
        with suppress(OSError):
            socket.create_connection((HOST, self.port), timeout=1).close()
        self._thread.join(10)
        self._listener.close()

    def _run(self) -> None:
        while self._listener.gettimeout() is None:
            with suppress(OSError):
                caller, _ = self._listener.accept()
                with caller:
                    self._listen_to(caller)

    def _listen_to(self, caller: socket.socket) -> None:
        self.callers += 1
        caller.settimeout(2)
        with suppress(OSError):
            if self._context is None:
                self.heard += caller.recv(4096)
                return
            with self._context.wrap_socket(caller, server_side=True) as inside:
                self.heard += inside.recv(4096)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and certificates of it that are good, too old, or another's."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*words: str) -> None:
        done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True)
        assert done.returncode == 0, done.stderr

    key = ["-newkey", "rsa:2048", "-nodes"]
    openssl(
        *("req", "-x509", *key, "-days", "2", "-subj", "/CN=Test authority"),
        *("-keyout", "ca.key", "-out", "ca.pem"),
        *("-addext", "keyUsage=critical,keyCertSign"),
    )
    openssl(
        *("req", "-x509", *key, "-days", "2", "-subj", "/CN=127.0.0.1"),
        *("-keyout", "self.key", "-out", "self.pem"),
        *("-addext", "subjectAltName=IP:127.0.0.1"),
    )
    for name, days, place in (
        ("good", "2", "IP:127.0.0.1"),
        ("expired", "-1", "IP:127.0.0.1"),
        ("other", "2", "DNS:other.example"),
    ):
        openssl(
            *("req", "-new", *key, "-subj", f"/CN={name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        (folder / f"{name}.ext").write_text(f"subjectAltName={place}\n")
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem"),
            *("-CAkey", "ca.key", "-CAcreateserial", "-days", days),
            *("-out", f"{name}.pem", "-extfile", f"{name}.ext"),
        )
    return folder


def context_of(certificates: Path, name: str) -> ssl.SSLContext | None:
    """A server's side with this certificate; `plain` has none, `old` is TLS 1.0."""
    if name == "plain":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if name == "old":
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = ssl.TLSVersion.TLSv1
        name = "good"
    context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("name", ["expired", "self", "other", "plain", "old"])
def test_f43_tls_that_cannot_be_trusted(
    stage: Stage, certificates: Path, figures: Figures, name: str
) -> None:
    """Refused at the start before a byte of the password is sent.

    The rest of TLS is in tests/contract/test_tls.py.
    """
    with Listener(context_of(certificates, name)) as listener:
        url = f"rediss://default:a-pass-word@{HOST}:{listener.port}/0"
        authority = str(certificates / "ca.pem")
        worker = stage.spawn("-c", "1", url=url, SMARTWORKER_TLS_CA=authority)
        status = worker.process.wait(30)
        worker.kill()
    figures(exit=status, callers=listener.callers, bytes_inside=len(listener.heard))
    assert status in (69, 78)
    assert b"a-pass-word" not in listener.heard
    assert b"AUTH" not in listener.heard
    if name != "plain":
        assert listener.heard == b""
    assert "a-pass-word" not in worker.text
    assert "Traceback" not in worker.text
    assert worker.text.count("smartworker: Redis at") == 1
