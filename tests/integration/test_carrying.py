"""Real prefork workers: results go home with the outcome, and none is ever lost."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import redis
from celery import chord
from kombu import pools

from smartworker.store.client import connection_options
from smartworker.worker.luggage import LARGEST
from tests.integration.conftest import HERE
from tests.processes import WorkerProcess, wait_until

NO_RUNS = "smartworker:inflight:*"


class Line:
    """What passed a server: who sent what to which key, in this order."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.seen: list[tuple[str, str, str]] = []

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Write down what is sent in here."""
        with self.client.monitor() as monitor:
            reader = Thread(target=self._read, args=(monitor,))
            reader.start()
            yield
            self.client.echo("that is all")
            reader.join(10)

    def _read(self, monitor: Any) -> None:
        for line in monitor.listen():
            name, *arguments = line["command"].split(" ", 2)
            if name.upper() == "ECHO":
                return
            who = f"{line['client_address']}:{line['client_port']}"
            self.seen.append((who, name.upper(), (arguments or [""])[0]))

    def senders(self, name: str, of: str = "") -> set[str]:
        """Whose connections sent a command for keys that begin so."""
        return {who for who, n, key in self.seen if n == name and key.startswith(of)}

    def at_home(self) -> bool:
        """Whether all results came over the connection of the acknowledgements."""
        results = self.senders("SET", "celery-task-meta-")
        assert results
        return results == self.senders("LREM")


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """Somebody who looks."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(redis_url, **options) as made:
        yield made
        made.config_set("maxmemory", 0)


@pytest.fixture
def line(client: Any) -> Line:
    """What passes the server."""
    return Line(client)


@pytest.fixture
def carrying(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The project, as a producer in this process."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.syspath_prepend(str(HERE))
    sys.modules.pop("carrying", None)
    import carrying

    yield carrying
    carrying.app.close()
    pools.reset()
    carrying.app.backend.client.connection_pool.disconnect()
    sys.modules.pop("carrying", None)


def start(
    start_worker: Any, *args: str, conf: dict[str, Any] | None = None, **env: str
) -> WorkerProcess:
    """A worker of this project that is ready."""
    said = json.dumps(conf or {})
    worker = start_worker("-c", "2", *args, app="carrying", CARRYING_CONF=said, **env)
    worker.wait_for("worker_ready", seconds=30)
    return worker


def meta(client: Any, result: Any) -> dict[str, Any]:
    """What is stored of a task."""
    return json.loads(client.get(f"celery-task-meta-{result.id}") or "{}")


def settled(client: Any) -> None:
    """Nothing is in flight any more."""
    wait_until(lambda: not client.keys(NO_RUNS), what="all acknowledged")


# -- what goes home, and what does not -------------------------------------------------


@pytest.mark.parametrize(
    "conf",
    [
        {},
        {"worker_pool": "prefork", "result_extended": True},
        {"result_serializer": "pickle", "result_accept_content": ["pickle"]},
        {"result_compression": "gzip"},
    ],
    ids=["usual", "extended", "pickle", "compressed"],
)
def test_results_go_home(start_worker, carrying, client, line, conf):
    """Over the connection of the acknowledgements, in front of them, one SET each."""
    carrying.app.conf.update(conf)
    start(start_worker, conf=conf)
    with line.watched():
        results = [carrying.give.delay(3) for _ in range(6)]
        assert [result.get(timeout=10) for result in results] == ["xxx"] * 6
        settled(client)
    assert line.at_home()
    kinds = [name for _, name, _ in line.seen]
    assert kinds.index("SET") < kinds.index("LREM")
    assert (kinds.count("SET"), kinds.count("LREM")) == (6, 6)
    assert 3590 <= client.ttl(f"celery-task-meta-{results[0].id}") <= 3600
    if conf.get("result_extended"):
        assert meta(client, results[0])["name"] == "carrying.give"


@pytest.mark.parametrize(
    "args", [("-P", "threads"), ("-P", "solo")], ids=["threads", "solo"]
)
def test_other_pools_store_by_themselves(start_worker, carrying, client, line, args):
    """There is no other process that the result could go to."""
    start(start_worker, *args)
    with line.watched():
        assert carrying.give.delay(3).get(timeout=10) == "xxx"
        settled(client)
    assert not line.at_home()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("give", (LARGEST + 1,)), ("early", ())],
    ids=["large", "acknowledged early"],
)
def test_some_results_are_stored_where_they_are_made(
    start_worker, carrying, client, line, name, arguments
):
    """One that would fill the pipe, and one whose message is gone already."""
    start(start_worker)
    with line.watched():
        result = getattr(carrying, name).delay(*arguments).get(timeout=10)
        settled(client)
    assert set(result) == {"x"}
    assert not line.at_home()


