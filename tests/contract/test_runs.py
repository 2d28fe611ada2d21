"""The history of runs on real servers: one command each, capped, hard to break."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from smartworker.store import runs
from smartworker.store.client import ResponseError, connect, connection_options
from smartworker.store.history import RedisHistory, Server
from smartworker.store.meter import ledger
from smartworker.store.runs import KEPT, RunRecord
from smartworker.testing import commandstats

pytestmark = pytest.mark.every_server

STREAM = "smartworker:runs:book"


def record(number: int = 1, **changes: Any) -> RunRecord:
    """The run of a job."""
    known = {
        "job": "book",
        "slot": f"2026-11-01T00:{number % 60:02}:00Z",
        "task_id": f"id-{number}",
        "trigger": "http",
        "state": "SUCCESS",
        "started": "2026-11-01T00:00:01.000Z",
        "seconds": 1.5,
        "error": "",
        "tail": ("00:00:01 INFO lane 4 is free", "00:00:02 INFO booked"),
    }
    return RunRecord(**{**known, **changes})


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """A client that is connected, with counters at zero."""
    made = connect(redis_url)
    made.ping()
    made.config_resetstat()
    ledger.drain()
    yield made
    made.connection_pool.disconnect()


def spent(url: str) -> dict[str, int]:
    """What the server has counted, without the observer."""
    options: dict[str, Any] = connection_options()
    with redis.Redis.from_url(url, **options) as observer:
        counts = commandstats(observer)
    return {name: n for name, n in counts.items() if name not in ("info", "config")}


def test_a_run_is_one_command(client: Any, redis_url: str) -> None:
    """Written with 1, read with 1, and booked as the server counts it."""
    runs.add(client, record())
    assert spent(redis_url).get("xadd") == 1
    assert runs.last(client, "book", 5) == [record()]
    counts = spent(redis_url)
    counts.pop("config|resetstat", None)
    assert counts == {"xadd": 1, "xrevrange": 1}
    assert ledger.by_cause() == {"cron": counts}


def test_the_newest_comes_first(client: Any) -> None:
    """As many as asked for, and no more than there are."""
    for number in range(10):
        runs.add(client, record(number))
    assert runs.last(client, "book", 3) == [record(n) for n in (9, 8, 7)]
    assert len(runs.last(client, "book", 50)) == 10
    assert runs.last(client, "another", 50) == []


def test_old_runs_go(client: Any) -> None:
    """About two hundred are kept, of full size and of the smallest."""
    long = tuple("x" * 200 for _ in range(20))
    for number in range(2 * KEPT + 1):
        runs.add(client, record(number, tail=long))
        runs.add(client, record(number, job="small", tail=(), slot="", started=""))
    assert KEPT <= client.xlen(STREAM) <= KEPT + 10
    # A server keeps whole blocks, of at most a hundred small entries.
    assert KEPT <= client.xlen("smartworker:runs:small") <= KEPT + 100
    assert runs.last(client, "book", 1)[0].task_id == f"id-{2 * KEPT}"


@pytest.mark.parametrize(
    "fields",
    [
        {"other": "field"},
        {"run": "{"},
        {"run": "[" * 100_000},
        {"run": "null"},
        {"run": "[]"},
        {"run": '{"job": "book"}'},
        {"run": b"\xff\xfe"},
        {"run": json.dumps({**record().as_json(), "job": "another"})},
        {"run": json.dumps({**record().as_json(), "seconds": "1"})},
        {"run": json.dumps({**record().as_json(), "seconds": True})},
        {"run": json.dumps({**record().as_json(), "tail": "text"})},
        {"run": json.dumps({**record().as_json(), "tail": [1]})},
        {"run": json.dumps({**record().as_json(), "state": None})},
    ],
)
def test_what_is_no_run_is_left_out(client: Any, fields: dict[str, Any]) -> None:
    """Anybody may write there; the runs around it are still read."""
    runs.add(client, record(1))
    client.xadd(STREAM, fields)
    runs.add(client, record(2))
    assert runs.last(client, "book", 9) == [record(2), record(1)]


def test_a_later_version_may_add_fields(client: Any) -> None:
    """What this one does not know is left out, the rest is read."""
    newer = {**record().as_json(), "cost": 4}
    client.xadd(STREAM, {"run": json.dumps(newer)})
    assert runs.last(client, "book", 9) == [record()]


def test_a_run_that_was_written_twice_is_shown_once(client: Any) -> None:
    """Its first reply got lost; two runs of a slot that differ are two."""
    for each in (record(1), record(1), record(1, state="FAILURE")):
        runs.add(client, each)
    found = runs.last(client, "book", 9)
    assert found == [record(1, state="FAILURE"), record(1)]


@pytest.mark.parametrize(
    "text", ["", "żółć 泳", "\x00\r\n\x1b[2J", "\ud800", "'\"\\", "x" * 100_000]
)
def test_texts_come_back(client: Any, text: str) -> None:
    """Whatever they are; what is no text at all is escaped."""
    runs.add(client, record(error=text, tail=(text,)))
    (found,) = runs.last(client, "book", 1)
    assert found.error == text
    assert found.tail == (text,)


def test_jobs_and_prefixes_do_not_touch_each_other(client: Any) -> None:
    """Each job of each application has its own stream."""
    runs.add(client, record(1))
    runs.add(client, record(2), "app:")
    runs.add(client, record(3, job="email"))
    assert runs.last(client, "book", 9) == [record(1)]
    assert runs.last(client, "book", 9, "app:") == [record(2)]
    assert runs.last(client, "email", 9) == [record(3, job="email")]


def test_a_key_of_another_type_is_an_error(client: Any) -> None:
    """It is somebody else's, and stays as it is."""
    client.set(STREAM, "theirs")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        runs.add(client, record())
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        runs.last(client, "book", 1)
    assert client.get(STREAM) == b"theirs"


def test_the_server_is_connected_at_first_use(client: Any) -> None:
    """And once, whoever asks."""

    class Here:
        """The broker."""

        prefix = "app:"

        def __init__(self) -> None:
            self.client = client

    asked: list[Server] = []

    def reach() -> Server:
        asked.append(Here())
        return asked[-1]

    history = RedisHistory(reach)
    assert asked == []
    history.add(record(1))
    assert history.last("book", 3) == [record(1)]
    assert len(asked) == 1
    assert client.xlen("app:" + STREAM) == 1
