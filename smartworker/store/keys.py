"""The names of everything that smartworker keeps in Redis beside kombu's queues."""

NAMESPACE = "smartworker"


def inflight(worker: str, queue_key: str) -> str:
    """The list of messages that a worker took from a queue key and has not done."""
    return f"{NAMESPACE}:inflight:{worker}:{queue_key}"


def bell(queue_key: str) -> str:
    """The channel on which a producer rings where the server does not."""
    return f"{NAMESPACE}:bell:{queue_key}"


def keyspace(database: int, key: str) -> str:
    """The channel on which the server tells what happens to a key."""
    return f"__keyspace@{database}__:{key}"
