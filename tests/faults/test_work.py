"""Rows F48, F51, F53 to F58, F60, F64, F65, F67 to F69 and F72: work and neighbours.

Times are shorter here than in the matrix where a docstring says so.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery, chord
from kombu import Consumer, Queue

import smartworker
from smartworker.settings import Settings
from smartworker.store import keys
from tests.faults.conftest import Figures, StartServer, staged
from tests.faults.habits import (
    BACK,
    CONCURRENCY,
    PEAK,
    calm,
    configured,
    full,
    one_more,
)
from tests.faults.measure import Seen, Spent
from tests.faults.proxy import FaultProxy
from tests.faults.server import FaultServer
from tests.faults.stage import PROJECT, QUEUE, ROOT, Stage
from tests.processes import WorkerProcess, wait_until
from tests.programs import fake_time_library

STOCK = "tests.faults.stock"

# -- clocks ----------------------------------------------------------------------------


@full
@pytest.mark.parametrize("skew", ["+2h", "-2h", "+400d"])
def test_f48_a_clock_that_is_wrong(stage: Stage, figures: Figures, skew: str) -> None:
    """One of two workers has another time: it keeps what it holds, and is rescued."""
    lease = {"SMARTWORKER_LEASE": "2s"}
    fake = {"LD_PRELOAD": fake_time_library(), "FAKETIME": skew}
    # As on a machine whose wall clock is wrong: time passes there as it does here.
    fake["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
    wrong = stage.start("-P", "threads", "-c", "2", **fake, **lease)
    right = stage.start("-P", "threads", "-c", "2", **lease)
    stage.publish("late", range(16))
    stage.started(4)
    time.sleep(2 * 2)  # two leases: both workers have renewed theirs
    assert len(stage.record.runs()) == 4
    assert not [*wrong.events("messages_rescued"), *right.events("messages_rescued")]
    wrong.kill_all()
    stage.open_gate()
    took = stage.done(range(16), 2 + 5 + PEAK)
    stage.settled()
    dup = stage.record.duplicates()
    figures(lost=0, dup=dup, again=took)
    assert dup == 2  # those of the worker that was killed


@pytest.mark.parametrize(
    "zone",
    [
        "Mars/Olympus",
        pytest.param("EST5EDT,M3.2.0,M11.1.0", marks=full),
        pytest.param("", marks=full),
    ],
)
def test_f51_no_time_zones_on_the_machine(stage: Stage, zone: str) -> None:
    """Neither a database nor a proper TZ: the windows are where they should be."""
    asked = ("windows", "--at", "2026-11-01T01:30:00-04:00", "--json")
    env = {"TZ": zone, "PYTHONTZPATH": "", "SMARTWORKER_WINDOWS": "20:00-23:00=30s"}
    found = json.loads(program(stage, "smartworker.cli.main", *asked, **env).stdout)
    assert found["poll_seconds"] == PEAK
    assert found["window"] is None
    assert found["until"] == "2026-11-01T20:00:00-05:00"


# -- tasks for later -----------------------------------------------------------------


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("how", "lease", "tasks"),
    [
        pytest.param("stopped", 1, 50, marks=full),
        pytest.param("stopped", 6, 1000, marks=full),
        pytest.param("killed", 6, 1000, marks=full),
    ],
)
def test_f53_tasks_for_later(
    stage: Stage, figures: Figures, how: str, lease: int, tasks: int
) -> None:
    """Due in two leases and more, over a restart in between: each once, and in time."""
    env = {"SMARTWORKER_LEASE": f"{lease}s"}
    first = stage.start("-c", str(CONCURRENCY), **env)
    # Publishing takes a while, and running them does: a hundred a second at the most.
    due = time.time() + max(2 * lease, 3) + tasks / 400
    dues = {str(n): due + n / 100 for n in range(tasks)}
    for number, moment in dues.items():
        stage.project.note.apply_async((number,), countdown=moment - time.time())
    wait_until(lambda: stage.held() == tasks, what="all of them held")
    if how == "stopped":
        assert first.stop() == 0
    else:
        first.kill_all()
    assert not stage.record.runs()
    stage.start("-c", str(CONCURRENCY), **env)
    stage.done(dues, due - time.time() + tasks / 100 + 20)
    stage.settled()
    late = [run.at - dues[run.number] for run in stage.record.runs()]
    dup = stage.record.duplicates()
    figures(tasks=tasks, lost=0, dup=dup, earliest=min(late), latest=max(late))
    assert dup == 0
    assert min(late) >= -0.05
    assert max(late) <= 2


# -- Celery as it is, on the same queues ---------------------------------------------


def stock_worker(stage: Stage, *args: str, **env: str) -> WorkerProcess:
    """A worker without smartworker, ready."""
    environment = {**stage.environment, **env}
    worker = WorkerProcess(ROOT, stage.url, *args, app=STOCK, **environment)
    stage.workers.append(worker)
    wait_until(lambda: " ready." in worker.text, 30, "a stock worker")
    return worker


def program(stage: Stage, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A Python program in the project's environment, run to its end."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        env={**os.environ, **stage.environment, "REDIS_URL": stage.url, **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_f54_a_stock_producer(stage: Stage, figures: Figures) -> None:
    """A thousand messages in a flood, after some that come one by one: none waits."""
    stage.start("-c", str(CONCURRENCY), SMARTWORKER_QUIET_POLL="30m")
    moments = program(stage, STOCK, "10", "0.05").stdout.split()
    stage.done([f"stock-{n}" for n in range(10)])
    starts = {run.number: run.at for run in stage.record.runs()}
    waits = [starts[f"stock-{n}"] - float(at) for n, at in enumerate(moments)]
    program(stage, STOCK, "1000", "0")
    stage.settled(60)
    counts = stage.record.starts()
    lost = stage.record.lost(f"stock-{n}" for n in range(1000))
    dup = sum(counts.values()) - len(counts) - 10
    figures(lost=len(lost), dup=dup, pick_up=max(waits))
    assert not lost
    assert dup == 0
    assert max(waits) <= 1


def test_f55_a_stock_worker(stage: Stage, figures: Figures) -> None:
    """It runs what we publish: our messages have the parts that its own have."""
    stage.publish("note", range(20))
    program(stage, STOCK, "1", "0")
    *ours, theirs = map(json.loads, stage.queue())
    stock_worker(stage, "-c", "2")
    stage.done([*range(20), "stock-0"])
    dup = stage.record.duplicates()
    marked = ours[0]["properties"].keys() - theirs["properties"].keys()
    figures(lost=0, dup=dup, extra_properties=sorted(marked))
    assert dup == 0
    assert len(ours) == 20
    assert ours[0].keys() == theirs.keys()
    assert ours[0]["headers"].keys() == theirs["headers"].keys()
    assert marked == {"smartworker"}
    for name in ("content-type", "content-encoding"):
        assert ours[0][name] == theirs[name]
    for name in ("body_encoding", "delivery_info", "delivery_mode", "priority"):
        assert ours[0]["properties"][name] == theirs["properties"][name]


@full
def test_f56_a_stock_worker_with_a_short_visibility(
    stage: Stage, figures: Figures
) -> None:
    """Tasks of 20 s, 5 s visibility: what we hold is run by nobody else."""
    smart = stage.start("-c", "4")
    stock_worker(stage, "-c", "2", STOCK_VISIBILITY="5")
    stage.publish("note", range(12), seconds=20)
    stage.started(6, 10)
    ours = pool_of(smart)
    mine = {run.number for run in stage.record.runs() if run.pid in ours}
    stage.done(range(12), 90)
    counts = stage.record.starts()
    figures(ours=len(mine), dup=sum(counts[number] - 1 for number in mine))
    assert len(mine) == 4
    assert {number: counts[number] for number in mine} == dict.fromkeys(mine, 1)


def pool_of(worker: WorkerProcess) -> set[int]:
    """The pool processes of a worker."""
    pid = worker.process.pid
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return {int(child) for child in path.read_text().split()}


@full
@pytest.mark.parametrize("how", ["at the start", "by rescue"])
def test_f57_upgrade(
    fault_server: FaultServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    figures: Figures,
    how: str,
) -> None:
    """A stock worker dies with messages everywhere; its visibility timeout is 3 s."""
    conf = configured(broker_transport_options={"visibility_timeout": 3})
    with staged(fault_server.url, tmp_path, monkeypatch, FAULTY_CONF=conf) as stage:
        stock = stock_worker(stage, "-c", "2")
        stage.project.note.apply_async(("later",), countdown=8)
        stage.publish("late", range(20))
        stage.started(2)
        wait_until(lambda: stage.client.hlen("unacked") >= 9, what="a full prefetch")
        stock.kill_all()
        stage.open_gate()
        if how == "at the start":
            time.sleep(3.5)
        stage.start("-c", "2")
        if how == "by rescue":
            stage.done(range(9, 20))  # what nobody had taken
            time.sleep(3.5)
            assert "came back" in program(stage, *RESCUE).stdout
        names = [*range(20), "later"]
        stage.done(names, 20)
        stage.settled()
        dup = stage.record.duplicates()
        figures(lost=0, dup=dup, left=stage.client.hlen("unacked"))
        assert dup <= 2
        assert stage.client.hlen("unacked") == 0


RESCUE = ("smartworker.cli.main", "rescue", "-A", PROJECT)


@full
@pytest.mark.parametrize("gone", ["killed", "stopped"])
def test_f57_rollback(stage: Stage, figures: Figures, gone: str) -> None:
    """Our worker goes with messages everywhere: after `rescue` a stock one runs all."""
    smart = stage.start("-c", "2", SMARTWORKER_LEASE="1s")
    later = {"countdown": 3}
    stage.project.note.apply_async(("later",), **later)
    stage.publish("late", range(20))
    stage.started(2)
    wait_until(lambda: stage.held() == 9, what="a full prefetch")
    if gone == "killed":
        smart.kill_all()
        wait_until(lambda: ended(stage), 5, "the end of its lease")
        rescued = program(stage, *RESCUE, "--json").stdout
        found = sum(one["returned"] for one in json.loads(rescued)["lists"])
        assert found == 9
    else:
        smart.send(signal.SIGTERM)
        stage.open_gate()
        assert smart.process.wait(20) == 0
    stage.open_gate()
    stock_worker(stage, "-c", "2")
    stage.done([*range(20), "later"], 20)
    dup = stage.record.duplicates()
    figures(lost=0, dup=dup)
    assert dup <= (2 if gone == "killed" else 0)
    assert stage.in_flight() == {}
    assert stage.client.zcard(keys.LEASES) == 0


def ended(stage: Stage) -> bool:
    """Whether all leases have ended by the server's clock."""
    seconds, _ = stage.client.time()
    ends = stage.client.zrange(keys.LEASES, 0, -1, withscores=True)
    return all(end < 1000 * seconds for _, end in ends)


