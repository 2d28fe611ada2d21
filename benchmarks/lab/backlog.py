"""Many tasks in a queue within seconds, as if each had been sent by itself."""

import json
from collections.abc import Iterator
from uuid import uuid4

import redis

from benchmarks.lab.processes import Sender

#: Bytes of one LPUSH, about, and messages at most.
PUSH_BYTES, PUSH_MESSAGES = 1_000_000, 500


def fill(
    sender: Sender, client: redis.Redis, count: int, size: int = 0, queue: str = "bench"
) -> None:
    """Queue `count` no-op tasks with payloads of `size` bytes, and nothing else.

    A Celery client takes half a millisecond and more for a task, so where the queue
    is kombu's list one task is sent and the others are copies of its message with
    ids of their own. Other peers send with their own client, one by one. No worker may
    take from the queue meanwhile. `client` belongs to the server and decodes;
    `queue` is the one that the sender uses.
    """
    sender.noop(1, size)
    if client.type(queue) != "list":
        sender.noop(count - 1, size)
        return
    raw = str(client.lindex(queue, 0))
    at_once = max(1, min(PUSH_MESSAGES, PUSH_BYTES // len(raw)))
    copies = _copies(raw)
    for done in range(1, count, at_once):
        some = [next(copies) for _ in range(min(at_once, count - done))]
        client.lpush(queue, *some)


def _copies(raw: str) -> Iterator[str]:
    # The id of the task stands in its headers and as the correlation id; the delivery
    # tag is what an acknowledgement names.
    message = json.loads(raw)
    task_id, tag = message["headers"]["id"], message["properties"]["delivery_tag"]
    while True:
        yield raw.replace(task_id, str(uuid4())).replace(tag, str(uuid4()))
