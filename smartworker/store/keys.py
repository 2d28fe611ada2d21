"""The names of everything that smartworker keeps in Redis beside kombu's queues."""

import re

NAMESPACE = "smartworker"
INFLIGHT = f"{NAMESPACE}:inflight:"
#: A sorted set: in-flight list -> end of its lease in ms by the server's clock.
LEASES = f"{NAMESPACE}:leases"
#: A stream: messages that nobody could or may run.
DEAD = f"{NAMESPACE}:dead"
#: A hash: what is known of all cron jobs, beside their declaration.
JOBS = f"{NAMESPACE}:jobs"
#: A hash: id of a start -> what that process does and has spent (rows.py).
PROCESSES = f"{NAMESPACE}:processes"
#: A channel: a job was paused or resumed.
JOB_NEWS = f"{NAMESPACE}:news"
#: kombu's record of what stock workers hold: tag -> message, and tag -> taken when.
STOCK_HELD = "unacked"
STOCK_INDEX = "unacked_index"


def inflight(worker: str, queue_key: str) -> str:
    """The list of messages that a worker took from a queue key and has not done."""
    return f"{INFLIGHT}{worker}:{queue_key}"


def owner(inflight_key: str, prefix: str = "") -> tuple[str, str]:
    """(worker, queue key) of an in-flight list. Raises ValueError for other keys."""
    if not inflight_key.startswith(prefix + INFLIGHT):
        raise ValueError(f"{inflight_key!r} is no in-flight list")
    worker, mark, queue_key = inflight_key[len(prefix + INFLIGHT) :].partition(":")
    if not (worker and mark and queue_key):
        raise ValueError(f"{inflight_key!r} is no in-flight list")
    return worker, queue_key


def once(key: str) -> str:
    """The record that a message with this key was published."""
    return f"{NAMESPACE}:once:{key}"


def runs(job: str) -> str:
    """The stream of a job's finished runs."""
    return f"{NAMESPACE}:runs:{job}"


def running(job: str) -> str:
    """The lease of a job that must not overlap; its value is the id of the run."""
    return f"{NAMESPACE}:running:{job}"


def record(task_id: str) -> str:
    """The record of a run where results are kept somewhere else."""
    return f"{NAMESPACE}:record:{task_id}"


def late(task_id: str) -> str:
    """A worker has said that this run is late."""
    return f"{NAMESPACE}:late:{task_id}"


def bell(queue_key: str) -> str:
    """The channel on which a producer rings where the server does not."""
    return f"{NAMESPACE}:bell:{queue_key}"


def keyspace(database: int, key: str) -> str:
    """The channel on which the server tells what happens to a key."""
    return f"__keyspace@{database}__:{key}"


def literal(prefix: str) -> str:
    """The prefix with everything escaped that means more to a pattern of Redis."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", prefix)
