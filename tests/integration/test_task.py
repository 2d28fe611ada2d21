"""The base task in real workers: attempts, states, log lines, and what they cost."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import pools

from smartworker.store.keys import PROCESSES
from tests.integration.conftest import HERE, Counter, StartWorker
from tests.processes import WorkerProcess, wait_until

POOLS = ["prefork", "threads", "solo"]


@pytest.fixture
def retrying(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The project as a producer in this process."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.syspath_prepend(str(HERE))
    sys.modules.pop("retrying", None)
    import retrying

    yield retrying
    retrying.app.close()
    pools.reset()
    retrying.app.backend.client.connection_pool.disconnect()
    sys.modules.pop("retrying", None)


def started(start_worker: StartWorker, pool: str = "prefork") -> WorkerProcess:
    """A ready worker of the project with one place in its pool."""
    worker = start_worker("-c", "1", "-P", pool, app="retrying")
    worker.wait_for("worker_ready")
    return worker


@pytest.mark.parametrize("pool", POOLS)
def test_a_task_that_fails_twice_succeeds(
    start_worker: StartWorker, retrying: Any, tmp_path: Path, pool: str
) -> None:
    """Three runs; each line says which, how long it took and when the next one is."""
    worker = started(start_worker, pool)
    result = retrying.flaky.delay(str(tmp_path / "runs"), 3)
    assert result.get(timeout=20) == 3
    worker.wait_for("task_finished")
    retried = worker.events("task_retried")
    assert [line["attempt"] for line in retried] == [1, 2]
    assert len(worker.events("task_started")) == 3
    for line in retried:
        assert line["error"] == "OSError: the mail server is away"
        assert line["retry_seconds"] == 0
        assert line["task"] == "retrying.flaky"
        assert 0 <= line["seconds"] < 5
    assert worker.events("task_failed") == []


@pytest.mark.parametrize("pool", POOLS)
def test_a_task_that_always_fails_has_failed(
    start_worker: StartWorker, retrying: Any, tmp_path: Path, pool: str
) -> None:
    """After the fourth run; the caller gets the task's own error."""
    worker = started(start_worker, pool)
    result = retrying.flaky.delay(str(tmp_path / "runs"), 99)
    with pytest.raises(OSError, match="mail server"):
        result.get(timeout=20)
    worker.wait_for("task_failed")
    (failed,) = worker.events("task_failed")
    assert failed["attempt"] == 4
    assert [line["attempt"] for line in worker.events("task_retried")] == [1, 2, 3]
    assert (tmp_path / "runs").read_text() == "xxxx"


def test_a_wrong_task_fails_at_once(start_worker: StartWorker, retrying: Any) -> None:
    """What another run would only repeat is not run again."""
    worker = started(start_worker)
    with pytest.raises(TypeError):
        retrying.wrong.delay().get(timeout=20)
    worker.wait_for("task_failed")
    assert worker.events("task_failed")[0]["attempt"] == 1
    assert worker.events("task_retried") == []


def test_a_task_may_ask_by_itself(start_worker: StartWorker, retrying: Any) -> None:
    """`self.retry` works as with any task."""
    worker = started(start_worker)
    retrying.asking.delay().get(timeout=20)
    worker.wait_for("task_finished")
    (line,) = worker.events("task_retried")
    assert (line["attempt"], line["error"]) == (1, "OSError: not yet")


def test_the_state_says_that_it_runs(
    start_worker: StartWorker, retrying: Any, tmp_path: Path
) -> None:
    """PENDING, STARTED, SUCCESS."""
    done = tmp_path / "done"
    result = retrying.waiting.delay(str(done))
    assert result.state == "PENDING"
    started(start_worker)
    wait_until(lambda: result.state == "STARTED", what="STARTED")
    done.touch()
    result.get(timeout=20)
    assert result.state == "SUCCESS"


@pytest.mark.parametrize("pool", POOLS)
def test_the_figures_of_each_task(
    start_worker: StartWorker, retrying: Any, tmp_path: Path, pool: str
) -> None:
    """How many runs ended how, and how long they took; read from the worker."""
    worker = started(start_worker, pool)
    runs = [str(tmp_path / name) for name in ("good", "third", "never")]
    for path, good_at in zip(runs, (1, 3, 99), strict=True):
        retrying.flaky.delay(path, good_at)
    retrying.wrong.delay()
    worker.wait_for("task_finished", 2)
    worker.wait_for("task_failed", 2)

    def figures() -> dict[str, Any]:
        answers = retrying.app.control.inspect(timeout=3, limit=1)
        (status,) = answers._request("smart_status").values()
        found: dict[str, Any] = status["tasks"]
        return found

    wait_until(lambda: sum(map(ended, figures().values())) == 9, what="nine runs")
    found = figures()
    flaky, wrong = found["retrying.flaky"], found["retrying.wrong"]
    assert (flaky["succeeded"], flaky["failed"], flaky["retried"]) == (2, 1, 5)
    assert (wrong["succeeded"], wrong["failed"], wrong["retried"]) == (0, 1, 0)
    assert 0 <= flaky["longest"] <= flaky["seconds"] < 5


def ended(row: dict[str, Any]) -> int:
    """How many runs a task has had."""
    return int(row["succeeded"] + row["failed"] + row["retried"])


def test_what_it_costs(
    start_worker: StartWorker, retrying: Any, counter: Counter, tmp_path: Path
) -> None:
    """One command for the state; a run that fails costs its message once more."""
    worker = started(start_worker)
    wait_until(lambda: counter.client.hlen(PROCESSES), what="its row")
    one, three = str(tmp_path / "one"), str(tmp_path / "three")
    lease = {"zadd", "zrem", "time"}

    def cost(path: str, good_at: int, lines: int, **options: Any) -> dict[str, int]:
        counter.billed()
        retrying.flaky.apply_async((path, good_at), **options)
        worker.wait_for("task_finished", lines)
        wait_until(lambda: not counter.client.keys("smartworker:inflight:*"))
        found = counter.billed()
        return {k: n for k, n in found.items() if k not in lease | {"keys"}}

    assert cost(one, 1, 1) == {"lpush": 1, "lmove": 1, "lrem": 1, "set": 2}
    assert cost(three, 3, 2) == {
        **dict.fromkeys(("lpush", "lmove", "lrem"), 3),
        "set": 6,
    }
    unasked = cost(str(tmp_path / "unasked"), 3, 3, ignore_result=True)
    assert unasked == dict.fromkeys(("lpush", "lmove", "lrem"), 3)
