"""Groups in a real worker: what they cost from the call to the last result."""

from celery import chain, group

from smartworker.testing import commandstats
from tests.processes import wait_until

MANY = 500


def test_a_group_costs_three_commands_a_task(start_worker, counter, project):
    """One LPUSH for all; a take, an acknowledgement and a result for each."""
    start_worker("-c", "2")
    counter.billed()
    before = commandstats(counter.client)

    def done():
        now = commandstats(counter.client)
        spent = [now.get(name, 0) - before.get(name, 0) for name in ("lrem", "set")]
        return min(spent) >= MANY

    result = group(project.add.s(n, n) for n in range(MANY)).apply_async()
    wait_until(done)
    spent = counter.billed()
    assert spent["lpush"] == 1
    assert sum(spent.values()) <= 3.1 * MANY
    assert result.get(timeout=10) == [2 * n for n in range(MANY)]


def test_a_worker_sends_a_group_at_once(start_worker, counter, project):
    """What follows a task in a chain: one push by the worker for all of it."""
    start_worker("-c", "2")
    counter.billed()
    work = chain(project.add.s(1, 1), group(project.add.s(n) for n in range(20)))
    assert work.apply_async().get(timeout=10) == [2 + n for n in range(20)]
    assert counter.billed()["lpush"] == 2