def test_a_store_of_its_own(start_worker, carrying, client, line):
    """Another database has other connections: the pool's process stores there."""
    url = carrying.app.conf.broker_url.replace("/0", "") + "/1"
    start(start_worker, SMARTWORKER_RESULT_URL=url)
    with line.watched():
        result = carrying.give.delay(3)
        with redis.Redis.from_url(url) as store:
            key = f"celery-task-meta-{result.id}"
            wait_until(lambda: store.exists(key), what="the result")
        settled(client)
    assert not line.at_home()


def test_no_result_is_no_set(start_worker, carrying, client, line):
    """Ignored where it was sent."""
    start(start_worker)
    with line.watched():
        carrying.give.apply_async(ignore_result=True)
        wait_until(lambda: line.senders("LREM"), what="the end")
    assert not line.senders("SET", "celery-task-meta-")


def test_a_chord_is_counted_at_once(start_worker, carrying):
    """Its body gets what all of its parts gave."""
    start(start_worker)
    parts = [carrying.give.s(n) for n in range(1, 6)]
    assert chord(parts)(carrying.total.s()).get(timeout=20) == 15


def test_a_retry_stands_until_the_next_run_ends(start_worker, carrying, client):
    """And nothing of ours is in the headers that the next run gets."""
    start(start_worker)
    assert carrying.again.delay().get(timeout=10) == []
    settled(client)


def test_what_a_task_stores_by_itself_is_there_at_once(start_worker, carrying, client):
    """Before it has ended, as with stock Celery."""
    start(start_worker)
    result = carrying.by_hand.delay()
    assert result.get(timeout=10) == "by hand"
    settled(client)
    assert client.get("seen") == b"SUCCESS"


@pytest.mark.parametrize("end", ["success", "failure", "retry"])
def test_a_task_that_calls_another_one_in_its_process(
    start_worker, carrying, client, line, end
):
    """The end of that one is not its own: what it stores meanwhile is there at once,
    and nothing but its result goes home.
    """
    start(start_worker)
    with line.watched():
        result = carrying.calls.delay(end)
        wait_until(lambda: meta(client, result).get("status") == end.upper())
        if end != "retry":  # its next run is held until it is due
            settled(client)
    assert client.lrange("seen", 0, -1) == [b"HALFWAY"]
    stored = meta(client, result)
    senders = line.senders("SET", f"celery-task-meta-{result.id}")
    if end == "success":
        assert stored["result"] == "x"
        assert senders & line.senders("LREM")
    else:
        assert not senders & line.senders("LREM")
    if end == "failure":
        assert stored["result"]["exc_type"] == "ValueError"
        assert "after the other one" in stored["traceback"]
    if end == "retry":
        assert stored["retry_at"]


@pytest.mark.parametrize("end", ["success", "failure"])
def test_a_part_of_a_chord_that_calls_another_one(start_worker, carrying, client, end):
    """It is stored and counted at once, however it ends."""
    start(start_worker)
    body = chord([carrying.calls.s(end), carrying.give.s(2)])(carrying.total.s())
    wait_until(lambda: meta(client, body).get("status") == end.upper())
    settled(client)
    states = [meta(client, part)["status"] for part in body.parent]
    assert states == [end.upper(), "SUCCESS"]


def test_a_stock_sender_hears_of_it(start_worker, client, redis_url):
    """From the pool's process, which publishes what it has stored."""
    from celery import Celery

    start(start_worker)
    with Celery("stock", broker=redis_url, backend=redis_url) as stock:
        # A transport that smartworker has not touched in this process.
        from kombu.transport.redis import Transport

        with stock.connection_for_write(transport=Transport) as connection:
            result = stock.send_task("carrying.give", (2,), connection=connection)
        wait_until(lambda: meta(client, result).get("result") == "xx", what="result")
    settled(client)


