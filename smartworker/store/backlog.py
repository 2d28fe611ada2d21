"""What waits in queues: counted, and thrown away from the oldest on."""

from collections.abc import Iterator, Sequence
from typing import Any

from smartworker.store.meter import because

#: Messages that are thrown away by one command.
MOST_AT_ONCE = 1_000


def lengths(client: Any, queue_keys: Sequence[str], cause: str = "purge") -> list[int]:
    """How many messages wait in each queue key. 1 command each."""
    pipe = client.pipeline(transaction=False)
    for key in queue_keys:
        pipe.llen(key)
    with because(cause):
        return [int(count) for count in pipe.execute()]


def throw_away(client: Any, queue_key: str, most: int) -> Iterator[bytes]:
    """Take so many messages off a queue, the oldest first; each as it was.

    What comes meanwhile stays. 1 command per 1,000 messages.
    """
    while most > 0:
        asked = min(most, MOST_AT_ONCE)
        with because("purge"):
            raws = client.rpop(queue_key, asked) or []
        yield from raws
        most = most - asked if len(raws) == asked else 0