# -- remote control ------------------------------------------------------------------


def test_f58_remote_control(stage: Stage, figures: Figures) -> None:
    """Everything answers, is obeyed, and costs a few commands."""
    worker = stage.start("-c", "1", **calm())
    app, costs = stage.project.app, Counter()
    inspect = app.control.inspect(timeout=5, limit=1)
    stage.publish("late", ["late"])
    stage.started(1)

    @contextmanager
    def counted(name: str) -> Iterator[None]:
        seen = Seen(stage.client)
        yield
        costs[name] = seen.commands().total()

    with counted("ping"):
        assert list(inspect.ping().values()) == [{"ok": "pong"}]
    with counted("active"):
        (active,) = inspect.active().values()
    with counted("stats"):
        (stats,) = inspect.stats().values()
    with counted("status"):
        (status,) = inspect._request("smart_status").values()
    revoked = stage.project.note.delay("revoked")
    with counted("revoke"):
        assert app.control.revoke(revoked.id, reply=True, timeout=5, limit=1)
    with counted("rate_limit"):
        (answer,) = app.control.rate_limit(
            f"{PROJECT}.carry", "600/m", reply=True, timeout=5, limit=1
        )
    assert [task["args"] for task in active] == [["late"]]
    assert stats["pool"]["max-concurrency"] == 1
    assert status["held"] == 1
    assert "ok" in next(iter(answer.values()))
    stage.open_gate()
    stage.done(["late"])
    stage.settled()
    assert not stage.record.starts()["revoked"]
    assert revoked.state == "REVOKED"
    stage.gate.unlink()
    stage.publish("late", ["late-2"])
    stage.started(2)
    stage.publish("note", range(50))
    wait_until(lambda: stage.held() == 4, what="a full prefetch")
    with counted("purge"):
        purged = app.control.purge()
    stage.open_gate()
    stage.done(["late-2"])
    with counted("shutdown"):
        app.control.shutdown()
    assert worker.process.wait(20) == 0
    figures(purged=purged, **{f"{name}_commands": n for name, n in costs.items()})
    assert purged == 47
    # Measured 16 to 22 for each question and its answer, most of them kombu's.
    assert max(costs.values()) <= 25


