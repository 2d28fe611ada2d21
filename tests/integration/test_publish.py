"""One key is one execution, however often it is published."""

from concurrent.futures import ThreadPoolExecutor

import smartworker


def test_a_repeated_publish_is_one_execution(start_worker, counter, project):
    """Twenty calls with one key from four threads: one message, one id, one result."""
    with ThreadPoolExecutor(4) as pool:
        results = list(
            pool.map(
                lambda _: smartworker.publish_once(project.add, "slot", (1, 2)),
                range(20),
            )
        )
    assert len({result.id for result in results}) == 1
    assert counter.client.llen("celery") == 1
    worker = start_worker("-c", "1", "-P", "threads")
    assert results[7].get(timeout=10) == 3
    assert len(worker.events("task_started")) == 1


def test_what_it_costs(counter, project):
    """Three commands for the first, two for a repetition."""
    counter.client.config_set("notify-keyspace-events", "Kl$g")
    smartworker.publish_once(project.add, "slot", (1, 2))
    assert counter.billed() == {"eval": 1, "set": 1, "lpush": 1}
    smartworker.publish_once(project.add, "slot", (1, 2))
    assert counter.billed() == {"eval": 1, "set": 1}


def test_other_keys_and_other_tasks_are_other_messages(counter, project):
    """The key counts for its task alone."""
    smartworker.publish_once(project.add, "a", (1, 2))
    smartworker.publish_once(project.add, "b", (1, 2))
    smartworker.publish_once(project.nap, "a", (0,))
    assert counter.client.llen("celery") == 3


def test_the_header_alone_does_it_too(counter, project):
    """`apply_async(headers={"smartworker_key": ...})`, whatever id Celery draws."""
    for _ in range(3):
        project.add.apply_async((1, 2), headers={"smartworker_key": "invoice-7"})
    assert counter.client.llen("celery") == 1


def test_a_retry_is_no_repetition(start_worker, project):
    """It carries the headers of its run, and goes through all the same."""
    start_worker("-c", "1", "-P", "threads")
    assert smartworker.publish_once(project.twice, "again").get(timeout=10) == 1


def test_a_group_is_published_with_keys(counter, project):
    """A message with a key among others of one batch goes out once."""
    from celery import group

    signatures = [
        project.add.s(n, n).set(headers={"smartworker_key": "same"}) for n in (1, 1)
    ]
    group(signatures)()
    group(signatures)()
    assert counter.client.llen("celery") == 1