# -- when something goes wrong after the end -------------------------------------------


def test_a_message_that_goes_back_after_the_end(start_worker, carrying, client):
    """Its result is stored all the same, and the second delivery finds it."""
    start(start_worker)
    result = carrying.unsure.delay()
    settled(client)
    wait_until(lambda: meta(client, result).get("status") == "SUCCESS")


def test_a_process_that_leaves_after_the_end(start_worker, carrying, client, tmp_path):
    """The task has succeeded, and does not run again."""
    start(start_worker)
    runs = tmp_path / "runs"
    result = carrying.unwell.delay(str(runs))
    wait_until(lambda: meta(client, result).get("status") == "SUCCESS")
    settled(client)
    assert runs.read_text() == "x"


def test_killed_before_the_result_left(start_worker, carrying, client, tmp_path):
    """The message is still in flight: the next worker runs the task once more."""
    gate = tmp_path / "gate"
    lease = {"SMARTWORKER_LEASE": "2s"}
    worker = start(start_worker, **lease)
    result = carrying.wait.delay(str(gate))
    runs = Path(f"{gate}.runs")
    wait_until(runs.exists, what="the run")
    worker.send(signal.SIGSTOP)  # its parent alone: nobody hears of the outcome
    gate.touch()
    time.sleep(0.5)
    assert meta(client, result) == {}
    assert len(client.keys(NO_RUNS)) == 1
    worker.kill_all()
    start(start_worker, **lease)
    assert result.get(timeout=20) == "x"
    settled(client)
    assert runs.read_text() == "xx"


def test_a_worker_that_stops_takes_its_results_along(
    start_worker, carrying, client, tmp_path
):
    """SIGTERM while tasks run: they end, are stored and acknowledged; status 0."""
    gate = tmp_path / "gate"
    worker = start(start_worker)
    results = [carrying.wait.delay(str(gate)) for _ in range(2)]
    runs = Path(f"{gate}.runs")
    wait_until(lambda: runs.exists() and len(runs.read_text()) == 2, what="both")
    worker.send(signal.SIGTERM)
    time.sleep(0.5)
    gate.touch()
    assert worker.process.wait(20) == 0
    assert [meta(client, one).get("status") for one in results] == ["SUCCESS"] * 2
    assert client.keys(NO_RUNS) == []


@pytest.mark.parametrize("stops", [False, True], ids=["stays", "stops"])
def test_a_full_server_keeps_the_message(
    start_worker, carrying, client, tmp_path, stops
):
    """Until it takes the result; of a worker that stops, for the next one."""
    gate = tmp_path / "gate"
    lease = {"SMARTWORKER_LEASE": "2s"}
    worker = start(start_worker, **lease)
    result = carrying.wait.delay(str(gate))
    runs = Path(f"{gate}.runs")
    wait_until(runs.exists, what="the run")
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    gate.touch()
    worker.wait_for("broker_lost")
    if stops:
        worker.send(signal.SIGTERM)
        worker.process.wait(30)
    assert meta(client, result) == {}
    assert len(client.keys(NO_RUNS)) == 1
    client.config_set("maxmemory", 0)
    if stops:
        start(start_worker, **lease)
    else:
        os.utime(gate)
        carrying.give.delay()  # heard by the doorbell: the worker tries at once
    assert result.get(timeout=45) == "x"
    settled(client)
    assert runs.read_text() == ("xx" if stops else "x")


def test_a_result_that_is_refused_for_good(start_worker, carrying, client, redis_url):
    """Its message is done, the reason is in the log, and the next task runs."""
    client.execute_command(
        "ACL", "SETUSER", "poor", "on", ">secret", "~*", "&*", "+@all", "-set"
    )
    try:
        url = redis_url.replace("redis://", "redis://poor:secret@")
        worker = start(start_worker, url=url)
        carrying.give.delay()
        worker.wait_for("result_lost")
        settled(client)
        carrying.give.delay()
        worker.wait_for("result_lost", 2)
        settled(client)
        assert not worker.events("broker_lost")
        assert "set" in worker.events("result_lost")[0]["error"]
    finally:
        client.acl_deluser("poor")