@full
def test_f58_the_commands_of_celery(stage: Stage) -> None:
    """`celery inspect` and `celery purge` as people type them."""
    stage.start("-c", "1", **calm())
    words = ("celery", "-A", PROJECT)
    assert "pong" in program(stage, *words, "inspect", "ping", "-t", "1").stdout
    stage.publish("late", ["late"])
    stage.started(1)
    stage.publish("note", range(9))
    wait_until(lambda: stage.held() == 4, what="a full prefetch")
    assert "Purged 6 messages" in program(stage, *words, "purge", "-f").stdout
    stage.open_gate()
    stage.settled()


# -- several queues ------------------------------------------------------------------

STEPS = list(range(10))


def test_f60_three_queues_of_ten_priorities(
    fault_server: FaultServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    figures: Figures,
) -> None:
    """One is flooded: the others wait two rounds at the most; the urgent go first."""
    conf = configured(
        broker_transport_options={"priority_steps": STEPS},
        worker_prefetch_multiplier=1,
    )
    with staged(fault_server.url, tmp_path, monkeypatch, FAULTY_CONF=conf) as stage:
        note = stage.project.note
        for n in range(300):
            note.apply_async((f"flood-{n}",), queue="flood", priority=9)
        for n in range(20):
            for queue in ("b", "c"):
                note.apply_async((f"{queue}-{n}",), queue=queue, priority=9)
        order = random.Random(1).sample(STEPS, 10)
        for step in order:
            note.apply_async((f"d-{step}",), queue="d", priority=step)
        stage.start("-c", "1", "-Q", "flood,b,c")
        wait_until(lambda: len(stage.record.ends()) == 340, 30, "all of the three")
        started = [run.number for run in stage.record.runs()]
        gaps = [longest_gap(started, queue) for queue in ("b", "c")]
        for worker in stage.workers:
            worker.kill()
        stage.start("-c", "1", "-Q", "d")
        stage.done([f"d-{step}" for step in STEPS])
        urgent = [run.number for run in stage.record.runs()][340:]
        figures(longest_wait=max(gaps), rounds=max(gaps) / 3, order=urgent[:3])
        assert max(gaps) <= 2 * 3
        assert urgent == [f"d-{step}" for step in STEPS]


