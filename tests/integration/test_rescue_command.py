"""`smartworker rescue` on a real server: what comes back, and what stays."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from smartworker.testing import commandstats
from tests.commands import facts, message, run_command
from tests.processes import WorkerProcess

DEAD, ALIVE, ORPHAN = ("d" * 32, "a" * 32, "0" * 32)
LEASES = "smartworker:leases"
STEP = "bookings\x06\x163"


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """The operator's client."""
    with redis.Redis.from_url(redis_url) as made:
        yield made


def now_ms(client: Any) -> int:
    """The server's clock."""
    seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def hold(
    client: Any, worker: str, queue: str, *raws: bytes, left: float | None, prefix=""
) -> str:
    """Messages in flight, the first of them the oldest; `left` seconds of a lease."""
    name = f"{prefix}smartworker:inflight:{worker}:{queue}"
    client.lpush(name, *raws)
    if left is not None:
        end = now_ms(client) + int(left * 1000)
        client.zadd(f"{prefix}{LEASES}", {name: end})
    return name


def ids(client: Any, queue: str) -> list[str]:
    """The task ids in a queue, in the order in which they will be taken."""
    raws = client.lrange(queue, 0, -1)
    return [json.loads(raw)["headers"]["id"] for raw in reversed(raws)]


def test_nothing_to_rescue(redis_url: str, client: Any) -> None:
    """It says so, and has asked three things."""
    client.config_resetstat()
    done = run_command(redis_url, "rescue")
    assert (done.returncode, done.stdout) == (0, "Nothing to rescue.\n")
    counts = commandstats(client)
    assert {"zrange": 1, "time": 1, "zrangebyscore": 1}.items() <= counts.items()
    assert set(counts) <= {
        "zrange",
        "time",
        "zrangebyscore",
        "ping",
        "info",
        "config|resetstat",
    }
    assert facts(redis_url, "rescue") == {"lists": [], "stock": 0}


@pytest.mark.every_server
def test_a_dead_worker_is_rescued(redis_url: str, client: Any) -> None:
    """In order, in front of what waits; what was delivered too often dies."""
    last = message(task_id="last", smartworker_attempts=4)
    raws = [message(task_id="a"), message(task_id="b"), last, b"no json"]
    hold(client, DEAD, "celery", *raws, left=-1)
    client.lpush("celery", message(task_id="c"))
    done = run_command(redis_url, "rescue")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{DEAD}  celery  2 returned, 2 dead\n"
    assert ids(client, "celery") == ["a", "b", "c"]
    assert client.keys("smartworker:inflight:*") == []
    assert not client.exists(LEASES)
    assert client.xlen("smartworker:dead") == 2


def test_who_waits_hears_of_a_death(redis_url: str, client: Any) -> None:
    """As when a worker rescues: the task has failed."""
    hold(client, DEAD, "celery", message(smartworker_attempts=4), left=-1)
    run_command(redis_url, "rescue")
    stored = json.loads(client.get("celery-task-meta-id-1"))
    assert stored["status"] == "FAILURE"
    assert stored["result"]["exc_type"] == "DeadLettered"


def test_a_result_store_that_is_away_is_told(redis_url: str, client: Any) -> None:
    """The messages are safe by then, and the command does not wait for minutes."""
    hold(client, DEAD, "celery", message(smartworker_attempts=4), left=-1)
    done = run_command(
        redis_url, "rescue", SMARTWORKER_RESULT_URL="redis://127.0.0.1:1/0"
    )
    assert done.returncode == 0
    assert done.stdout == f"{DEAD}  celery  0 returned, 1 dead\n"
    assert "Who waits for the dead tasks does not hear of it" in done.stderr
    assert client.xlen("smartworker:dead") == 1


def test_the_living_keep_what_they_hold(redis_url: str, client: Any) -> None:
    """It says for how long they are alive."""
    held = hold(client, ALIVE, STEP, message(), left=200)
    for words in ((), ("--orphans",)):
        done = run_command(redis_url, "rescue", *words)
        assert done.stdout == (
            f"{ALIVE}  bookings (step 3)  alive for 3m more\nNothing to rescue.\n"
        )
    assert client.llen(held) == 1
    assert client.zcard(LEASES) == 1


def test_for_programs(redis_url: str, client: Any) -> None:
    """Each list, and how many came back from stock workers."""
    hold(client, ALIVE, STEP, message(), left=200)
    hold(client, DEAD, "celery", message(), left=-1)
    assert facts(redis_url, "rescue") == {
        "lists": [
            {
                "worker": ALIVE,
                "queue": STEP,
                "returned": 0,
                "dead": 0,
                "alive": True,
            },
            {
                "worker": DEAD,
                "queue": "celery",
                "returned": 1,
                "dead": 0,
                "alive": False,
            },
        ],
        "stock": 0,
    }


