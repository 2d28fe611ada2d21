"""Publishing a message once, however often its sender has to ask."""

from datetime import timedelta
from typing import Any

from smartworker.store import keys
from smartworker.store.lua import script
from smartworker.store.meter import because, ledger

ONCE = script("once")
#: How long a key is remembered.
REMEMBERED = timedelta(days=1)


def publish_once(
    client: Any, key: str, queue_key: str, message: str | bytes, prefix: str = ""
) -> bool:
    """Push a message unless one with this key was pushed within a day.

    False if it was. One atomic step: a lost reply is safely asked for again. 3
    commands, 2 for a repetition.
    """
    with because("publish"):
        record = prefix + keys.once(key)
        seconds = int(REMEMBERED.total_seconds())
        pushed = client.eval(ONCE, 2, record, queue_key, "1", seconds, message)
        ledger.book(["set", "lpush"] if pushed else ["set"])
    return bool(pushed)