def longest_gap(started: list[str], queue: str) -> int:
    """The most starts between two of a queue, and before its first."""
    places = [n for n, name in enumerate(started) if name.startswith(f"{queue}-")]
    return max(after - before for before, after in pairwise([-1, *places]))


# -- tasks that publish, results, chords ---------------------------------------------


class Kills:
    """Kills connections of others at random until it ends."""

    def __init__(self, stage: Stage, *, seed: int) -> None:
        self._client = redis.Redis.from_url(stage.url)
        self._ours = {stage.client.client_id(), self._client.client_id()}
        self._rng = random.Random(seed)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.count = 0

    def __enter__(self) -> "Kills":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(10)
        self._client.close()

    def _run(self) -> None:
        while not self._stopping.wait(self._rng.uniform(0.01, 0.06)):
            ids = [int(client["id"]) for client in self._client.client_list()]
            others = [one for one in ids if one not in self._ours]
            if others:
                chosen = self._rng.choice(others)
                self.count += self._client.client_kill_filter(_id=chosen)


def subtasks(parents: range, children: int) -> list[str]:
    """What the parents publish."""
    return [f"{parent}.{child}" for parent in parents for child in range(children)]


def test_f64_subtasks_while_connections_are_killed(
    stage: Stage, figures: Figures, seed: int
) -> None:
    """Two hundred parents with five children each: every child runs."""
    parents = range(200)
    stage.publish("parent", parents, children=5)
    stage.start("-c", str(CONCURRENCY))
    with Kills(stage, seed=seed) as kills:
        stage.done(parents, BACK)
        stage.done(subtasks(parents, 5), BACK)
    stage.settled(BACK)
    dup = stage.record.duplicates()
    figures(kills=kills.count, lost=0, dup=dup)
    assert kills.count >= 20
    # kombu publishes again what may have been published: one for a kill at the most.
    assert dup <= kills.count