def test_orphans_come_back_if_asked_for(redis_url: str, client: Any) -> None:
    """A list that nobody has a lease for; the cost is said first, and not to pipes."""
    held = hold(client, ORPHAN, "celery", message(), left=None)
    assert run_command(redis_url, "rescue").stdout == "Nothing to rescue.\n"
    assert client.llen(held) == 1
    done = run_command(redis_url, "rescue", "--orphans")
    assert done.stdout == f"{ORPHAN}  celery  1 returned, 0 dead\n"
    assert "1 command per 1,000 keys" in done.stderr
    assert ids(client, "celery") == ["id-1"]


def test_names_that_are_none_are_left_alone(redis_url: str, client: Any) -> None:
    """Somebody else's members among the leases, and keys that look like ours."""
    end = now_ms(client)
    client.zadd(LEASES, {"bogus": end - 1000, "nonsense": end + 60_000})
    client.lpush("smartworker:inflight:short", "x")
    done = run_command(redis_url, "rescue", "--orphans")
    assert (done.returncode, done.stdout) == (0, "Nothing to rescue.\n")
    assert client.zcard(LEASES) == 2
    assert client.llen("smartworker:inflight:short") == 1


def test_stock_workers_are_looked_after(redis_url: str, client: Any) -> None:
    """What is older than their visibility timeout, and nothing else."""
    seconds = now_ms(client) / 1000
    for name, age in (("old", 3700), ("young", 3500)):
        entry = [json.loads(message(task_id=name)), "", "celery"]
        client.hset("unacked", name, json.dumps(entry))
        client.zadd("unacked_index", {name: seconds - age})
    done = run_command(redis_url, "rescue")
    assert (done.returncode, done.stdout) == (0, "1 came back from stock workers.\n")
    assert ids(client, "celery") == ["old"]
    assert client.hkeys("unacked") == [b"young"]
    assert facts(redis_url, "rescue") == {"lists": [], "stock": 0}


def test_a_prefix_is_minded(redis_url: str, client: Any, tmp_path: Path) -> None:
    """An app of one's own, named with -A, may have a prefix and a limit of its own."""
    (tmp_path / "shop.py").write_text(
        "import smartworker\nfrom celery import Celery\n"
        "app = smartworker.setup(Celery('shop'))\n"
        "app.conf.broker_transport_options = {'global_keyprefix': 'shop:'}\n"
    )
    raws = message(task_id="a"), message(task_id="b", smartworker_attempts=1)
    hold(client, DEAD, "shop:celery", *raws, left=-1, prefix="shop:")
    hold(client, ORPHAN, "shop:celery", raws[0], left=None, prefix="shop:")
    done = run_command(
        *(redis_url, "rescue", "--orphans", "-A", "shop"),
        cwd=tmp_path,
        SMARTWORKER_MAX_DELIVERIES="2",
    )
    assert done.stdout.splitlines() == [
        f"{DEAD}  shop:celery  1 returned, 1 dead",
        f"{ORPHAN}  shop:celery  1 returned, 0 dead",
    ]
    assert client.llen("shop:celery") == 2
    assert client.xlen("shop:smartworker:dead") == 1


def test_a_killed_worker_is_rescued(
    redis_url: str, client: Any, project: Any, start_worker: Any
) -> None:
    """A real one: its running task waits again once the lease is over."""
    worker: WorkerProcess = start_worker(
        "-P", "threads", "-c", "1", SMARTWORKER_LEASE="1s"
    )
    project.nap.delay(60)
    worker.wait_for("task_started")
    first = facts(redis_url, "rescue")
    assert [one["alive"] for one in first["lists"]] == [True]
    worker.kill_all()
    (name,) = client.keys("smartworker:inflight:*")
    client.zadd(LEASES, {name: now_ms(client) - 1}, xx=True)
    (found,) = facts(redis_url, "rescue")["lists"]
    assert (found["queue"], found["returned"], found["dead"]) == ("celery", 1, 0)
    assert client.llen("celery") == 1


def test_a_server_that_is_away_is_one_line() -> None:
    """Exit status 69, and nothing on stdout."""
    done = run_command("redis://127.0.0.1:1/0", "rescue", "--json")
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith("smartworker: Redis at 127.0.0.1:1 cannot be reached")
    assert done.stderr.count("\n") == 1