@full
def test_f64_subtasks_while_the_server_restarts(
    start_server: StartServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    figures: Figures,
) -> None:
    """A parent that gets the error fails and is sent again; no other child is lost."""
    server = start_server(tmp_path / "data", "--appendfsync", "always")
    with staged(server.url, tmp_path, monkeypatch) as stage:
        parents = range(400)
        stage.publish("parent", parents, children=5)
        worker = stage.start("-c", str(CONCURRENCY))
        stage.started(100)
        server.kill()
        time.sleep(2)
        server.restart()
        stage.client.connection_pool.disconnect()
        stage.settled(BACK)
        failed = sorted(map(int, stage.record.lost(parents)))
        finished = [n for n in parents if n not in failed]
        lost = stage.record.lost(f"{n}.{child}" for n in finished for child in range(5))
        stage.publish("parent", failed, children=5)
        stage.done(parents, BACK)
        stage.done(subtasks(parents, 5), BACK)
        said = len(worker.events("task_failed"))
        figures(failed=len(failed), lost=len(lost), dup=stage.record.duplicates())
        assert not lost
        assert len(failed) <= said <= CONCURRENCY


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seconds", [1, pytest.param(60, marks=full)])
def test_f65_the_result_store_is_away(
    start_server: StartServer, stage: Stage, figures: Figures, seconds: int
) -> None:
    """For 1 s, 60 s in the full run: the results come, and only then is it done."""
    store = start_server()
    app = stage.project.app
    worker = stage.start("-c", "2", SMARTWORKER_RESULT_URL=store.url, **calm())
    late = [stage.project.late.delay(f"late-{n}") for n in range(2)]
    stage.started(2)
    held = stage.held()
    store.kill()
    stage.open_gate()
    stage.done(["late-0", "late-1"])
    worker.wait_for("results_away", 2)
    time.sleep(seconds)
    kept = stage.held()
    store.restart()
    with redis.Redis.from_url(store.url) as results:
        visible = wait_until(
            lambda: all(results.exists(f"celery-task-meta-{one.id}") for one in late),
            60,
            "the results",
        )
        states = {
            json.loads(results.get(f"celery-task-meta-{o.id}"))["status"] for o in late
        }
    stage.settled()
    dup = stage.record.duplicates()
    figures(seconds=seconds, lost=0, dup=dup, visible=visible, held=kept)
    assert app.conf.task_acks_late
    assert states == {"SUCCESS"}
    assert kept == held == 2
    assert visible <= 30
    assert dup == 0


@full
def test_f67_a_chord_in_a_storm(stage: Stage, figures: Figures, seed: int) -> None:
    """Fifty tasks, connections and a child killed meanwhile: one callback."""
    note = stage.project.note
    worker = stage.start("-c", str(CONCURRENCY))
    header = [note.s(n, seconds=0.15) for n in range(50)]
    chord(header, app=stage.project.app)(note.si("callback"))
    stage.started(CONCURRENCY)
    with Kills(stage, seed=seed) as kills:
        os.kill(min(pool_of(worker)), signal.SIGKILL)
        stage.done([*range(50), "callback"], 60)
    stage.settled(BACK)
    counts = stage.record.starts()
    dup = stage.record.duplicates()
    figures(kills=kills.count, callbacks=counts["callback"], dup=dup)
    assert counts["callback"] == 1


# -- several workers -----------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"SMARTWORKER_QUIET_POLL": "soon"},
        {"FAULTY_CONF": "no JSON: the project cannot be imported"},
    ],
)
def test_f68_a_start_that_fails(stage: Stage, wrong: dict[str, str]) -> None:
    """A wrong setting, an error in the project: it ends before it asks the server.

    Starting it again and again is the platform's, and so are the pauses; what a good
    start costs is in F01.
    """
    seen = Seen(stage.client)
    worker = stage.spawn("-c", "1", **wrong)
    assert worker.process.wait(20) != 0
    assert seen.commands() == {}


@full
def test_f69_three_idle_workers(
    stage: Stage, proxy: FaultProxy, figures: Figures
) -> None:
    """20 s for an hour: three times the commands of one; a publish makes no herd."""
    for _ in range(3):
        stage.start("-c", "2", url=proxy.url, SMARTWORKER_LEASE="300s")
    seconds = 10 * PEAK
    spent = Spent(proxy)
    time.sleep(seconds)
    idle = spent.commands()
    wasted = []
    for number in range(5):
        spent = Spent(proxy)
        one_more(stage, number)
        stage.settled()
        wasted.append(spent.commands()["LMOVE"] - 1)
        time.sleep(0.5)
    figures(idle=dict(idle), single=seconds / PEAK, wasted_claims=wasted)
    assert idle.keys() == {"EXISTS"}
    assert idle.total() <= 3 * (seconds / PEAK + 1)
    assert max(wasted) <= 2  # of two others, one each


@full
def test_f72_two_workers_of_one_name(stage: Stage, figures: Figures) -> None:
    """The second copy shares no list with the first, and one's death is no other's."""
    name = ("-n", "same@host", "-c", "2")
    first = stage.start(*name, SMARTWORKER_LEASE="2s")
    stage.start(*name, SMARTWORKER_LEASE="2s")
    stage.publish("late", range(12))
    stage.started(4)
    wait_until(lambda: len(stage.in_flight()) == 2, what="a list for each")
    held = stage.held()
    first.kill_all()
    stage.open_gate()
    stage.done(range(12), 2 + 5 + PEAK)
    stage.settled()
    dup = stage.record.duplicates()
    figures(lists=2, held=held, lost=0, dup=dup)
    assert held == 12
    assert dup <= 2


def test_f72_two_apps_in_one_process(
    fault_server: FaultServer, start_server: StartServer
) -> None:
    """An acknowledgement of one leaves the other's message alone, on any server."""
    servers = [fault_server, fault_server, start_server()]
    apps, got, lists = [], [], []
    for number, server in enumerate(servers):
        app = smartworker.setup(
            Celery(f"app{number}", set_as_current=False),
            Settings(redis_url=server.url, lease=timedelta(seconds=60)),
        )
        connection = app.connection_for_read()
        queue = Queue(f"q{number}", routing_key=f"q{number}")
        channel = connection.channel()
        taken: list[Any] = []
        Consumer(channel, [queue], on_message=taken.append).consume()
        with app.connection_for_write() as writer:
            writer.SimpleQueue(queue.name).put({"number": number})
        connection.drain_events(timeout=5)
        apps.append((app, connection))
        got += taken
        lists.append(keys.inflight(connection.transport.cycle.worker, queue.name))
    assert [message.payload["number"] for message in got] == [0, 1, 2]
    got[0].ack()
    clients = [redis.Redis.from_url(server.url) for server in servers]
    sizes = [client.llen(name) for client, name in zip(clients, lists, strict=True)]
    assert sizes == [0, 1, 1]
    assert len(set(lists)) == 3
    for message in got[1:]:
        message.ack()
    for app, connection in apps:
        connection.release()
        app.close()
    for client in clients:
        assert client.keys("smartworker:inflight:*") == []
        client.close()
    assert QUEUE not in lists
